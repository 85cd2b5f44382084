//! The end of a session. Its last control requests and cancels are sent to claude-api, and its
//! WebSocket is closed (docs/protocol.md, "Close codes").

use tokio::io::{AsyncRead, AsyncWrite};

use super::calls;
use crate::handover::owed_cancels::depart;
use crate::session::completion::Completion;
use crate::session::machine::action::Action;
use crate::session::machine::call::Call;
use crate::session::wire::socket::SentMessages;
use crate::session::{End, Session, SessionLog};

impl<T: AsyncRead + AsyncWrite + Unpin> Session<T> {
    /// Ends the session. Stops its views, sends the control requests that still waited, and closes
    /// the socket. Executions with `onDisconnect: "cancel"` begin their grace period, except when
    /// the bridge itself stops. Also logs the totals of the session.
    pub(in crate::session) async fn end(mut self, end: End) {
        self.count_sent();
        let Self {
            shared,
            log,
            grant,
            socket,
            mut machine,
            mut completions,
            completion_sender,
            views,
            lists,
            name,
            view_requests,
            ..
        } = self;
        let metrics = &shared.viewer.metrics;
        metrics
            .viewers
            .dec_by(i64::try_from(views.len()).unwrap_or(i64::MAX));
        // The guards of the views must be dropped before a departure looks for viewers.
        drop(views);
        // Results that are too late for an answer still show which executes were accepted.
        completions.close();
        let mut actions = Vec::new();
        while let Ok(completion) = completions.try_recv() {
            if let Completion::Executed(token, executed) = completion {
                actions.extend(machine.on_executed(token, executed.result));
            }
        }
        actions.extend(machine.close());
        // Waiting requests get no answer, but their controls are still sent.
        for action in actions {
            if let Action::Call(token, call @ Call::Control(..)) = action {
                let completions = &completion_sender;
                let turns = lists.turns();
                calls::start(&shared, &grant, completions, token, call, turns, None);
            }
        }
        // The requests for views of this session end as well.
        drop(view_requests);
        if !shared.shutdown.is_cancelled() {
            for id in machine.departing() {
                let accepted = machine.is_accepted(id);
                depart(&shared.handover, &grant, id, name.clone(), accepted);
            }
        }
        let close_code = match end {
            End::Peer(code) => code.unwrap_or(1006),
            End::Ours(code, _) => code,
            End::Dropped => 1006,
        };
        let SessionLog {
            client,
            began,
            messages_in,
            bytes_in,
            sent:
                SentMessages {
                    messages: messages_out,
                    bytes: bytes_out,
                },
            executes,
        } = *log;
        tracing::info!(
            session = &*name,
            %client,
            principal = grant.me().principal.as_deref(),
            duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
            executes, messages_in, bytes_in, messages_out, bytes_out, close_code,
            end = ?end,
            "session ended"
        );
        match end {
            End::Ours(code, reason) => socket.close(code, reason).await,
            End::Peer(Some(_)) => socket.finish().await,
            End::Peer(None) | End::Dropped => {}
        }
    }
}

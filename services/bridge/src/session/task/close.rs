//! How a session ends: what is still owed is done, and the socket is closed as the reason says.

use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite};

use super::act::make_call;
use super::{End, Session};
use crate::session::Event;
use crate::session::action::{Action, Call};
use crate::session::executor::depart;

impl<T: AsyncRead + AsyncWrite + Unpin> Session<T> {
    pub(super) async fn end(mut self, end: End, id: &str, start: Instant) {
        self.count_sent();
        let Self {
            shared,
            socket,
            mut machine,
            mut events,
            event_sender,
            views,
            pages,
            name,
            asking,
            messages_in,
            bytes_in,
            sent: (messages_out, bytes_out),
            executes,
            ..
        } = self;
        let metrics = &shared.viewer.metrics;
        metrics
            .viewers
            .dec_by(i64::try_from(views.len()).unwrap_or(i64::MAX));
        // Their guards must be gone before a departure looks for viewers.
        drop(views);
        // Results that came too late to be told still say what was accepted.
        events.close();
        let mut actions = Vec::new();
        while let Ok(event) = events.try_recv() {
            if let Event::Executed(token, executed) = event {
                actions.extend(machine.on_executed(token, executed.result));
            }
        }
        actions.extend(machine.close());
        // Waiting requests get no answer any more, but their signals are still sent.
        for action in actions {
            if let Action::Call(token, call @ Call::Control(..)) = action {
                make_call(&shared, &event_sender, token, call, pages.turns(), None);
            }
        }
        // This session's requests for views end, too.
        drop(asking);
        if !shared.shutdown.is_cancelled() {
            for id in machine.departing() {
                depart(&shared, id, name.clone(), machine.is_accepted(id));
            }
        }
        let close_code = match end {
            End::Peer(code) => code.unwrap_or(1006),
            End::Ours(code, _) => code,
            End::Dropped => 1006,
        };
        tracing::info!(
            session = id,
            duration_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX),
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

//! The progress notifications that an MCP client gets during a long call.

use std::time::Duration;

use client::{Event, StatusUpdate};
use protocol::{State, Status};
use rmcp::model::{ProgressNotificationParam, ProgressToken};
use rmcp::service::RequestContext;
use rmcp::{Peer, RoleServer};
use tokio::time::Instant;

/// The progress of one call. If the client requested progress, a notification is sent whenever the
/// message changes, and otherwise at an interval ([`crate::Settings::progress`]).
#[derive(Debug)]
pub(crate) struct Progress {
    peer: Peer<RoleServer>,
    token: Option<ProgressToken>,
    interval: Duration,
    started: Instant,
    due: Instant,
    /// The number in the last notification. MCP requires that the numbers increase.
    last: f64,
    message: String,
}

impl Progress {
    pub(crate) fn new(context: &RequestContext<RoleServer>, interval: Duration) -> Self {
        let now = Instant::now();
        Self {
            peer: context.peer.clone(),
            token: context.meta.get_progress_token(),
            interval,
            started: now,
            due: now + interval,
            last: 0.0,
            message: "starting".to_owned(),
        }
    }

    /// Updates the progress message from an event of the execution. If the message changes, a
    /// notification is due immediately.
    pub(crate) fn update(&mut self, event: &Event) {
        let message = match event {
            Event::Answer(status) => activity(status),
            Event::Status(update) => update_text(update),
            Event::Disconnected { reason, .. } => format!("{reason}; reconnecting to the bridge"),
            _ => return,
        };
        if message != self.message {
            self.message = message;
            self.due = Instant::now();
        }
    }

    /// Waits until the next notification is due. Waits forever if the client did not request
    /// progress. Cancel-safe.
    pub(crate) async fn due(&self) {
        if self.token.is_none() {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep_until(self.due).await;
    }

    /// Sends a notification. Waits while the client does not read; dropping the future loses at
    /// most this notification.
    pub(crate) async fn send(&mut self) {
        self.due = Instant::now() + self.interval;
        let Some(token) = self.token.clone() else {
            return;
        };
        let elapsed = self.started.elapsed().as_secs_f64();
        self.last = elapsed.max(self.last + 0.001);
        let progress = ProgressNotificationParam::new(token, self.last);
        let progress = progress.with_message(self.message.clone());
        if let Err(error) = self.peer.notify_progress(progress).await {
            tracing::debug!(
                %error,
                "could not send a progress notification to an MCP client; its call continues"
            );
        }
    }
}

fn update_text(update: &StatusUpdate) -> String {
    match &update.upstream {
        Some(upstream) => format!("claude-api is {}", upstream.as_str()),
        None => activity(&update.status),
    }
}

/// Returns what an execution does now, for people: its activity, its position in the queue, or its
/// state.
pub(crate) fn activity(status: &Status) -> String {
    match (&status.activity, status.queue_position) {
        (Some(activity), _) => activity.clone(),
        (None, Some(position)) if status.state == State::Queued => {
            format!("queued at position {position}")
        }
        (None, _) => status.state.as_str().to_owned(),
    }
}

//! The MCP progress notifications that a client receives during a long call, so that it does not
//! abort the call.

use std::time::Duration;

use client::{Event, StatusUpdate};
use protocol::{State, Status};
use rmcp::model::{ProgressNotificationParam, ProgressToken};
use rmcp::service::RequestContext;
use rmcp::{Peer, RoleServer};
use tokio::time::Instant;

/// The progress of one MCP call. If the client requested progress, a notification is sent when the
/// message changes, and otherwise at an interval ([`crate::Settings::progress`]).
#[derive(Debug)]
pub(crate) struct Progress {
    peer: Peer<RoleServer>,
    token: Option<ProgressToken>,
    interval: Duration,
    started: Instant,
    due: Instant,
    /// The `progress` number in the last notification. MCP requires that this number increases with
    /// each notification.
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

    /// Updates the progress message from an event of the execution. If that changes the message,
    /// the next notification is due immediately.
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

    /// Waits until the next progress notification is due. Waits forever if the client did not
    /// request progress. Cancel-safe.
    pub(crate) async fn due(&self) {
        if self.token.is_none() {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep_until(self.due).await;
    }

    /// Sends a progress notification, and waits while the client does not read. Dropping the future
    /// loses at most this notification.
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

/// Returns a short text for people about what an execution does now: its activity, its position in
/// the queue, or its state.
pub(crate) fn activity(status: &Status) -> String {
    match (&status.activity, status.queue_position) {
        (Some(activity), _) => activity.clone(),
        (None, Some(position)) if status.state == State::Queued => {
            format!("queued at position {position}")
        }
        (None, _) => status.state.as_str().to_owned(),
    }
}

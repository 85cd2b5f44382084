//! Progress notifications of one call.

use std::time::Duration;

use client::{Event, StatusUpdate};
use protocol::{State, Status};
use rmcp::model::{ProgressNotificationParam, ProgressToken};
use rmcp::service::RequestContext;
use rmcp::{Peer, RoleServer};
use tokio::time::Instant;

/// Sends progress when the client asked for it: whenever the message changes, and at least every
/// [`crate::Settings::progress`].
#[derive(Debug)]
pub(crate) struct Progress {
    peer: Peer<RoleServer>,
    token: Option<ProgressToken>,
    every: Duration,
    began: Instant,
    due: Instant,
    /// The last value sent; each one is larger than the one before.
    last: f64,
    message: String,
}

impl Progress {
    pub(crate) fn new(context: &RequestContext<RoleServer>, every: Duration) -> Self {
        let now = Instant::now();
        Self {
            peer: context.peer.clone(),
            token: context.meta.get_progress_token(),
            every,
            began: now,
            due: now + every,
            last: 0.0,
            message: "starting".to_owned(),
        }
    }

    /// Takes the message from an event; a changed message is due at once.
    pub(crate) fn note(&mut self, event: &Event) {
        let message = match event {
            Event::Answer(status) => doing(status),
            Event::Status(update) => updated(update),
            Event::Disconnected { reason, .. } => format!("{reason}; reconnecting to the bridge"),
            _ => return,
        };
        if message != self.message {
            self.message = message;
            self.due = Instant::now();
        }
    }

    /// Waits until a notification is due; for ever when the client wants none. Cancel-safe.
    pub(crate) async fn due(&self) {
        if self.token.is_none() {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep_until(self.due).await;
    }

    /// Sends a notification. It waits for a client that does not read. Dropping the future loses at
    /// most this notification.
    pub(crate) async fn send(&mut self) {
        self.due = Instant::now() + self.every;
        let Some(token) = self.token.clone() else {
            return;
        };
        let elapsed = self.began.elapsed().as_secs_f64();
        self.last = elapsed.max(self.last + 0.001);
        let progress = ProgressNotificationParam::new(token, self.last);
        let progress = progress.with_message(self.message.clone());
        if let Err(error) = self.peer.notify_progress(progress).await {
            tracing::debug!(%error, "could not send progress");
        }
    }
}

fn updated(update: &StatusUpdate) -> String {
    match &update.upstream {
        Some(upstream) => format!("claude-api is {}", upstream.as_str()),
        None => doing(&update.status),
    }
}

/// What an execution is doing, for a person.
pub(crate) fn doing(status: &Status) -> String {
    match (&status.activity, status.queue_position) {
        (Some(activity), _) => activity.clone(),
        (None, Some(position)) if status.state == State::Queued => {
            format!("queued at position {position}")
        }
        (None, _) => status.state.as_str().to_owned(),
    }
}

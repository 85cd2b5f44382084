//! The stop: no new executions, a grace for those that run, then their trees are ended and recorded as interrupted.
//! Queued ones stay queued for the next start.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use protocol::State;
use tokio::time::Instant;

use super::Service;
use crate::execution::Control;

/// What the end of a tree needs beside the kill grace: the sweep and the durable status.
const RECORD: Duration = Duration::from_millis(1500);

impl Service {
    /// Stops; returns within `shutdownMs`, as far as the kernel lets processes die.
    pub async fn stop(self: &Arc<Self>) {
        self.stopping.cancel();
        self.readiness.stop();
        self.admission.close();
        let limits = &self.settings.limits;
        let until = Instant::now() + Duration::from_millis(limits.shutdown_ms);
        let drain_until =
            until - (Duration::from_millis(limits.kill_ms) + RECORD).min(until - Instant::now());
        // Whoever is being accepted has an owner then; nobody comes after them.
        for accepting in &self.accepting {
            let _ = tokio::time::timeout_at(drain_until, accepting.lock()).await;
        }
        let running: Vec<_> = self
            .all_live()
            .into_iter()
            .filter(|live| {
                // One that has its permit is about to run, whatever its status says.
                live.status.borrow().status.state != State::Queued || !self.admission.waits(live.id)
            })
            .collect();
        if !running.is_empty() {
            tracing::info!(running = running.len(), "waiting for running executions");
        }
        let ends = join_all(running.iter().map(|live| live.ended()));
        if tokio::time::timeout_at(drain_until, ends).await.is_err() {
            let left: Vec<_> = running
                .iter()
                .filter(|l| !l.status.borrow().status.state.is_terminal())
                .collect();
            tracing::info!(running = left.len(), "ending running executions");
            let stops = join_all(left.iter().map(|live| live.control(Control::Stop)));
            let _ = tokio::time::timeout_at(until + RECORD, stops).await;
            let ends = join_all(left.iter().map(|live| live.ended()));
            if tokio::time::timeout_at(until + RECORD, ends).await.is_err() {
                tracing::warn!("some executions did not end in time; the next start records them");
            }
        }
        self.background.close();
        let _ = tokio::time::timeout_at(until + RECORD, self.background.wait()).await;
    }

    /// Resolves when a stop has begun.
    pub async fn stopping(&self) {
        self.stopping.cancelled().await;
    }

    pub(crate) fn stop_token(&self) -> tokio_util::sync::CancellationToken {
        self.stopping.clone()
    }
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};
    use protocol::ExecutionId;

    use super::*;
    use crate::service::testing::{accepted_as, open, status};

    #[tokio::test]
    async fn one_that_waits_for_a_time_holds_no_stop_up() {
        let dir = tempfile::tempdir().unwrap();
        let service = open(dir.path());
        let later = Timestamp::from_second(Timestamp::now().as_second()).unwrap();
        let later = later + SignedDuration::from_hours(1);
        let id = accepted_as(&service, ExecutionId::random(), State::Queued, Some(later));
        service.recover().unwrap();
        assert!(service.live(id).is_some());
        assert_eq!(service.admission.counts(), (1, 0));
        let limit = Duration::from_millis(service.settings.limits.kill_ms);
        tokio::time::timeout(limit, service.stop())
            .await
            .expect("nothing runs that it could wait for");
        let left = status(&service, id);
        assert_eq!((left.state, left.not_before), (State::Queued, Some(later)));
    }
}

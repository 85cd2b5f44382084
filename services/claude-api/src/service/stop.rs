//! The stop of the service, within the time limit `shutdownMs`.
//!
//! New executions are refused. Running executions get a grace period. Then their process trees get
//! SIGTERM, and SIGKILL after `killMs`, and they are recorded as interrupted. Queued executions
//! stay on disk, and the next start queues them again. After hooks get the remaining time; then
//! they are killed.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use protocol::State;
use tokio::time::Instant;

use super::Service;
use crate::execution::Control;

/// The part of the stop that follows `killMs`, the time between SIGTERM and SIGKILL. It is reserved
/// for killing the remaining processes of executions and for writing their terminal statuses to
/// disk.
const SWEEP_AND_RECORD: Duration = Duration::from_millis(1250);
/// The part of the stop that is reserved for killing the after hooks that still run, and for
/// recording their failures.
const KILL_HOOKS: Duration = Duration::from_millis(500);
/// The last part of `shutdownMs`, after all executions have ended. It is reserved for sending the
/// last bytes of open HTTP responses.
const LAST_RESPONSES: Duration = Duration::from_millis(250);

impl Service {
    /// Stops the service: refuses new executions, lets running ones end, ends the rest as
    /// interrupted, and waits for the background tasks. Takes at most `shutdownMs` less 250 ms.
    /// Returns the time at which `shutdownMs` will have passed, so the caller can use the rest for
    /// open responses. If an execution has not ended by then, the next start of the service records
    /// its end.
    pub async fn stop(self: &Arc<Self>) -> Instant {
        self.stopping.cancel();
        self.engine.readiness.stop();
        self.engine.registry.close();
        let limits = &self.engine.settings.limits;
        let begun = Instant::now();
        let shutdown_end = begun + Duration::from_millis(limits.shutdown_ms);
        let executions_end = (shutdown_end - LAST_RESPONSES).max(begun);
        let ending = Duration::from_millis(limits.kill_ms) + SWEEP_AND_RECORD;
        let drain_until = executions_end - ending.min(executions_end - begun);
        // Then the acceptances in progress have their owners, and no further one can begin.
        let acceptances = self.engine.registry.wait_for_id_locks();
        let _ = tokio::time::timeout_at(drain_until, acceptances).await;
        let running: Vec<_> = self
            .all_live()
            .into_iter()
            .filter(|live| {
                // An execution with a permit is about to run, even if its status is still queued.
                live.status.borrow().status.state != State::Queued
                    || !self.engine.registry.waits(live.id)
            })
            .collect();
        if !running.is_empty() {
            tracing::info!(
                running = running.len(),
                "stopping; running executions may still end on their own"
            );
        }
        let ends = join_all(running.iter().map(|live| live.ended()));
        if tokio::time::timeout_at(drain_until, ends).await.is_err() {
            let left: Vec<_> = running
                .iter()
                .filter(|l| !l.status.borrow().status.state.is_terminal())
                .collect();
            tracing::info!(
                running = left.len(),
                "stopping; ending the executions that still run"
            );
            let stops = join_all(left.iter().map(|live| live.control(Control::Stop)));
            let _ = tokio::time::timeout_at(executions_end, stops).await;
            let ends = join_all(left.iter().map(|live| live.ended()));
            if tokio::time::timeout_at(executions_end, ends).await.is_err() {
                tracing::warn!(
                    "some executions did not end in time; the next start records their ends"
                );
            }
        }
        self.background.close();
        let hooks_end = executions_end - KILL_HOOKS.min(executions_end - begun);
        if tokio::time::timeout_at(hooks_end, self.background.wait())
            .await
            .is_err()
        {
            self.hook_queue.stop();
            let _ = tokio::time::timeout_at(executions_end, self.background.wait()).await;
        }
        shutdown_end
    }

    /// Waits until a stop of the service begins; returns immediately if it has begun. Background
    /// tasks use it to end.
    pub async fn stopping(&self) {
        self.stopping.cancelled().await;
    }

    /// Returns a token that is cancelled when a stop of the service begins.
    pub(crate) fn stop_token(&self) -> tokio_util::sync::CancellationToken {
        self.stopping.clone()
    }
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};
    use protocol::ExecutionId;

    use super::*;
    use crate::service::digest::digest_later;
    use crate::service::testing::{accepted, accepted_as, open, open_with, owner, status};

    #[tokio::test]
    async fn a_stop_does_not_wait_for_a_parked_execution() {
        let dir = tempfile::tempdir().unwrap();
        let service = open(dir.path());
        let later = Timestamp::from_second(Timestamp::now().as_second()).unwrap();
        let later = later + SignedDuration::from_hours(1);
        let id = accepted_as(&service, ExecutionId::random(), State::Queued, Some(later));
        service.recover().unwrap();
        assert!(service.live(id).is_some());
        assert_eq!(service.engine.registry.counts(), (1, 0));
        let limit = Duration::from_millis(service.engine.settings.limits.kill_ms);
        tokio::time::timeout(limit, service.stop())
            .await
            .expect("the stop waits, although no execution runs");
        let left = status(&service, id);
        assert_eq!((left.state, left.not_before), (State::Queued, Some(later)));
    }

    #[tokio::test]
    async fn a_stop_does_not_wait_for_a_digest_in_progress() {
        let dir = tempfile::tempdir().unwrap();
        let service = open_with(dir.path(), &["--shutdown-ms=4000"]);
        let id = accepted(&service, State::Running);
        let (owner, _ticket) = owner(&service, id, &[]);
        // The output has no end, so its digest never finishes.
        let mut writer = owner.entry.writer(spool::EventsStorage::Raw).unwrap();
        writer.append(b"x");
        digest_later(&service, id);
        tokio::task::yield_now().await;
        let limit = Duration::from_millis(service.engine.settings.limits.shutdown_ms);
        let stopped = tokio::time::timeout(limit / 2, service.stop()).await;
        assert!(
            stopped.is_ok(),
            "the stop waits, although no execution runs"
        );
    }

    #[tokio::test]
    async fn a_stop_returns_within_shutdown_ms_even_if_background_work_hangs() {
        let dir = tempfile::tempdir().unwrap();
        let service = open_with(dir.path(), &["--shutdown-ms=1000", "--kill-ms=200"]);
        service.background(std::future::pending());
        let begun = Instant::now();
        let shutdown_end = service.stop().await;
        let took = begun.elapsed();
        let limit = Duration::from_millis(service.engine.settings.limits.shutdown_ms);
        // For the scheduling on a busy machine; the stop itself takes less.
        let slack = Duration::from_millis(500);
        assert!(took < limit + slack, "{took:?}");
        assert!(shutdown_end - begun < limit + slack);
    }
}

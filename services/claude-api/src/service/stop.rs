//! The stop: no new executions, a grace for those that run, then their trees are ended and recorded as interrupted.
//! Queued ones stay queued for the next start. Hooks after executions get the rest of the time, then they are killed.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use protocol::State;
use tokio::time::Instant;

use super::Service;
use crate::execution::Control;

/// What the end of a tree needs beside the kill grace: the sweep and the durable status.
const RECORD: Duration = Duration::from_millis(1250);
/// The time for killing the hooks after executions, and for recording that.
const HOOKS: Duration = Duration::from_millis(500);
/// The part of `shutdownMs` that is kept for the last responses, after the executions.
const RESPONSES: Duration = Duration::from_millis(250);

impl Service {
    /// Stops the service within `shutdownMs` less 250 ms; returns the time at which `shutdownMs` are
    /// over. The next start records executions that have not ended by then.
    pub async fn stop(self: &Arc<Self>) -> Instant {
        self.stopping.cancel();
        self.engine.readiness.stop();
        self.engine.registry.close();
        let limits = &self.engine.settings.limits;
        let begun = Instant::now();
        let shutdown_end = begun + Duration::from_millis(limits.shutdown_ms);
        let executions_end = (shutdown_end - RESPONSES).max(begun);
        let ending = Duration::from_millis(limits.kill_ms) + RECORD;
        let drain_until = executions_end - ending.min(executions_end - begun);
        // Whoever is being accepted has an owner then; nobody comes after them.
        let accepted = self.engine.registry.turns_over();
        let _ = tokio::time::timeout_at(drain_until, accepted).await;
        let running: Vec<_> = self
            .all_live()
            .into_iter()
            .filter(|live| {
                // One that has its permit is about to run, whatever its status says.
                live.status.borrow().status.state != State::Queued
                    || !self.engine.registry.waits(live.id)
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
            let _ = tokio::time::timeout_at(executions_end, stops).await;
            let ends = join_all(left.iter().map(|live| live.ended()));
            if tokio::time::timeout_at(executions_end, ends).await.is_err() {
                tracing::warn!("some executions did not end in time; the next start records them");
            }
        }
        self.background.close();
        let hooks_end = executions_end - HOOKS.min(executions_end - begun);
        if tokio::time::timeout_at(hooks_end, self.background.wait())
            .await
            .is_err()
        {
            self.after_hooks.stop();
            let _ = tokio::time::timeout_at(executions_end, self.background.wait()).await;
        }
        shutdown_end
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
    use crate::service::digest::digest_later;
    use crate::service::testing::{accepted, accepted_as, open, open_with, owner, status};

    #[tokio::test]
    async fn one_that_waits_for_a_time_holds_no_stop_up() {
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
            .expect("nothing runs that it could wait for");
        let left = status(&service, id);
        assert_eq!((left.state, left.not_before), (State::Queued, Some(later)));
    }

    /// ENGINE A13.
    #[tokio::test]
    async fn a_stop_waits_for_no_digest_that_is_under_way() {
        let dir = tempfile::tempdir().unwrap();
        let service = open_with(dir.path(), &["--shutdown-ms=4000"]);
        let id = accepted(&service, State::Running);
        let (owner, _ticket) = owner(&service, id, &[]);
        // An output without an end: its digest follows it for ever.
        let mut writer = owner.entry.writer(spool::EventsKept::Raw).unwrap();
        writer.append(b"x");
        digest_later(&service, id);
        tokio::task::yield_now().await;
        let limit = Duration::from_millis(service.engine.settings.limits.shutdown_ms);
        let stopped = tokio::time::timeout(limit / 2, service.stop()).await;
        assert!(stopped.is_ok(), "nothing runs that the stop could wait for");
    }

    /// ENGINE A13.
    #[tokio::test]
    async fn a_stop_returns_within_shutdown_ms_though_background_work_hangs() {
        let dir = tempfile::tempdir().unwrap();
        let service = open_with(dir.path(), &["--shutdown-ms=1000", "--kill-ms=200"]);
        service.background(std::future::pending());
        let begun = Instant::now();
        let shutdown_end = service.stop().await;
        let took = begun.elapsed();
        let limit = Duration::from_millis(service.engine.settings.limits.shutdown_ms);
        // For the threads of a busy machine; the stop itself is done before.
        let slack = Duration::from_millis(500);
        assert!(took < limit + slack, "{took:?}");
        assert!(shutdown_end - begun < limit + slack);
    }
}

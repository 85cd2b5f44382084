//! The text of the page `/metrics`: counts the live executions each time the page is read, and adds
//! the counters.

use std::sync::PoisonError;

use protocol::{Exposition, State};

use super::Service;
use crate::metrics::Gauges;
use crate::readiness::{Conditions, no_tokens};

impl Service {
    /// Returns the text of the page `/metrics` in `format`. All values are in memory: a monitoring
    /// system that reads the page never waits for the disk.
    #[must_use]
    pub fn metrics_page(&self, format: Exposition) -> String {
        self.engine.metrics.page(&self.gauges(), format)
    }

    /// Returns the codes of all obstacles and warnings of `/health/ready`.
    fn conditions(&self) -> Conditions {
        let mut conditions = self.engine.readiness.conditions();
        if self.engine.access.refuses_everybody() {
            conditions.warnings.push(no_tokens().code);
        }
        conditions
    }

    /// Counts the executions that have not ended, by state, and their open streams. An execution
    /// whose terminal status is published but not on disk yet counts as ended.
    fn gauges(&self) -> Gauges {
        let mut gauges = Gauges {
            spool_bytes: self.engine.registry.measured_bytes(),
            spool_free_bytes: self.engine.registry.free_bytes(),
            conditions: self.conditions(),
            budgets: self.engine.counted_budgets(),
            webhooks_pending: i64::try_from(self.engine.webhooks.pending()).unwrap_or(i64::MAX),
            ..Gauges::default()
        };
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        for live in live.values() {
            let state = live.status.borrow().status.state;
            match state {
                State::Queued => gauges.queued += 1,
                State::Running => gauges.running += 1,
                State::Paused => gauges.paused += 1,
                State::Completed
                | State::Failed
                | State::Cancelled
                | State::TimedOut
                | State::Interrupted => {}
            }
            gauges.viewers += i64::try_from(live.views.open_streams()).unwrap_or(i64::MAX);
        }
        gauges
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::spending::Budgets;
    use crate::access::{Caller, Right};
    use crate::service::testing::{accepted, open};

    #[tokio::test]
    async fn a_scrape_counts_executions_and_their_open_streams() {
        let dir = tempfile::tempdir().unwrap();
        let service = open(dir.path());
        let [id, _] = [(); 2].map(|()| accepted(&service, State::Queued));
        let counts = || {
            let Gauges {
                queued, viewers, ..
            } = service.gauges();
            (queued, viewers)
        };
        assert_eq!(counts(), (0, 0));
        service.recover().unwrap();
        let view = service
            .find(&Caller::anyone(), id, Right::View)
            .await
            .unwrap();
        let viewing = service.viewing(&view, None).await;
        assert_eq!(counts(), (2, 1));
        drop(viewing);
        assert_eq!(counts(), (2, 0));
    }

    #[tokio::test]
    async fn a_scrape_has_the_room_on_the_disk_the_obstacles_and_the_budgets() {
        let dir = tempfile::tempdir().unwrap();
        let service = open(dir.path());
        let gauges = service.gauges();
        assert!(gauges.spool_free_bytes > 0);
        assert_eq!(gauges.conditions.obstacles, ["cli-unchecked"]);
        assert_eq!(gauges.budgets, Budgets::default());
    }
}

//! What the service adds to its metrics at a scrape.

use std::sync::PoisonError;

use protocol::{Exposition, State};

use super::Service;
use crate::metrics::Now;

impl Service {
    /// The page of `/metrics`. Everything on it is in memory: a scrape never waits for the disk.
    #[must_use]
    pub fn metrics_page(&self, format: Exposition) -> String {
        self.engine.metrics.page(self.now(), format)
    }

    /// Counts the executions that have not ended. One whose end is not on disk yet has ended.
    fn now(&self) -> Now {
        let mut now = Now {
            spool_bytes: self.engine.registry.measured_bytes(),
            ..Now::default()
        };
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        for live in live.values() {
            let state = live.status.borrow().status.state;
            match state {
                State::Queued => now.queued += 1,
                State::Running => now.running += 1,
                State::Paused => now.paused += 1,
                State::Completed
                | State::Failed
                | State::Cancelled
                | State::TimedOut
                | State::Interrupted => {}
            }
            now.viewers += i64::try_from(live.views.open_streams()).unwrap_or(i64::MAX);
        }
        now
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::testing::{accepted, open};

    #[tokio::test]
    async fn a_scrape_counts_executions_and_their_open_streams() {
        let dir = tempfile::tempdir().unwrap();
        let service = open(dir.path());
        let [id, _] = [(); 2].map(|()| accepted(&service, State::Queued));
        assert_eq!(service.now(), Now::default());
        service.recover().unwrap();
        let view = service.find(id).await.unwrap();
        let viewing = service.viewing(&view, None).await;
        let expected = Now {
            queued: 2,
            viewers: 1,
            ..Now::default()
        };
        assert_eq!(service.now(), expected);
        drop(viewing);
        assert_eq!(service.now().viewers, 0);
    }
}

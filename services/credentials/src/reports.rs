//! The reports that wait for the control connection.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use grants::{Answer, Report, Usage};
use tokio::sync::watch;

/// The maximum number of waiting reports, which take about 400 KiB.
const WAITING: usize = 1024;

/// The queue of reports. Clones share it.
///
/// A request never waits for the queue. The queue grows while there is no control connection. When
/// it is full, the tokens and the cost of a new answer are added to the last waiting answer of the
/// same execution. So its cost is not lost; only the number of answers is too low. If no answer of
/// the execution waits, the new one is dropped and counted.
#[derive(Debug, Clone)]
pub struct Reports(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// A lock, because requests of all connections report. It is held for a push or a pop, never
    /// across an await.
    queue: Mutex<Queue>,
    /// Changes with each push.
    pushed: watch::Sender<()>,
    /// Changes with each success, which shows that the API accepts the credential.
    accepted: watch::Sender<()>,
    /// Changes when the API refuses a request of an execution with 401 or 403. The cause may be the
    /// credential, or an odd request.
    doubted: watch::Sender<()>,
}

/// The waiting reports. A plain value; its caller holds the lock.
#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Report>,
    /// The number of answers that were dropped, because the queue was full of other executions.
    dropped: u64,
}

impl Default for Reports {
    fn default() -> Self {
        Self(Arc::new(Inner {
            queue: Mutex::default(),
            pushed: watch::Sender::new(()),
            accepted: watch::Sender::new(()),
            doubted: watch::Sender::new(()),
        }))
    }
}

impl Reports {
    fn queue(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds the report of an answer.
    pub fn push(&self, answer: Answer) {
        let status = answer.status;
        let is_check = answer.execution_id.is_none();
        let dropped = self.queue().push(answer);
        // Only powers of two are logged, so that a flood writes few lines.
        if let Some(dropped) = dropped.filter(|dropped| dropped.is_power_of_two()) {
            tracing::warn!(
                dropped,
                "could not keep the reports of all answers; claude-api reads them too slowly"
            );
        }
        match status {
            Some(200..300) => self.0.accepted.send_replace(()),
            Some(401 | 403) if !is_check => self.0.doubted.send_replace(()),
            _ => {}
        }
        self.0.pushed.send_replace(());
    }

    /// Adds the report that a grant has ended, after all answers to its requests. It is added even
    /// if the queue is full; claude-api's own limit of executions bounds these reports.
    pub fn push_revoked(&self, execution_id: String) {
        let report = Report::Revoked { execution_id };
        self.queue().waiting.push_back(report);
        self.0.pushed.send_replace(());
    }

    /// Waits for the next report and removes it. Cancel-safe. Only the control connection calls it.
    pub async fn next(&self) -> Report {
        let mut pushed = self.0.pushed.subscribe();
        loop {
            if let Some(report) = self.queue().waiting.pop_front() {
                return report;
            }
            // The sender lives as long as `self`.
            if pushed.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Returns a receiver that changes with each success of a request.
    #[must_use]
    pub fn accepted(&self) -> watch::Receiver<()> {
        self.0.accepted.subscribe()
    }

    /// Returns a receiver that changes when the API refuses a request of an execution with 401 or
    /// 403.
    #[must_use]
    pub fn doubted(&self) -> watch::Receiver<()> {
        self.0.doubted.subscribe()
    }

    /// Puts back a report that could not be sent, at the front of the queue.
    pub fn put_back(&self, report: Report) {
        self.queue().waiting.push_front(report);
    }
}

impl Queue {
    /// Adds the report of an answer. If it was dropped, returns the number of dropped answers so
    /// far.
    fn push(&mut self, answer: Answer) -> Option<u64> {
        if self.waiting.len() < WAITING {
            self.waiting.push_back(Report::Answer(answer));
            return None;
        }
        let same = self
            .waiting
            .iter_mut()
            .rev()
            .find_map(|report| match report {
                Report::Answer(waiting) if waiting.execution_id == answer.execution_id => {
                    Some(waiting)
                }
                _ => None,
            });
        let Some(waiting) = same else {
            self.dropped += 1;
            return Some(self.dropped);
        };
        let usage = sum(waiting.usage, answer.usage);
        let cost_usd = waiting.cost_usd + answer.cost_usd;
        let total_cost_usd = waiting.total_cost_usd.max(answer.total_cost_usd);
        *waiting = Answer {
            usage,
            cost_usd,
            total_cost_usd,
            ..answer
        };
        None
    }
}

fn sum(one: Usage, other: Usage) -> Usage {
    let Usage {
        input_tokens,
        output_tokens,
        cache_read_tokens,
        cache_write_tokens,
    } = one;
    Usage {
        input_tokens: input_tokens.saturating_add(other.input_tokens),
        output_tokens: output_tokens.saturating_add(other.output_tokens),
        cache_read_tokens: cache_read_tokens.saturating_add(other.cache_read_tokens),
        cache_write_tokens: cache_write_tokens.saturating_add(other.cache_write_tokens),
    }
}

#[cfg(test)]
mod tests {
    use grants::Endpoint;

    use super::*;

    fn answer(execution: &str, cost_usd: f64) -> Answer {
        Answer {
            execution_id: Some(execution.to_owned()),
            endpoint: Endpoint::Messages,
            status: Some(200),
            error_type: None,
            complete: true,
            first_byte_ms: None,
            resets_at_ms: None,
            usage: Usage {
                input_tokens: 1,
                ..Usage::default()
            },
            cost_usd,
            total_cost_usd: cost_usd,
        }
    }

    #[test]
    fn a_full_queue_keeps_the_costs_of_known_executions() {
        let mut queue = Queue::default();
        for _ in 0..WAITING {
            assert_eq!(queue.push(answer("a", 1.0)), None);
        }
        assert_eq!(queue.push(answer("a", 2.5)), None);
        assert_eq!(queue.push(answer("b", 1.0)), Some(1));
        assert_eq!(queue.waiting.len(), WAITING);
        let Some(Report::Answer(last)) = queue.waiting.back() else {
            panic!("an answer");
        };
        assert_eq!((last.cost_usd, last.usage.input_tokens), (3.5, 2));
        assert_eq!(last.total_cost_usd, 2.5);
    }

    #[tokio::test]
    async fn reports_keep_their_order_and_one_that_was_put_back_is_first() {
        let reports = Reports::default();
        let (one, two) = (answer("1", 0.0), answer("2", 0.0));
        reports.push(one.clone());
        reports.push(two.clone());
        let first = reports.next().await;
        assert_eq!(first, Report::Answer(one));
        reports.put_back(first.clone());
        assert_eq!(reports.next().await, first);
        assert_eq!(reports.next().await, Report::Answer(two));
        let waiting = reports.clone();
        let next = tokio::spawn(async move { waiting.next().await });
        reports.push(answer("3", 0.0));
        assert_eq!(next.await.unwrap(), Report::Answer(answer("3", 0.0)));
    }
}

//! Whether claude-api is boxed, which means that the model's commands run in its own container.
//! claude-api itself answers this question.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use protocol::{Limits, ProblemType};
use tokio::sync::Mutex;

use crate::upstream::Upstream;
use crate::upstream::errors::Failure;

/// How long claude-api's answer is used (1 s). Then it is requested again, because claude-api may
/// have restarted with another setting.
const FRESH: Duration = Duration::from_secs(1);

/// Asks claude-api whether the model's commands run in its own container (it is boxed), and caches
/// the answer for 1 s.
#[derive(Debug)]
pub(super) struct BoxedState {
    upstream: Upstream,
    /// The last answer, with the time of its request; `None` before the first one. The lock is held
    /// during the call to claude-api, so that all waiting requests share one call.
    last: Mutex<Option<(Instant, bool)>>,
    /// Whether claude-api's last answer refused this bridge, because the bridge's address is one of
    /// claude-api's container.
    refused: AtomicBool,
}

impl BoxedState {
    /// Creates the cache without an answer. The first question asks claude-api through `upstream`.
    pub(super) fn new(upstream: Upstream) -> Self {
        Self {
            upstream,
            last: Mutex::default(),
            refused: AtomicBool::new(false),
        }
    }

    /// Returns true if the model's commands run in claude-api's own container. Asks claude-api if
    /// its last answer is more than 1 s old. If it does not answer, returns its last answer, or
    /// `None` if it has never answered.
    pub(super) async fn is_boxed(&self) -> Option<bool> {
        let mut last = self.last.lock().await;
        match *last {
            Some((at, boxed)) if at.elapsed() <= FRESH => return Some(boxed),
            _ => {}
        }
        let requested_at = Instant::now();
        let answer = self.upstream.limits().await;
        if let Some(boxed) = boxed_in(&answer) {
            *last = Some((requested_at, boxed));
            let refused = matches!(&answer, Err(e) if e.problem(ProblemType::FromBox).is_some());
            self.refused.store(refused, Ordering::Relaxed);
        }
        last.map(|(_, boxed)| boxed)
    }

    /// Returns true if claude-api refuses this bridge as a part of its own container. The answer is
    /// at most 1 s old, or the last one if claude-api does not answer.
    pub(super) async fn is_refused(&self) -> bool {
        self.is_boxed().await;
        self.refused.load(Ordering::Relaxed)
    }
}

/// Reads from an answer to `GET /v1/limits` whether the model's commands run in claude-api's own
/// container. Two kinds of refusal also mean true, because only a boxed claude-api sends them.
/// Returns `None` for any other failure.
fn boxed_in(answer: &Result<Limits, Failure>) -> Option<bool> {
    match answer {
        Ok(limits) => Some(limits.boxed),
        Err(failure) => {
            let kinds = [ProblemType::FromBox, ProblemType::BoxReachesService];
            let refused = kinds.iter().any(|kind| failure.problem(*kind).is_some());
            refused.then_some(true)
        }
    }
}

#[cfg(test)]
mod tests {
    use protocol::Problem;

    use super::*;

    #[test]
    fn only_limits_and_the_problems_of_a_box_say_whether_claude_api_is_boxed() {
        let limits = |boxed| {
            Ok(Limits {
                boxed,
                ..Limits::default()
            })
        };
        let refused = |kind| Err(Failure::Refused(Box::new(Problem::new(kind, "x")), None));
        for (answer, expected) in [
            (limits(true), Some(true)),
            (limits(false), Some(false)),
            (refused(ProblemType::FromBox), Some(true)),
            (refused(ProblemType::BoxReachesService), Some(true)),
            (refused(ProblemType::Stopping), None),
            (Err(Failure::Foreign(401, None)), None),
            (Err(Failure::Broken(String::new())), None),
        ] {
            assert_eq!(boxed_in(&answer), expected, "{answer:?}");
        }
    }
}

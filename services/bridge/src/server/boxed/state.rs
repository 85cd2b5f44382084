//! Whether claude-api is boxed (runs the model's commands in its own container), as claude-api
//! itself says.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use protocol::{Limits, ProblemType};
use tokio::sync::Mutex;

use crate::upstream::Upstream;
use crate::upstream::errors::Failure;

/// How long an answer of claude-api is used. Then it is requested again, because claude-api may
/// have restarted with another setting.
const FRESH: Duration = Duration::from_secs(1);

/// Asks claude-api whether it is boxed (runs the model's commands in its own container), and caches
/// the answer for 1 s.
#[derive(Debug)]
pub(super) struct BoxedState {
    upstream: Upstream,
    /// The last answer and its time. Locked during the call to claude-api, so that all waiting
    /// requests share one call.
    last: Mutex<Option<(Instant, bool)>>,
    /// Whether claude-api's last answer refused this bridge, because it took the bridge's address
    /// for one of its box.
    refused: AtomicBool,
}

impl BoxedState {
    pub(super) fn new(upstream: Upstream) -> Self {
        Self {
            upstream,
            last: Mutex::default(),
            refused: AtomicBool::new(false),
        }
    }

    /// Whether claude-api is boxed (runs the model's commands in its own container), according to
    /// an answer that is at most 1 s old. While claude-api does not answer, its last answer is
    /// returned, or `None` if there has been none.
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

    /// Whether claude-api refuses this bridge because it takes it for a part of its own container,
    /// according to an answer that is at most 1 s old.
    pub(super) async fn is_refused(&self) -> bool {
        self.is_boxed().await;
        self.refused.load(Ordering::Relaxed)
    }
}

/// Reads from an answer to `GET /v1/limits` whether claude-api is boxed (runs the model's commands
/// in its own container). `None` if the answer does not show it. Two refusals show it, because only
/// a boxed claude-api sends them.
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

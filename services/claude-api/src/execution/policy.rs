//! The policies `onInterrupt` and `onUsageLimit` of a request. They decide whether a new execution
//! continues one that was interrupted or reached a usage limit. The decision is a pure function.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use protocol::{Body, OnInterrupt, OnUsageLimit, Reason, State, Status};

use crate::registry::record::Chain;

/// The number of interruptions in a row after which an execution is not continued any more. The
/// execution itself may be the reason why the service ends.
pub const MAX_INTERRUPTIONS: u32 = 10;
/// The running time after which an interruption does not count as one in a row: the count starts
/// again from zero.
const LONG_RUN: SignedDuration = SignedDuration::from_mins(10);
/// The longest time until the reset of a usage limit that is believed, 32 days. A later time counts
/// as unknown. The longest limit lasts a week.
const FARTHEST_RESET: SignedDuration = SignedDuration::from_hours(32 * 24);
/// The waits after usage limits in a row whose reset is unknown, as multiples of the first wait. By
/// default they are 5, 10 and 20 minutes, and then 60 minutes each time.
const WAITS: [u32; 4] = [1, 2, 4, 12];

/// The facts of a finished run, other than its status, that decide whether a new execution
/// continues it.
#[derive(Debug, Clone, Copy)]
pub struct EndContext {
    /// Whether the CLI has sent a request to the model ([`was_asked`]).
    pub asked: bool,
    /// When the usage limit that ended the execution is reset, in Unix seconds. `None` if it is
    /// unknown.
    pub resets_at: Option<i64>,
}

/// The decision whether a new execution continues an ended execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContinuationDecision {
    /// The execution is not continued, because no policy applies to this end.
    None,
    /// The execution is not continued, because it was interrupted too often in a row.
    GivenUp,
    /// A new execution continues the ended one, in the same conversation.
    Continue {
        /// The earliest time of its start. `None` means that it may start immediately.
        not_before: Option<Timestamp>,
        /// The counts of interruptions and usage limits in a row, which the new execution inherits.
        chain: Chain,
    },
}

/// Decides whether a new execution continues an execution that ended with `status`, by the policies
/// in its `body`. `chain` counts the interruptions and usage limits in a row before it. `resets_at`
/// is the reset of the usage limit in Unix seconds. If that is unknown or not plausible, the first
/// continuation waits for `first_wait`, and later ones wait longer.
#[must_use]
pub fn decide(
    status: &Status,
    body: &Body,
    chain: Chain,
    resets_at: Option<i64>,
    now: Timestamp,
    first_wait: Duration,
) -> ContinuationDecision {
    if status.state == State::Interrupted && body.on_interrupt == OnInterrupt::Continue {
        let ran = status.started_at.map_or(SignedDuration::ZERO, |at| {
            status.ended_at.unwrap_or(now).duration_since(at)
        });
        let interruptions = if ran >= LONG_RUN {
            0
        } else {
            chain.interruptions
        };
        if interruptions >= MAX_INTERRUPTIONS {
            return ContinuationDecision::GivenUp;
        }
        return ContinuationDecision::Continue {
            not_before: None,
            chain: Chain {
                interruptions: interruptions + 1,
                limits: 0,
            },
        };
    }
    if status.reason == Some(Reason::UsageLimit) && body.on_usage_limit == OnUsageLimit::Wait {
        let not_before = plausible_reset(resets_at, now).or_else(|| {
            let step = WAITS[(chain.limits as usize).min(WAITS.len() - 1)];
            let wait = SignedDuration::try_from(first_wait.saturating_mul(step)).ok()?;
            now.checked_add(wait).ok()
        });
        return ContinuationDecision::Continue {
            not_before,
            chain: Chain {
                interruptions: 0,
                limits: chain.limits.saturating_add(1),
            },
        };
    }
    ContinuationDecision::None
}

/// Converts the time of a reset from Unix seconds. `None` if it is unknown, not after `now`, or
/// more than 32 days later.
fn plausible_reset(at: Option<i64>, now: Timestamp) -> Option<Timestamp> {
    let at = Timestamp::from_second(at?).ok()?;
    let ahead = at.duration_since(now);
    (ahead > SignedDuration::ZERO && ahead <= FARTHEST_RESET).then_some(at)
}

/// Returns whether the CLI of a running execution has sent a request to the model, so that the
/// conversation contains the prompt. The activity shows this: the first one is `starting`, and any
/// other follows a request.
#[must_use]
pub fn was_asked(status: &Status) -> bool {
    let starting = renderer::Activity::Starting.to_string();
    status.started_at.is_some() && status.activity.as_deref() != Some(&starting)
}

/// Returns whether a client may continue an execution that ended like this. True if it was
/// interrupted, or if a usage limit ended it.
#[must_use]
pub fn is_continuable(status: &Status) -> bool {
    status.state == State::Interrupted || status.reason == Some(Reason::UsageLimit)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_secs(300);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn status(state: State, reason: Option<Reason>) -> Status {
        let mut status =
            Status::queued(protocol::ExecutionId::random(), at(0), "default".to_owned());
        status.started_at = Some(at(1000));
        status.state = state;
        status.reason = reason;
        status
    }

    fn body() -> Body {
        Body {
            on_interrupt: OnInterrupt::Continue,
            on_usage_limit: OnUsageLimit::Wait,
            ..Body::new("x")
        }
    }

    fn after_usage_limit(limits: u32, resets_at: Option<i64>) -> ContinuationDecision {
        let chain = Chain {
            interruptions: 2,
            limits,
        };
        let status = status(State::Failed, Some(Reason::UsageLimit));
        decide(&status, &body(), chain, resets_at, at(2000), FIRST)
    }

    fn wait_seconds(follow: ContinuationDecision) -> i64 {
        match follow {
            ContinuationDecision::Continue {
                not_before: Some(at),
                ..
            } => at.as_second() - 2000,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_end_without_a_policy_is_not_continued() {
        for (state, reason) in [
            (State::Interrupted, Reason::ServiceStopped),
            (State::Failed, Reason::UsageLimit),
        ] {
            let status = status(state, Some(reason));
            let got = decide(
                &status,
                &Body::new("x"),
                Chain::default(),
                None,
                at(2000),
                FIRST,
            );
            assert_eq!(got, ContinuationDecision::None);
            assert!(is_continuable(&status));
        }
        for (state, reason) in [
            (State::Completed, None),
            (State::Cancelled, None),
            (State::Failed, Some(Reason::CliError)),
            (State::TimedOut, Some(Reason::IdleTimeout)),
        ] {
            let status = status(state, reason);
            let got = decide(&status, &body(), Chain::default(), None, at(2000), FIRST);
            assert_eq!(got, ContinuationDecision::None, "{state:?}");
            assert!(!is_continuable(&status));
        }
    }

    #[test]
    fn waits_grow_while_the_reset_is_unknown() {
        let minutes: Vec<_> = (0..6)
            .map(|n| wait_seconds(after_usage_limit(n, None)) / 60)
            .collect();
        assert_eq!(minutes, [5, 10, 20, 60, 60, 60]);
        let ContinuationDecision::Continue { chain, .. } = after_usage_limit(3, None) else {
            panic!("it is not continued")
        };
        assert_eq!((chain.limits, chain.interruptions), (4, 0));
    }

    #[test]
    fn an_implausible_reset_is_ignored() {
        assert_eq!(wait_seconds(after_usage_limit(3, Some(2000 + 7))), 7);
        for odd in [0, 2000, -5, i64::MAX, 2000 + 40 * 86_400] {
            let wait = wait_seconds(after_usage_limit(0, Some(odd)));
            assert_eq!(wait, 300, "{odd}");
        }
    }

    #[test]
    fn the_activity_shows_whether_the_model_was_asked() {
        let mut status = status(State::Running, None);
        for (activity, asked) in [
            (Some("starting"), false),
            (Some("thinking"), true),
            (Some("retrying: 529"), true),
            (None, true),
        ] {
            status.activity = activity.map(str::to_owned);
            assert_eq!(was_asked(&status), asked, "{activity:?}");
        }
        status.started_at = None;
        assert!(!was_asked(&status));
    }

    #[test]
    fn interruptions_in_a_row_are_limited() {
        let status = status(State::Interrupted, Some(Reason::RunnerDied));
        let mut chain = Chain {
            interruptions: 0,
            limits: 3,
        };
        for n in 1..=MAX_INTERRUPTIONS {
            let got = decide(&status, &body(), chain, None, at(1010), FIRST);
            chain = Chain {
                interruptions: n,
                limits: 0,
            };
            let not_before = None;
            assert_eq!(got, ContinuationDecision::Continue { not_before, chain });
        }
        let again = |now| decide(&status, &body(), chain, None, at(now), FIRST);
        assert_eq!(again(1010), ContinuationDecision::GivenUp);
        assert!(
            matches!(again(1600), ContinuationDecision::Continue { .. }),
            "a long run starts a new row"
        );
    }
}

//! What follows the end of an execution by itself: the policies `onInterrupt` and `onUsageLimit`, as one pure function.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use protocol::{Body, OnInterrupt, OnUsageLimit, Reason, State, Status};

use crate::registry::record::Chain;

/// After so many interruptions in a row it is not continued any more: it may be what ends the service.
pub const MOST_INTERRUPTIONS: u32 = 10;
/// A run of this length was no part of a row.
const LONG_RUN: SignedDuration = SignedDuration::from_mins(10);
/// A reset that lies further ahead is not believed: the longest limit there is is a week's.
const FARTHEST_RESET: SignedDuration = SignedDuration::from_hours(32 * 24);
/// The waits after usage limits in a row without a known reset, in units of the first: 5, 10, 20, then every 60 minutes.
const WAITS: [u32; 4] = [1, 2, 4, 12];

/// What was known just before the end.
#[derive(Debug, Clone, Copy)]
pub struct EndContext {
    /// [`was_asked`].
    pub asked: bool,
    /// When the limit that ended it is reset, in Unix seconds.
    pub resets_at: Option<i64>,
}

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follow {
    /// Nothing: no policy speaks of this end.
    Nothing,
    /// Nothing: it was interrupted too often in a row.
    GivenUp,
    /// A new execution, at once or not before a time.
    New {
        /// When, if not at once.
        not_before: Option<Timestamp>,
        /// What it inherits.
        chain: Chain,
    },
}

/// What follows `status`, which is terminal. `resets_at` is the limit's reset in Unix seconds, where known; `first_wait` the
/// first wait where it is not.
#[must_use]
pub fn follow(
    status: &Status,
    body: &Body,
    chain: Chain,
    resets_at: Option<i64>,
    now: Timestamp,
    first_wait: Duration,
) -> Follow {
    if status.state == State::Interrupted && body.on_interrupt == OnInterrupt::Continue {
        let ran = status.started_at.map_or(SignedDuration::ZERO, |at| {
            status.ended_at.unwrap_or(now).duration_since(at)
        });
        let before = if ran >= LONG_RUN {
            0
        } else {
            chain.interruptions
        };
        if before >= MOST_INTERRUPTIONS {
            return Follow::GivenUp;
        }
        return Follow::New {
            not_before: None,
            chain: Chain {
                interruptions: before + 1,
                limits: 0,
            },
        };
    }
    if status.reason == Some(Reason::UsageLimit) && body.on_usage_limit == OnUsageLimit::Wait {
        let not_before = reset(resets_at, now).or_else(|| {
            let step = WAITS[(chain.limits as usize).min(WAITS.len() - 1)];
            let wait = SignedDuration::try_from(first_wait.saturating_mul(step)).ok()?;
            now.checked_add(wait).ok()
        });
        return Follow::New {
            not_before,
            chain: Chain {
                interruptions: 0,
                limits: chain.limits.saturating_add(1),
            },
        };
    }
    Follow::Nothing
}

/// The reset, if it can be one.
fn reset(at: Option<i64>, now: Timestamp) -> Option<Timestamp> {
    let at = Timestamp::from_second(at?).ok()?;
    let ahead = at.duration_since(now);
    (ahead > SignedDuration::ZERO && ahead <= FARTHEST_RESET).then_some(at)
}

/// Whether the model was asked in an execution that still runs: then the CLI has its prompt. Its activity says so, from the
/// first (`starting`) on.
#[must_use]
pub fn was_asked(status: &Status) -> bool {
    let starting = renderer::Activity::Starting.to_string();
    status.started_at.is_some() && status.activity.as_deref() != Some(&starting)
}

/// Whether an execution that ended so may be continued by request.
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

    fn limited(limits: u32, resets_at: Option<i64>) -> Follow {
        let chain = Chain {
            interruptions: 2,
            limits,
        };
        let status = status(State::Failed, Some(Reason::UsageLimit));
        follow(&status, &body(), chain, resets_at, at(2000), FIRST)
    }

    fn wait(follow: Follow) -> i64 {
        match follow {
            Follow::New {
                not_before: Some(at),
                ..
            } => at.as_second() - 2000,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn without_a_policy_nothing_follows() {
        for (state, reason) in [
            (State::Interrupted, Reason::ServiceStopped),
            (State::Failed, Reason::UsageLimit),
        ] {
            let status = status(state, Some(reason));
            let got = follow(
                &status,
                &Body::new("x"),
                Chain::default(),
                None,
                at(2000),
                FIRST,
            );
            assert_eq!(got, Follow::Nothing);
            assert!(is_continuable(&status));
        }
        for (state, reason) in [
            (State::Completed, None),
            (State::Cancelled, None),
            (State::Failed, Some(Reason::CliError)),
            (State::TimedOut, Some(Reason::IdleTimeout)),
        ] {
            let status = status(state, reason);
            let got = follow(&status, &body(), Chain::default(), None, at(2000), FIRST);
            assert_eq!(got, Follow::Nothing, "{state:?}");
            assert!(!is_continuable(&status));
        }
    }

    #[test]
    fn without_a_reset_the_waits_grow() {
        let minutes: Vec<_> = (0..6).map(|n| wait(limited(n, None)) / 60).collect();
        assert_eq!(minutes, [5, 10, 20, 60, 60, 60]);
        let Follow::New { chain, .. } = limited(3, None) else {
            panic!("nothing")
        };
        assert_eq!((chain.limits, chain.interruptions), (4, 0));
    }

    #[test]
    fn a_reset_counts_if_it_can_be_one() {
        assert_eq!(wait(limited(3, Some(2000 + 7))), 7);
        for odd in [0, 2000, -5, i64::MAX, 2000 + 40 * 86_400] {
            assert_eq!(wait(limited(0, Some(odd))), 300, "{odd}");
        }
    }

    #[test]
    fn the_activity_tells_whether_the_model_was_asked() {
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
    fn a_row_of_interruptions_has_an_end() {
        let status = status(State::Interrupted, Some(Reason::RunnerDied));
        let mut chain = Chain {
            interruptions: 0,
            limits: 3,
        };
        for n in 1..=MOST_INTERRUPTIONS {
            let got = follow(&status, &body(), chain, None, at(1010), FIRST);
            chain = Chain {
                interruptions: n,
                limits: 0,
            };
            let not_before = None;
            assert_eq!(got, Follow::New { not_before, chain });
        }
        let again = |now| follow(&status, &body(), chain, None, at(now), FIRST);
        assert_eq!(again(1010), Follow::GivenUp);
        assert!(matches!(again(1600), Follow::New { .. }), "it ran for long");
    }
}

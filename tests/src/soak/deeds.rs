//! The deeds of the run, which are kills and stops of claude-api and of single processes, with
//! their times. Only these may interrupt an execution.

use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

/// The rounding of times: statuses have milliseconds.
const SLACK: SignedDuration = SignedDuration::from_millis(5);

/// An action that ends executions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Deed {
    /// claude-api was killed.
    Kill,
    /// claude-api was stopped.
    Stop,
    /// The runner of this conversation was killed; `None` if its CLI was not visible.
    Runner(Option<String>),
    /// The CLI of this conversation was killed.
    Cli(String),
}

/// The ends of an execution that the deeds allow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct AllowedEnds {
    /// Whether it may be `interrupted`.
    pub(super) interrupt: bool,
    /// Whether a stop of claude-api may have ended the CLI between its last result and its exit.
    pub(super) stop: bool,
    /// Whether it may have failed with `killed_by_signal`.
    pub(super) die: bool,
}

/// A deed with its begin and its end; the end is `None` while the deed is in progress.
type Entry = (Deed, Timestamp, Option<Timestamp>);

/// All deeds of the run.
#[derive(Debug, Default)]
pub(super) struct Deeds {
    /// No await happens inside the lock.
    all: Mutex<Vec<Entry>>,
}

impl Deeds {
    /// Records the begin of a deed; call it before the deed, whose effects may be visible
    /// immediately.
    pub(super) fn begin(&self, deed: Deed) -> usize {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.push((deed, Timestamp::now(), None));
        all.len() - 1
    }

    /// Records the end of a deed.
    pub(super) fn done(&self, number: usize) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, _, until)) = all.get_mut(number) {
            *until = Some(Timestamp::now());
        }
    }

    /// Returns whether claude-api was killed or stopped at some time between two times.
    pub(super) fn kills(&self, from: Timestamp, to: Timestamp) -> bool {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().any(|(deed, begin, end)| {
            matches!(deed, Deed::Kill | Deed::Stop)
                && *begin <= to
                && end.is_none_or(|end| end >= from)
        })
    }

    /// Returns the ends that the deeds allow for an execution of a conversation. The terminal
    /// status holds the times between which it ran.
    pub(super) fn during(&self, conversation: &str, status: &Value) -> AllowedEnds {
        let at = |name: &str| status[name].as_str()?.parse::<Timestamp>().ok();
        let (Some(started), Some(ended)) = (at("startedAt"), at("endedAt")) else {
            return AllowedEnds::default();
        };
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let mut allowed_ends = AllowedEnds::default();
        for (deed, from, until) in all.iter() {
            let began_in_time = *from <= ended + SLACK;
            if !began_in_time || until.is_some_and(|until| until + SLACK < started) {
                continue;
            }
            match deed {
                Deed::Kill => allowed_ends.interrupt = true,
                Deed::Stop => {
                    allowed_ends.interrupt = true;
                    allowed_ends.stop = true;
                }
                Deed::Runner(of) => {
                    allowed_ends.interrupt |= of.as_ref().is_none_or(|of| of == conversation);
                }
                Deed::Cli(of) => allowed_ends.die |= of == conversation,
            }
        }
        allowed_ends
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_deeds_during_the_run_and_to_the_conversation_count() {
        let deeds = Deeds::default();
        let second = |at: i64| Timestamp::new(at, 0).expect("a time");
        let done = |deed, from, until: Option<i64>| {
            let mut all = deeds.all.lock().expect("a lock");
            all.push((deed, second(from), until.map(second)));
        };
        done(Deed::Cli("a".into()), 100, Some(101));
        done(Deed::Runner(Some("a".into())), 200, Some(200));
        done(Deed::Kill, 300, None);
        done(Deed::Stop, 500, Some(501));
        let ran = |conversation: &str, from, until| {
            let status = json!({"startedAt": second(from), "endedAt": second(until)});
            let AllowedEnds {
                interrupt,
                die,
                stop,
            } = deeds.during(conversation, &status);
            assert_eq!(stop, until >= 500);
            (interrupt, die)
        };
        assert_eq!(ran("a", 90, 99), (false, false));
        assert_eq!(ran("a", 90, 100), (false, true));
        assert_eq!(ran("b", 90, 200), (false, false));
        assert_eq!(ran("a", 102, 250), (true, false));
        assert_eq!(ran("b", 250, 299), (false, false));
        assert_eq!(ran("b", 250, 301), (true, false));
        assert_eq!(ran("b", 400, 401), (true, false));
        assert_eq!(ran("b", 400, 500), (true, false));
        // The stop is the only deed here that ends; the kill before it is still in progress.
        assert!(deeds.kills(second(299), second(300)) && !deeds.kills(second(100), second(299)));
        let queued = json!({"startedAt": null, "endedAt": second(301)});
        assert_eq!(deeds.during("b", &queued), AllowedEnds::default());
    }

    #[test]
    fn a_stop_of_claude_api_is_a_kill_and_the_kill_of_one_runner_is_none() {
        let deeds = Deeds::default();
        let earlier = Timestamp::now();
        let runner = deeds.begin(Deed::Runner(None));
        deeds.done(runner);
        assert!(!deeds.kills(earlier, Timestamp::now()));
        let stop = deeds.begin(Deed::Stop);
        assert!(deeds.kills(earlier, Timestamp::now()));
        deeds.done(stop);
        let later = Timestamp::now() + SignedDuration::from_secs(1);
        assert!(!deeds.kills(later, later));
    }
}

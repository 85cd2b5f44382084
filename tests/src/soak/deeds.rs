//! What was done to claude-api and to single processes, and when. Only that may have ended an execution before its time.

use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

/// Statuses tell times in milliseconds.
const SLACK: SignedDuration = SignedDuration::from_millis(5);

/// What ends executions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Deed {
    /// claude-api was killed.
    Kill,
    /// claude-api was stopped.
    Stop,
    /// A runner was killed: of this conversation; `None` where its CLI could not be seen.
    Runner(Option<String>),
    /// The CLI of this conversation was killed.
    Cli(String),
}

/// What may be said of an execution's end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Suffered {
    /// It may be `interrupted`.
    pub(super) interrupt: bool,
    /// Whether a stop of claude-api may have ended the CLI between its last result and its exit.
    pub(super) stop: bool,
    /// It may have failed with `killed_by_signal`.
    pub(super) die: bool,
}

/// A deed, from when, until when; `None` while it is being done.
type Entry = (Deed, Timestamp, Option<Timestamp>);

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Deeds {
    /// No await happens inside the lock.
    all: Mutex<Vec<Entry>>,
}

impl Deeds {
    /// It is about to be done: what comes of it may be seen at once.
    pub(super) fn begin(&self, deed: Deed) -> usize {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.push((deed, Timestamp::now(), None));
        all.len() - 1
    }

    /// It is done.
    pub(super) fn done(&self, number: usize) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, _, until)) = all.get_mut(number) {
            *until = Some(Timestamp::now());
        }
    }

    /// What was done to one of a conversation while it ran, as its terminal status says.
    pub(super) fn during(&self, conversation: &str, status: &Value) -> Suffered {
        let at = |name: &str| status[name].as_str()?.parse::<Timestamp>().ok();
        let (Some(started), Some(ended)) = (at("startedAt"), at("endedAt")) else {
            return Suffered::default();
        };
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let mut suffered = Suffered::default();
        for (deed, from, until) in all.iter() {
            let before = *from <= ended + SLACK;
            if !before || until.is_some_and(|until| until + SLACK < started) {
                continue;
            }
            match deed {
                Deed::Kill => suffered.interrupt = true,
                Deed::Stop => {
                    suffered.interrupt = true;
                    suffered.stop = true;
                }
                Deed::Runner(of) => {
                    suffered.interrupt |= of.as_ref().is_none_or(|of| of == conversation);
                }
                Deed::Cli(of) => suffered.die |= of == conversation,
            }
        }
        suffered
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_was_done_while_it_ran_counts_and_only_to_it() {
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
            let Suffered {
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
        let queued = json!({"startedAt": null, "endedAt": second(301)});
        assert_eq!(deeds.during("b", &queued), Suffered::default());
    }
}

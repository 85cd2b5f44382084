//! Reads the token file again when it changes.

use std::io;
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use super::clock::Clock;
use super::source::{TokenSource, read};
use super::token_file;

/// How often the token file is read. With the check that a bridge makes every 5 s, the sessions of
/// a removed token end within 15 s.
pub(crate) const INTERVAL: Duration = Duration::from_secs(1);
/// How many readings in a row must find the file missing or empty before the service refuses every
/// token. A single reading may fall between the two steps of an editor.
const MISSING_READINGS: u32 = 3;

/// The result of one reading of the token file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reading {
    /// Nothing new is in force: the file is as before, or one more reading must confirm its change.
    Same,
    /// A new version is in force. The texts name what changed, for the audit log.
    Changed(Vec<String>),
    /// The file has mistakes; the last good version stays in force.
    Invalid(String),
}

/// The memory of one watcher of a token file between two readings.
#[derive(Debug, Default)]
struct Watcher {
    /// The reading that is in force, or whose mistake was reported; `None` before the first.
    last: Option<Result<Option<String>, String>>,
    /// The result of the last reading, if another one must confirm it.
    candidate: Option<Result<Option<String>, String>>,
    /// The number of readings in a row that found the file missing or empty.
    missing: u32,
}

impl Watcher {
    /// Takes the result of a reading, and puts a new version into force.
    fn take(&mut self, source: &TokenSource, read: io::Result<Option<String>>) -> Reading {
        let read = read.map_err(|error| error.to_string());
        self.missing = match read {
            Ok(None) => self.missing.saturating_add(1),
            _ => 0,
        };
        let waits = read == Ok(None) && self.missing < MISSING_READINGS;
        if waits || self.last.as_ref() == Some(&read) {
            self.candidate = None;
            return Reading::Same;
        }
        // A reading may fall into the middle of a write, so two in a row must agree. Those of a
        // missing file do already.
        let is_confirmed = read == Ok(None) || self.candidate.as_ref() == Some(&read);
        if self.last.is_some() && !is_confirmed {
            self.candidate = Some(read);
            return Reading::Same;
        }
        self.candidate = None;
        let is_first = self.last.is_none();
        self.last = Some(read.clone());
        let tokens = match read {
            Ok(None) => Ok(Vec::new()),
            Ok(Some(text)) => token_file::parse(&text, source.rules()).map_err(|m| m.join("; ")),
            Err(error) => Err(error),
        };
        match tokens {
            Ok(tokens) => {
                let changes = source.replace(tokens);
                if is_first && changes.is_empty() {
                    return Reading::Same;
                }
                Reading::Changed(changes)
            }
            Err(mistake) => Reading::Invalid(mistake),
        }
    }
}

/// Reads the token file every second, and calls `note` with each [`Reading`] but [`Reading::Same`].
/// Ends the streams of expired tokens. Never returns.
pub(super) async fn watch(source: &TokenSource, clock: &Clock, note: impl Fn(Reading)) {
    let mut watcher = Watcher::default();
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let path = source.path().to_owned();
        let Ok(read) = spool::blocking::run(move || read(&path)).await else {
            // The reading panicked; the next one may not.
            continue;
        };
        match watcher.take(source, read) {
            Reading::Same => {}
            news => note(news),
        }
        source.table().revoke_expired(clock.now());
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::path::Path;

    use protocol::SecretHash;

    use super::*;

    const RULES: token_file::Rules = token_file::Rules {
        is_boxed: false,
        allows_several_principals: true,
    };

    fn block(name: &str, role: &str) -> String {
        let hash = SecretHash::of(name.as_bytes());
        format!("[[token]]\nname = {name:?}\nsha256 = \"{hash}\"\nrole = {role:?}\n")
    }

    fn source(dir: &Path, text: &str) -> TokenSource {
        let path = dir.join("tokens.toml");
        std::fs::write(&path, text).unwrap();
        TokenSource::open(&path, RULES).unwrap()
    }

    fn names(source: &TokenSource) -> Vec<String> {
        source.table().names().map(str::to_owned).collect()
    }

    #[test]
    fn a_changed_file_is_in_force_and_a_broken_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let source = source(dir.path(), &block("a", "view"));
        let mut watcher = Watcher::default();
        let mut once = |text: &str| watcher.take(&source, Ok(Some(text.to_owned())));
        assert_eq!(once(&block("a", "view")), Reading::Same);
        assert_eq!(once("[[token]]"), Reading::Same, "the middle of a write");
        let mut take = |text: &str| {
            once(text);
            once(text)
        };
        let both = block("a", "admin") + &block("b", "view");
        let changes = vec!["changed a".to_owned(), "added b".to_owned()];
        assert_eq!(take(&both), Reading::Changed(changes));
        assert_eq!(take(&both), Reading::Same);
        assert!(matches!(take("[[token"), Reading::Invalid(_)));
        assert_eq!(take("[[token"), Reading::Same, "one note for each mistake");
        assert_eq!(names(&source), ["a", "b"]);
        assert_eq!(take(&both), Reading::Changed(Vec::new()), "good again");
    }

    #[test]
    fn nobody_gets_in_when_the_file_stays_away() {
        let dir = tempfile::tempdir().unwrap();
        let source = source(dir.path(), &block("a", "view"));
        let mut watcher = Watcher::default();
        let present = Ok(Some(block("a", "view")));
        assert_eq!(watcher.take(&source, present), Reading::Same);
        for _ in 1..MISSING_READINGS {
            assert_eq!(watcher.take(&source, Ok(None)), Reading::Same);
        }
        assert_eq!(names(&source), ["a"]);
        let gone = Reading::Changed(vec!["removed a".to_owned()]);
        assert_eq!(watcher.take(&source, Ok(None)), gone);
        assert_eq!(names(&source), [""; 0]);
    }

    #[test]
    fn an_unreadable_file_keeps_the_last_good_version() {
        let dir = tempfile::tempdir().unwrap();
        let source = source(dir.path(), &block("a", "view"));
        let mut watcher = Watcher::default();
        let denied = || Err(io::Error::from(ErrorKind::PermissionDenied));
        assert!(matches!(
            watcher.take(&source, denied()),
            Reading::Invalid(_)
        ));
        assert_eq!(names(&source), ["a"]);
    }

    #[test]
    fn devices_missing_and_empty_files_have_no_tokens() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t");
        assert_eq!(read(&path).unwrap(), None);
        std::fs::write(&path, " \n").unwrap();
        assert_eq!(read(&path).unwrap(), None);
        assert_eq!(read(Path::new("/dev/null")).unwrap(), None);
        std::fs::write(&path, vec![b'#'; (1 << 20) + 1]).unwrap();
        assert!(read(&path).is_err());
        let nobody = TokenSource::open(&dir.path().join("missing"), RULES).unwrap();
        assert_eq!(names(&nobody), [""; 0]);
    }
}

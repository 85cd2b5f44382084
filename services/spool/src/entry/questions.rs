//! The questions of an execution on disk.

use std::io::{self, BufRead};

use super::Entry;
use crate::QuestionLine;

impl Entry {
    /// Appends a line about a question, and waits until it is on disk. `line` has no line feed.
    /// Needs free disk space, unlike a status.
    ///
    /// Calls for one execution run one at a time; a deletion waits for them. Blocks the thread.
    ///
    /// # Errors
    /// `InvalidInput` if the questions are longer than `kind` allows, `NotFound` if the execution
    /// was deleted, or the error of the operating system. The line may then survive a power cut or
    /// not.
    pub fn append_question_line(&self, kind: QuestionLine, line: &[u8]) -> io::Result<()> {
        let store = &self.inner.store;
        // A deletion of the execution has either finished before the write, or begins after it.
        let _busy = store.hold(self.id());
        self.ensure_not_deleted()?;
        store.append_question_line(self.id(), kind, line)
    }

    /// Returns a reader of the lines about questions, in the order in which they were written. A
    /// crash may have torn the last one. Empty if the execution has none.
    ///
    /// # Errors
    /// `NotFound` if the execution was deleted, or the error of the operating system.
    pub fn questions(&self) -> io::Result<Box<dyn BufRead>> {
        self.ensure_not_deleted()?;
        self.inner.store.questions(self.id())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use uuid::Uuid;

    use crate::QuestionLine::{Asked, Closed};
    use crate::{Owner, QUESTIONS_BYTES_MAX, Spool, SpoolLimits};

    fn entry(dir: &std::path::Path) -> crate::Entry {
        let limits = SpoolLimits {
            kept_bytes: 1 << 20,
            kept_lines: 0,
            events_bytes: 1 << 20,
            retention: Duration::from_secs(3600),
            retention_bytes: 1 << 40,
        };
        let (spool, _) = Spool::open(dir, limits).unwrap();
        let id = Uuid::from_u128(1);
        spool
            .create(id, b"body", [1; 32], b"{}", Owner::NONE)
            .unwrap()
    }

    fn read(entry: &crate::Entry) -> Vec<u8> {
        let mut bytes = Vec::new();
        entry.questions().unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn lines_about_questions_are_read_in_the_order_of_their_writes() {
        let dir = tempfile::tempdir().unwrap();
        let entry = entry(dir.path());
        assert_eq!(read(&entry), b"");
        entry.append_question_line(Asked, b"{\"asked\":1}").unwrap();
        entry
            .append_question_line(Closed, b"{\"closed\":1}")
            .unwrap();
        assert_eq!(read(&entry), b"{\"asked\":1}\n{\"closed\":1}\n");
    }

    #[test]
    fn questions_beyond_their_limit_are_refused_and_can_still_be_denied() {
        let dir = tempfile::tempdir().unwrap();
        let entry = entry(dir.path());
        let half = vec![b'x'; QUESTIONS_BYTES_MAX as usize / 2 - 10];
        entry.append_question_line(Asked, &half).unwrap();
        let refused = |kind, line: &[u8]| {
            let error = entry.append_question_line(kind, line).unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
        };
        refused(Asked, b"a question");
        let answers = vec![b'x'; QUESTIONS_BYTES_MAX as usize / 2 - (4 << 20)];
        entry.append_question_line(Closed, &answers).unwrap();
        refused(Closed, &[b'x'; 2000]);
        entry.append_question_line(Closed, b"denied").unwrap();
        assert!(read(&entry).ends_with(b"x\ndenied\n"));
    }

    #[test]
    fn a_torn_line_does_not_damage_the_next_one() {
        let dir = tempfile::tempdir().unwrap();
        let entry = entry(dir.path());
        let file = dir
            .path()
            .join(format!("executions/{}/questions", entry.id()));
        std::fs::write(&file, b"{\"ask").unwrap();
        entry.append_question_line(Closed, b"{}").unwrap();
        assert_eq!(read(&entry), b"{\"ask\n{}\n");
    }
}

//! The file with the questions of an execution: one line for each question that was asked and for
//! each that was closed. The caller chooses the content of a line.
//!
//! Most executions ask nothing, and so have no such file. The file is in the execution's folder, so
//! it is removed with the execution. A crash may tear the last line; no line follows it, because an
//! execution does not outlive the service.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek, Write},
    path::{Path, PathBuf},
};

use uuid::Uuid;

use super::Store;
use crate::{
    files::{private, sync_dir},
    folder::QUESTIONS,
};

/// The most bytes that the questions of one execution may have (64 MiB).
pub const QUESTIONS_BYTES_MAX: u64 = 64 << 20;

/// What a line in the questions of an execution says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuestionLine {
    /// A question was asked. Refused beyond half of [`QUESTIONS_BYTES_MAX`], so that there is room
    /// for the answers.
    Asked,
    /// A question was closed. The last 4 MiB are for short lines, so that a question can always be
    /// denied.
    Closed,
}

impl QuestionLine {
    /// Returns the most bytes that the file may have after a line of this length.
    const fn limit(self, length: u64) -> u64 {
        match self {
            Self::Asked => QUESTIONS_BYTES_MAX / 2,
            Self::Closed if length > SHORT_LINE_BYTES => QUESTIONS_BYTES_MAX - (4 << 20),
            Self::Closed => QUESTIONS_BYTES_MAX,
        }
    }
}

/// The length of a short line: an answer that only allows or denies. 4 MiB have room for 10,000
/// with the usual length of 300 bytes.
const SHORT_LINE_BYTES: u64 = 1024;

impl Store {
    /// Appends one line to the questions of an execution, and waits until it is on disk. `line` has
    /// no line feed.
    ///
    /// # Errors
    /// `InvalidInput` if the file would be longer than `kind` allows, or the error of the operating
    /// system. The line may then be there or not.
    pub(crate) fn append_question_line(
        &self,
        id: Uuid,
        kind: QuestionLine,
        line: &[u8],
    ) -> io::Result<()> {
        let path = self.questions_path(id);
        let is_new = !path.exists();
        let mut file = private().create(true).append(true).open(&path)?;
        let before = file.metadata()?.len();
        let length = line.len() as u64;
        if before + length >= kind.limit(length) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the questions and answers of one execution are longer than 64 MiB",
            ));
        }
        // A line that a failed write has torn, and that could not be cut off, ends here.
        let is_torn = before > 0 && !ends_with_line_feed(&path)?;
        let mut whole = if is_torn { vec![b'\n'] } else { Vec::new() };
        whole.extend_from_slice(line);
        whole.push(b'\n');
        let written = file.write_all(&whole).and_then(|()| file.sync_data());
        if written.is_err() {
            // A torn line would damage the next one.
            let _ = file.set_len(before);
        }
        written?;
        if is_new {
            sync_dir(&self.folder(id))
        } else {
            Ok(())
        }
    }

    /// Opens the questions of an execution. Empty if it has none, does not exist or was deleted.
    ///
    /// # Errors
    /// The error of the operating system.
    pub(crate) fn questions(&self, id: Uuid) -> io::Result<Box<dyn BufRead>> {
        match File::open(self.questions_path(id)) {
            Ok(file) => Ok(Box::new(BufReader::new(file.take(QUESTIONS_BYTES_MAX)))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Box::new(io::empty())),
            Err(error) => Err(error),
        }
    }

    fn questions_path(&self, id: Uuid) -> PathBuf {
        self.folder(id).join(QUESTIONS)
    }
}

/// Returns whether the last byte of a file is a line feed.
fn ends_with_line_feed(path: &Path) -> io::Result<bool> {
    let mut file = File::open(path)?;
    file.seek(io::SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

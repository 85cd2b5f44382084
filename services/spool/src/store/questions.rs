//! The file with the questions of an execution: one line for each question that was asked and for
//! each that was closed. The caller chooses the content of a line.
//!
//! Most executions ask nothing, and so have no such file. The file is in the execution's folder, so
//! it is removed with the execution. A crash may tear the last line; no line follows it, because an
//! execution does not outlive the service.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Write},
    path::PathBuf,
};

use uuid::Uuid;

use super::Store;
use crate::{
    files::{private, sync_dir},
    folder::QUESTIONS,
};

/// The most bytes that the questions of one execution may have (64 MiB).
pub const QUESTIONS_BYTES_MAX: u64 = 64 << 20;

impl Store {
    /// Appends one line to the questions of an execution, and waits until it is on disk. `line` has
    /// no line feed.
    ///
    /// # Errors
    /// `InvalidInput` if the file would be longer than [`QUESTIONS_BYTES_MAX`], or the error of the
    /// operating system. The line may then be there or not.
    pub(crate) fn append_question_line(&self, id: Uuid, line: &[u8]) -> io::Result<()> {
        let path = self.questions_path(id);
        let is_new = !path.exists();
        let mut file = private().create(true).append(true).open(&path)?;
        let before = file.metadata()?.len();
        if before + line.len() as u64 >= QUESTIONS_BYTES_MAX {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the questions of one execution are longer than 64 MiB",
            ));
        }
        let mut whole = line.to_vec();
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

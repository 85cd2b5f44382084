//! The place where a new secret is written: a token, or a secret for webhooks.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{FileType, fstat};

use crate::failure::Failure;

/// The mode of a new file with a secret: only its owner reads and writes it.
const MODE: u32 = 0o600;

/// The place where a new secret is written.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Output<'a> {
    /// stdout, which is a terminal or a pipe.
    Stdout,
    /// A new file.
    File(&'a Path),
}

/// A written secret. Its file is deleted again unless [`Self::keep`] is called.
pub(crate) struct Written<'a> {
    path: Option<&'a Path>,
    keep: bool,
}

impl<'a> Output<'a> {
    /// Chooses the place from the value of `--out`. stdout is accepted if it is a terminal, or if
    /// it is a pipe and `--out -` says so. A file or a log is refused, because others may be able
    /// to read it. `what` is the kind of the secret, for messages.
    ///
    /// # Errors
    /// stdout is not accepted. The text says what to do.
    pub(crate) fn choose(out: Option<&'a Path>, what: &str) -> Result<Self, String> {
        let stdout = io::stdout();
        let is_pipe = || {
            let kind = fstat(stdout.as_fd()).map(|stat| FileType::from_raw_mode(stat.st_mode));
            matches!(kind, Ok(FileType::Fifo | FileType::Socket))
        };
        match out {
            Some(path) if path.as_os_str() != "-" => Ok(Self::File(path)),
            _ if stdout.is_terminal() => Ok(Self::Stdout),
            Some(_) if is_pipe() => Ok(Self::Stdout),
            Some(_) => Err(format!(
                "--out - writes the {what} to a pipe, and stdout is none; write it to a new file \
                 of mode 600 with --out FILE"
            )),
            None => Err(format!(
                "stdout is not a terminal, so the {what} could end in a log; write it to a new \
                 file with --out FILE, or to a pipe with --out -"
            )),
        }
    }

    pub(crate) fn is_file(&self) -> bool {
        matches!(self, Self::File(_))
    }

    /// Writes the secret and a newline. `what` is its kind, for messages.
    ///
    /// # Errors
    /// The file exists, or the secret cannot be written.
    pub(crate) fn write(self, what: &str, secret: &str) -> Result<Written<'a>, Failure> {
        let line = format!("{secret}\n");
        match self {
            Self::Stdout => {
                let mut stdout = io::stdout();
                let result = stdout.write_all(line.as_bytes());
                result.and_then(|()| stdout.flush()).map_err(|error| {
                    Failure::system(format!("could not write the {what} to stdout: {error}"))
                })?;
                Ok(Written {
                    path: None,
                    keep: true,
                })
            }
            Self::File(path) => write_file(path, what, &line),
        }
    }
}

fn write_file<'a>(path: &'a Path, what: &str, line: &str) -> Result<Written<'a>, Failure> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::AlreadyExists => Failure::usage(format!(
            "{} exists already; give --out a new file, or delete this one first",
            path.display()
        )),
        _ => Failure::system(format!(
            "could not write the {what} to {}: {error}",
            path.display()
        )),
    };
    let mut options = OpenOptions::new();
    let mut file: File = options
        .write(true)
        .create_new(true)
        .mode(MODE)
        .open(path)
        .map_err(failed)?;
    let written = Written {
        path: Some(path),
        keep: false,
    };
    let result = file.write_all(line.as_bytes());
    result.and_then(|()| file.sync_all()).map_err(failed)?;
    Ok(written)
}

impl<'a> Written<'a> {
    /// Keeps the secret, and returns the path of its file if it has one.
    pub(crate) fn keep(mut self) -> Option<&'a Path> {
        self.keep = true;
        self.path
    }
}

impl Drop for Written<'_> {
    fn drop(&mut self) {
        if let (Some(path), false) = (self.path, self.keep) {
            let _ = std::fs::remove_file(path);
        }
    }
}

//! The place where a new token is written.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use protocol::Token;
use rustix::fs::{FileType, fstat};

use super::failure::Failure;

/// The mode of a new file with a token: only its owner reads and writes it.
const MODE: u32 = 0o600;

/// The place where a new token is written.
#[derive(Debug, Clone, Copy)]
pub(super) enum Output<'a> {
    /// stdout, which is a terminal or a pipe.
    Stdout,
    /// A new file.
    File(&'a Path),
}

/// A written token. Its file is deleted again unless [`Self::keep`] is called.
pub(super) struct Written<'a> {
    path: Option<&'a Path>,
    keep: bool,
}

impl<'a> Output<'a> {
    /// Chooses the place from the value of `--out`. stdout is accepted if it is a terminal, or if
    /// it is a pipe and `--out -` says so. A file or a log is refused, because others may be able
    /// to read it.
    ///
    /// # Errors
    /// stdout is not accepted. The text says what to do.
    pub(super) fn choose(out: Option<&'a Path>) -> Result<Self, String> {
        let stdout = io::stdout();
        let is_pipe = || {
            let kind = fstat(stdout.as_fd()).map(|stat| FileType::from_raw_mode(stat.st_mode));
            matches!(kind, Ok(FileType::Fifo | FileType::Socket))
        };
        match out {
            Some(path) if path.as_os_str() != "-" => Ok(Self::File(path)),
            _ if stdout.is_terminal() => Ok(Self::Stdout),
            Some(_) if is_pipe() => Ok(Self::Stdout),
            Some(_) => Err(
                "--out - writes the token to a pipe, and stdout is none; write it to a \
                            new file of mode 600 with --out FILE"
                    .to_owned(),
            ),
            None => Err(
                "stdout is not a terminal, so the token could end in a log; write it to a new \
                 file with --out FILE, or to a pipe with --out -"
                    .to_owned(),
            ),
        }
    }

    pub(super) fn is_file(&self) -> bool {
        matches!(self, Self::File(_))
    }

    /// Writes the token and a newline.
    ///
    /// # Errors
    /// The file exists, or the token cannot be written.
    pub(super) fn write(self, token: &Token) -> Result<Written<'a>, Failure> {
        let line = format!("{}\n", token.secret().expose());
        match self {
            Self::Stdout => {
                let mut stdout = io::stdout();
                let result = stdout.write_all(line.as_bytes());
                result.and_then(|()| stdout.flush()).map_err(|error| {
                    Failure::system(format!("could not write the token to stdout: {error}"))
                })?;
                Ok(Written {
                    path: None,
                    keep: true,
                })
            }
            Self::File(path) => write_file(path, &line),
        }
    }
}

fn write_file<'a>(path: &'a Path, line: &str) -> Result<Written<'a>, Failure> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::AlreadyExists => Failure::usage(format!(
            "{} exists already; give --out a new file, or delete this one first",
            path.display()
        )),
        _ => Failure::system(format!(
            "could not write the token to {}: {error}",
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
    /// Keeps the token, and returns the path of its file if it has one.
    pub(super) fn keep(mut self) -> Option<&'a Path> {
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

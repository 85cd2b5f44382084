//! The folder of one execution on disk, with its three files: `record` (request body and statuses),
//! `output`, and `events` (the exact stdout of the CLI). Two more exist after their first use:
//! `shares` (see `store::shares`) and `questions` (see `store::questions`).

use std::{
    fs::File,
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use crate::{
    files::private,
    record::{Header, if_intact, read_body},
    slots::Slots,
};

/// The name of the file with the output that clients read.
pub(crate) const OUTPUT: &str = "output";
/// The name of the file with the exact stdout of the CLI, or with the patches that rebuild it.
pub(crate) const EVENTS: &str = "events";
/// The name of the file with the questions of the execution, see `store::questions`.
pub(crate) const QUESTIONS: &str = "questions";

/// Returns the path of the record in an execution's folder. The record is the file with the request
/// body, the statuses and the checkpoints.
pub(crate) fn record_path(folder: &Path) -> PathBuf {
    folder.join("record")
}

/// Creates the empty output and events files of a new execution in `folder`. Fails if one exists.
pub(crate) fn create_track_files(folder: &Path) -> io::Result<()> {
    for name in [OUTPUT, EVENTS] {
        private()
            .write(true)
            .create_new(true)
            .open(folder.join(name))?;
    }
    Ok(())
}

/// Creates the output and events files of a damaged execution in `folder` if they are missing.
/// Existing files stay unchanged.
pub(crate) fn restore_track_files(folder: &Path) -> io::Result<()> {
    for name in [OUTPUT, EVENTS] {
        private()
            .create(true)
            .append(true)
            .open(folder.join(name))?;
    }
    Ok(())
}

/// Whether the execution in `folder` was accepted completely, so that it must be kept after a power
/// cut. True if a second status was written, which happens only after the acceptance, or if header,
/// status, body and all three files are intact. False if it has no record file. `store::acceptance`
/// explains the rule.
///
/// # Errors
/// The error of the operating system if the disk cannot be read.
pub(crate) fn is_whole(folder: &Path) -> io::Result<bool> {
    let file = match File::open(record_path(folder)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let slots = match if_intact(Slots::load(&file))? {
        Some(slots) if slots.newest_number() > 1 => return Ok(true),
        slots => slots,
    };
    let body = match if_intact(Header::read(&file))? {
        Some(header) => if_intact(read_body(&file, &header))?,
        None => None,
    };
    let has_track_files = folder.join(OUTPUT).exists() && folder.join(EVENTS).exists();
    Ok(slots.is_some() && body.is_some() && has_track_files)
}

/// Returns the disk space that the record, output, events and questions of an execution use, in
/// bytes. Freed
/// ranges do not count, and a missing file counts as 0. Shares are too small to count.
pub(crate) fn disk_bytes(folder: &Path) -> u64 {
    [
        record_path(folder),
        folder.join(OUTPUT),
        folder.join(EVENTS),
        folder.join(QUESTIONS),
    ]
    .iter()
    .filter_map(|path| path.metadata().ok())
    .map(|file| file.blocks() * 512)
    .sum()
}

//! The folder of an execution: its record, its output and its events.

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

/// The name of the output's file.
pub(crate) const OUTPUT: &str = "output";
/// The name of the events' file.
pub(crate) const EVENTS: &str = "events";

/// Returns the path of the record in a folder.
pub(crate) fn record_path(folder: &Path) -> PathBuf {
    folder.join("record")
}

/// Creates the output and events files of a new execution.
pub(crate) fn create_track_files(folder: &Path) -> io::Result<()> {
    for name in [OUTPUT, EVENTS] {
        private()
            .write(true)
            .create_new(true)
            .open(folder.join(name))?;
    }
    Ok(())
}

/// Creates a missing output or events file of an existing execution.
pub(crate) fn restore_track_files(folder: &Path) -> io::Result<()> {
    for name in [OUTPUT, EVENTS] {
        private()
            .create(true)
            .append(true)
            .open(folder.join(name))?;
    }
    Ok(())
}

/// Whether the acceptance of the entry in `folder` was promised, or wrote everything: see
/// `store::acceptance`. A second status is written only after the promise, so an entry that has one
/// is never treated as an unfinished acceptance.
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

/// Returns the size of an execution's files on disk, in bytes.
pub(crate) fn disk_bytes(folder: &Path) -> u64 {
    [
        record_path(folder),
        folder.join(OUTPUT),
        folder.join(EVENTS),
    ]
    .iter()
    .filter_map(|path| path.metadata().ok())
    .map(|file| file.blocks() * 512)
    .sum()
}

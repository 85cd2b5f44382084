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

/// The output's file.
pub(crate) const OUTPUT: &str = "output";
/// The events' file.
pub(crate) const EVENTS: &str = "events";

/// The path of the record in a folder.
pub(crate) fn record_path(folder: &Path) -> PathBuf {
    folder.join("record")
}

/// Creates the files beside the record of a new execution.
pub(crate) fn create_names(folder: &Path) -> io::Result<()> {
    for name in [OUTPUT, EVENTS] {
        private()
            .write(true)
            .create_new(true)
            .open(folder.join(name))?;
    }
    Ok(())
}

/// Creates missing files beside a record.
pub(crate) fn restore_names(folder: &Path) -> io::Result<()> {
    for name in [OUTPUT, EVENTS] {
        private()
            .create(true)
            .append(true)
            .open(folder.join(name))?;
    }
    Ok(())
}

/// Whether the entry in `folder` has everything that an acceptance writes, or was promised once:
/// see `store::acceptance`. Only the owner of a promised entry writes a second status, so an entry
/// with one is never taken for the rest of an acceptance after a power cut.
pub(crate) fn is_whole(folder: &Path) -> io::Result<bool> {
    let file = match File::open(record_path(folder)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let slots = match if_intact(Slots::load(&file))? {
        Some(slots) if slots.newest_number() > 1 => return Ok(true),
        found => found,
    };
    let body = match if_intact(Header::read(&file))? {
        Some(header) => if_intact(read_body(&file, &header))?,
        None => None,
    };
    let names = folder.join(OUTPUT).exists() && folder.join(EVENTS).exists();
    Ok(slots.is_some() && body.is_some() && names)
}

/// Returns the room that the files in a folder take on disk, in bytes.
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

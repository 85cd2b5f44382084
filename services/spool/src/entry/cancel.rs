//! Notes in an execution's record file that the execution is to be cancelled, by a client or after
//! a time without a viewer. A note is on disk before the terminal status that the cancel causes, so
//! a restart of the service still carries out the cancel.
//!
//! Each note has its own sector in the record file. Only the task that drives the execution writes
//! statuses, and accepting a cancel must not wait for that task. The sectors are written at
//! acceptance, so a note can be written on a full disk.

use std::{io, os::unix::fs::FileExt};

use uuid::Uuid;

use super::Entry;
use crate::{
    files::u64_at,
    layout::{CANCEL_AT, UNVIEWED_AT},
};

/// The first bytes of the note of a client's cancel.
const MAGIC: [u8; 8] = *b"cccancel";
/// The length of the note of a client's cancel, in bytes: the magic (8) and the id (16).
const NOTE_BYTES: usize = 24;

/// The first bytes of the note of a cancel after a time without a viewer.
const UNVIEWED_MAGIC: [u8; 8] = *b"ccunview";
/// The length of the note of a cancel after a time without a viewer, in bytes: the magic (8), the
/// id (16), and the milliseconds (8).
const UNVIEWED_BYTES: usize = 32;

/// Returns the bytes that record a client's cancel on disk: a magic and the execution's id. The
/// sector otherwise holds zeros, so a note that a power cut tore is not recognised and does not
/// count.
fn note(id: Uuid) -> [u8; NOTE_BYTES] {
    let mut bytes = [0; NOTE_BYTES];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..].copy_from_slice(id.as_bytes());
    bytes
}

impl Entry {
    /// Records on disk that a client's cancel of this execution was accepted, so that a restart of
    /// the service still carries it out. The note survives a power cut once this returns. Repeating
    /// the call changes nothing.
    ///
    /// # Errors
    /// `NotFound` if the execution was deleted, or the error of the operating system.
    pub fn note_cancel(&self) -> io::Result<()> {
        self.ensure_not_deleted()?;
        let record = &self.inner.record;
        record.write_all_at(&note(self.id()), CANCEL_AT)?;
        record.sync_data()
    }

    /// Whether [`Entry::note_cancel`] recorded a client's cancel of this execution. False for a
    /// note that a power cut tore, because its cancel was not confirmed.
    ///
    /// # Errors
    /// `NotFound` if the execution was deleted, or the error of the operating system.
    pub fn is_cancel_noted(&self) -> io::Result<bool> {
        self.ensure_not_deleted()?;
        let mut bytes = [0; NOTE_BYTES];
        self.inner.record.read_exact_at(&mut bytes, CANCEL_AT)?;
        Ok(bytes == note(self.id()))
    }

    /// Records on disk that the execution is to be cancelled after `after_ms` milliseconds without
    /// a viewer (a client that follows its output or status). `None` removes the note. The change
    /// survives a power cut once this returns.
    ///
    /// # Errors
    /// `NotFound` if the execution was deleted, or the error of the operating system.
    pub fn set_unviewed_cancel(&self, after_ms: Option<u64>) -> io::Result<()> {
        self.ensure_not_deleted()?;
        let mut bytes = [0; UNVIEWED_BYTES];
        if let Some(ms) = after_ms {
            bytes[..8].copy_from_slice(&UNVIEWED_MAGIC);
            bytes[8..24].copy_from_slice(self.id().as_bytes());
            bytes[24..].copy_from_slice(&ms.to_le_bytes());
        }
        let record = &self.inner.record;
        record.write_all_at(&bytes, UNVIEWED_AT)?;
        record.sync_data()
    }

    /// Returns the time in milliseconds without a viewer after which the execution is to be
    /// cancelled. `None` if no such cancel is set.
    ///
    /// # Errors
    /// `NotFound` if the execution was deleted, or the error of the operating system.
    pub fn unviewed_cancel(&self) -> io::Result<Option<u64>> {
        self.ensure_not_deleted()?;
        let mut bytes = [0; UNVIEWED_BYTES];
        self.inner.record.read_exact_at(&mut bytes, UNVIEWED_AT)?;
        let noted = bytes[..8] == UNVIEWED_MAGIC && bytes[8..24] == *self.id().as_bytes();
        Ok(noted.then(|| u64_at(&bytes, 24)))
    }
}

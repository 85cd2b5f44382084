//! The layout of an entry's `record` file. Acceptance writes the whole file, so later writes in it
//! need no new blocks.
//!
//! ```text
//! 0       header: magic, id, sequence, digest, length and crc of the body
//! 512     marks of the output, two slots of a sector, written in turn
//! 1536    marks of the events, the same
//! 2560    the note of a client's cancel, or zeros
//! 3072    the note of a cancel after a time without a viewer, or zeros
//! 4096    three status slots of 72 KiB
//! 225280  the body
//! ```

/// The length of the header.
pub(crate) const HEADER_BYTES: usize = 512;
/// The length of a mark's slot. Each mark has its own sector, because a sector is written whole or
/// not at all.
pub(crate) const MARK_BYTES: u64 = 512;
/// The offset of the output's two marks.
pub(crate) const OUTPUT_MARKS_AT: u64 = MARK_BYTES;
/// The offset of the events' two marks.
pub(crate) const EVENTS_MARKS_AT: u64 = 3 * MARK_BYTES;
/// The offset of the note of a client's cancel, in its own sector.
pub(crate) const CANCEL_AT: u64 = 5 * MARK_BYTES;
/// The offset of the note of a cancel after a time without a viewer, in its own sector.
pub(crate) const UNVIEWED_AT: u64 = 6 * MARK_BYTES;
/// The offset of the status slots. A tombstone keeps the part of the file before them.
pub(crate) const SLOTS_AT: u64 = 4096;
/// The number of status slots.
pub(crate) const SLOTS: usize = 3;
/// The length of a status slot.
pub(crate) const SLOT_BYTES: usize = 72 * 1024;
/// The offset of the body.
pub(crate) const BODY_AT: u64 = SLOTS_AT + (SLOTS * SLOT_BYTES) as u64;

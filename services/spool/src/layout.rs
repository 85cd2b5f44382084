//! The layout of an entry's `record` file. Acceptance writes it whole, so that nothing in it needs
//! a new block later.
//!
//! ```text
//! 0       header: magic, id, sequence, digest, length and crc of the body
//! 512     marks of the output, two slots of a sector, written in turn
//! 1536    marks of the events, the same
//! 2560    that a client's cancel was accepted, or zeros
//! 3072    the note of a cancel for when nobody views the execution, or zeros
//! 4096    three status slots of 72 KiB
//! 225280  the body
//! ```

/// The header's length.
pub(crate) const HEADER_BYTES: usize = 512;
/// The length of a mark's slot. A mark has a sector of its own: a sector is written whole or not at
/// all.
pub(crate) const MARK_BYTES: u64 = 512;
/// The first of the two marks of the output.
pub(crate) const OUTPUT_MARKS_AT: u64 = MARK_BYTES;
/// The first of the two marks of the events.
pub(crate) const EVENTS_MARKS_AT: u64 = 3 * MARK_BYTES;
/// The note of a client's cancel, in a sector of its own.
pub(crate) const CANCEL_AT: u64 = 5 * MARK_BYTES;
/// The note of a cancel for when nobody views the execution, in a sector of its own.
pub(crate) const UNVIEWED_AT: u64 = 6 * MARK_BYTES;
/// The status slots; a tombstone keeps the part of the file before them.
pub(crate) const SLOTS_AT: u64 = 4096;
/// The number of status slots.
pub(crate) const SLOTS: usize = 3;
/// The length of a status slot.
pub(crate) const SLOT_BYTES: usize = 72 * 1024;
/// The body.
pub(crate) const BODY_AT: u64 = SLOTS_AT + (SLOTS * SLOT_BYTES) as u64;

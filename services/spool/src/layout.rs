//! The layout of an execution's `record` file: which data is stored at which offset. Acceptance
//! writes the whole file, so later writes into it need no new disk blocks and work on a full disk.
//!
//! ```text
//! 0       header: magic, id, sequence, digest, length and crc of the body, owner
//! 512     marks of the output, two slots of a sector, written in turn
//! 1536    marks of the events, the same
//! 2560    the note of a client's cancel, or zeros
//! 3072    the note of a cancel after a time without a viewer, or zeros
//! 4096    three status slots of 72 KiB
//! 225280  the body
//! ```

/// The length of the header in a record file, in bytes (one disk sector). The header holds the
/// facts that never change: id, sequence number, digest, length and checksum of the body, owner.
pub(crate) const HEADER_BYTES: usize = 512;
/// The space in a record file for one checkpoint of how much output is stored, in bytes. Each
/// checkpoint has a sector of its own, because a disk writes a sector completely or not at all.
pub(crate) const MARK_BYTES: u64 = 512;
/// The offset in a record file of the two checkpoints of the output. They are written in turn, so a
/// torn write leaves the previous one.
pub(crate) const OUTPUT_MARKS_AT: u64 = MARK_BYTES;
/// The offset in a record file of the two checkpoints of the raw events. They are written in turn,
/// so a torn write leaves the previous one.
pub(crate) const EVENTS_MARKS_AT: u64 = 3 * MARK_BYTES;
/// The offset in a record file of the note that a client cancelled the execution. The note has a
/// sector of its own, so writing it cannot damage a status.
pub(crate) const CANCEL_AT: u64 = 5 * MARK_BYTES;
/// The offset in a record file of the note that the execution is cancelled after some time without
/// a client that follows it. The note has a sector of its own.
pub(crate) const UNVIEWED_AT: u64 = 6 * MARK_BYTES;
/// The offset in a record file of the first status slot. A deletion truncates the file to this
/// length, so that only the header and the notes stay as the memory of the deleted execution.
pub(crate) const SLOTS_AT: u64 = 4096;
/// The number of places for a status in a record file. Statuses are written to them in turn, so a
/// torn write leaves the previous status; see `slots` for why there are three.
pub(crate) const SLOTS: usize = 3;
/// The length of one status slot in a record file, in bytes (72 KiB, with a head of 32 bytes).
pub(crate) const SLOT_BYTES: usize = 72 * 1024;
/// The offset in a record file of the request body (the client's prompt and settings). It is the
/// last part, because its length varies.
pub(crate) const BODY_AT: u64 = SLOTS_AT + (SLOTS * SLOT_BYTES) as u64;

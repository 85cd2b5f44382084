//! The layout of an execution's `record` file: what is stored at which offset. Acceptance writes
//! the whole file, so later writes in it need no new disk blocks and work on a full disk.
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

/// The length of the header (the facts of an execution that never change), in bytes.
pub(crate) const HEADER_BYTES: usize = 512;
/// The length of the place for one mark (a checkpoint of a file's extent), in bytes. Each mark has
/// its own sector, because a disk writes a sector whole or not at all.
pub(crate) const MARK_BYTES: u64 = 512;
/// The offset of the two marks (checkpoints) of the output, which are written in turn.
pub(crate) const OUTPUT_MARKS_AT: u64 = MARK_BYTES;
/// The offset of the two marks (checkpoints) of the events, which are written in turn.
pub(crate) const EVENTS_MARKS_AT: u64 = 3 * MARK_BYTES;
/// The offset of the note that a client cancelled the execution, in its own sector.
pub(crate) const CANCEL_AT: u64 = 5 * MARK_BYTES;
/// The offset of the note that the execution is to be cancelled after a time without a viewer, in
/// its own sector.
pub(crate) const UNVIEWED_AT: u64 = 6 * MARK_BYTES;
/// The offset of the status slots. A tombstone, which remembers a deleted execution, keeps only the
/// part of the file before them.
pub(crate) const SLOTS_AT: u64 = 4096;
/// The number of status slots, which are written in turn so that a torn write leaves the previous
/// status.
pub(crate) const SLOTS: usize = 3;
/// The length of one status slot, in bytes (72 KiB).
pub(crate) const SLOT_BYTES: usize = 72 * 1024;
/// The offset of the body (the client's prompt and settings), the last part of the file.
pub(crate) const BODY_AT: u64 = SLOTS_AT + (SLOTS * SLOT_BYTES) as u64;

//! Stores executions on disk, so that they survive a crash or a restart of the service. For each
//! execution, this is the accepted request body, the status, the output, and the raw events (the
//! exact stdout of the CLI). The ids of deleted executions (tombstones) and of executions cancelled
//! before their acceptance ("burned") are stored too. The whole store is called the spool.
//!
//! Layers, from the top down: `spool` (all executions), `writer` (appends output), `entry` (one
//! execution), `store` (the folder, the index and the locks).
//!
//! The layout under the spool's folder:
//!
//! ```text
//! lock                   flock: one process only
//! probe                  one block, rewritten to test whether the disk is writable
//! index                  64 bytes per acceptance, in order; repaired at the start
//! staging/{id}           an entry being created or removed; emptied at the start.
//!                        `{id}.shares` and `{id}.tombstone` are such files before a rename
//! executions/{id}/record header, marks, three status slots, the body (see `layout`)
//! executions/{id}/output the output, addressed by offset; its oldest bytes may be freed (a hole)
//! executions/{id}/events raw stdout, or patches that rebuild stdout from the output
//! executions/{id}/shares the shares of the execution; missing until the first share
//! tombstones/{id}        the header of a deleted entry's record
//! burned/{id}.{owner}    an empty file: the id was cancelled before acceptance; refused to this
//!                        owner for 1 hour. Without an owner, the name is the id alone
//! ```
//!
//! Folders have mode 0700 and files 0600, whatever the umask. The start of the service narrows the
//! modes of an existing spool.
//!
//! An execution exists when its folder is in `executions`. One rename moves the complete folder
//! there. Once the rename is on disk, the acceptance is confirmed to the client and survives a
//! power cut (`store::acceptance` explains why). Deletion is one rename too: the record moves to
//! `tombstones`. It needs no free space, so it works on a full disk.
//!
//! Functions that are not `async` block on the disk, so call them on a thread that may block.
//! Accepting an execution and writing a durable status wait for fsync(2). Memory grows neither with
//! the number of past executions nor with the size of their output.

mod appender;
pub mod blocking;
mod digest;
mod entry;
mod error;
mod events;
mod files;
mod folder;
mod index;
mod layout;
mod limits;
mod lines;
mod marks;
mod open_table;
mod owner;
mod patches;
mod reader;
mod record;
mod slots;
mod spool;
mod store;
mod track;
mod writer;

pub use digest::sha256;
pub use entry::Entry;
pub use error::{ReadError, SpoolError};
pub use events::{EventsExtent, EventsReader, EventsStorage};
pub use files::{last_change, private_dir, write_private};
pub use limits::SpoolLimits;
pub use marks::Marks;
pub use owner::Owner;
pub use reader::Reader;
pub use slots::STATUS_BYTES_MAX;
pub use spool::{Page, Spool};
pub use store::{QUESTIONS_BYTES_MAX, QuestionLine, SHARES_BYTES_MAX, Tombstone};
pub use track::Appended;
pub use writer::Writer;

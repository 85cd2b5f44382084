//! The events of a run.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use protocol::Status;
use protocol::message::{Notice, StatusUpdate};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::{Error, Verdict};

/// One event of a run. The order is that of docs/protocol.md, "Order": the answer, then statuses,
/// notices, output and gaps, then the terminal status.
#[derive(Debug, Clone)]
pub enum Event {
    /// A message of the bridge as its text, before the event that it causes; only with
    /// [`crate::Options::raw`].
    Message(Utf8Bytes),
    /// The execution is durably accepted, or exists already. A run yields this event once, however
    /// often the client reconnects.
    Answer(Box<Status>),
    /// A status that is not terminal: a change, or a heartbeat.
    Status(Box<StatusUpdate>),
    /// The next bytes of the output. Each byte is delivered once.
    Output {
        /// The offset of the first byte.
        offset: u64,
        /// At least one.
        bytes: Bytes,
    },
    /// The offsets of output that the run does not get.
    Gap(Range<u64>),
    /// A notice, which changes no state: docs/protocol.md, "Notices".
    Notice(Box<Notice>),
    /// The connection was lost, or an attempt to reconnect failed. Several follow each other until
    /// [`Event::Back`].
    Lost {
        /// What happened.
        why: String,
        /// The pause before the next attempt.
        retry_in: Duration,
    },
    /// The client has reconnected, and the view continues at the offset reached.
    Back,
    /// The execution has ended. No event follows.
    Terminal {
        /// The terminal status.
        update: Box<StatusUpdate>,
        /// The evidence that the whole output was received.
        verdict: Verdict,
    },
}

pub(crate) type Item = Result<Event, Error>;

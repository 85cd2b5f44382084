//! The events of a run.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use protocol::Status;
use protocol::message::{Notice, StatusUpdate};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::{Error, Verdict};

/// One event of a run. The order is that of docs/protocol.md, "Order": first the answer, then
/// statuses, notices, output and gaps, last the terminal status.
#[derive(Debug, Clone)]
pub enum Event {
    /// The text of a message of the bridge, before the event that the message causes; only with
    /// [`crate::Options::raw`].
    Message(Utf8Bytes),
    /// The execution is durably accepted, or exists already. A run yields this event once, however
    /// often the client reconnects.
    Answer(Box<Status>),
    /// A status that is not terminal: a change, or a heartbeat.
    Status(Box<StatusUpdate>),
    /// The next bytes of the output. A run delivers each byte once.
    Output {
        /// The offset of the first byte.
        offset: u64,
        /// The bytes; at least one.
        bytes: Bytes,
    },
    /// The offsets of output bytes that the run does not deliver.
    Gap(Range<u64>),
    /// A notice, which changes no state: docs/protocol.md, "Notices".
    Notice(Box<Notice>),
    /// The connection was lost, or an attempt to reconnect failed. The event is repeated for each
    /// attempt until [`Event::Reconnected`].
    Disconnected {
        /// The reason.
        reason: String,
        /// The delay before the next attempt.
        retry_in: Duration,
    },
    /// The client has reconnected, and the view resumes at its offset.
    Reconnected,
    /// The execution has ended. No event follows.
    Terminal {
        /// The terminal status.
        update: Box<StatusUpdate>,
        /// The evidence that the whole output was received.
        verdict: Verdict,
    },
}

/// An item of a run's channel.
pub(crate) type Item = Result<Event, Error>;

//! The events that a [`Run`](crate::Run) yields.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use protocol::Status;
use protocol::message::{Notice, StatusUpdate};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::{Error, Verdict};

/// One event of a [`Run`](crate::Run). The first is [`Event::Answer`] and the last
/// [`Event::Terminal`]. Statuses, notices, output and gaps are in between (docs/protocol.md,
/// "Order").
#[derive(Debug, Clone)]
pub enum Event {
    /// The JSON text of a message of the bridge, before the event that this message causes. Only
    /// with [`crate::Options::raw`].
    Message(Utf8Bytes),
    /// The execution is accepted and on disk, or existed already. A run yields this event once,
    /// even if the client reconnects.
    Answer(Box<Status>),
    /// The execution has not ended; its status has changed, or is repeated as a heartbeat.
    Status(Box<StatusUpdate>),
    /// The next bytes of the output. A run yields each byte once, in order.
    Output {
        /// The offset of the first byte in the output.
        offset: u64,
        /// The output bytes; at least one.
        bytes: Bytes,
    },
    /// A range of offsets whose output bytes the run will not yield, because they are no longer
    /// kept or were skipped.
    Gap(Range<u64>),
    /// An incident for people and programs, such as a retry of the model's API. It changes no
    /// state: docs/protocol.md, "Notices".
    Notice(Box<Notice>),
    /// The connection is lost, and the client will try to reconnect. The event is repeated for each
    /// attempt until [`Event::Reconnected`].
    Disconnected {
        /// The reason of the loss, or of the last failed attempt, for people.
        reason: String,
        /// The delay before the next attempt to connect.
        retry_in: Duration,
    },
    /// The client has reconnected, and the output continues at the byte that the run had reached.
    Reconnected,
    /// The execution has ended. This is the last event.
    Terminal {
        /// The final status of the execution.
        update: Box<StatusUpdate>,
        /// Whether the whole output was received.
        verdict: Verdict,
    },
}

/// What the task of a client sends to a run: its next event, or the error that ends it.
pub(crate) type Item = Result<Event, Error>;

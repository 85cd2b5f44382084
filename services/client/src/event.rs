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
    /// The execution is durably accepted (or exists already). Once, whatever is lost and repeated.
    Answer(Box<Status>),
    /// A status that is not terminal: a change, or a heartbeat.
    Status(Box<StatusUpdate>),
    /// The next bytes of the output; none comes twice.
    Output {
        /// Where they begin.
        offset: u64,
        /// At least one.
        bytes: Bytes,
    },
    /// Bytes that are gone.
    Gap(Range<u64>),
    /// Something worth knowing.
    Notice(Box<Notice>),
    /// The connection was lost, or an attempt to reconnect failed. Several follow each other until
    /// [`Event::Back`].
    Lost {
        /// What happened.
        why: String,
        /// The pause before the next attempt.
        retry_in: Duration,
    },
    /// The connection is back and the view goes on at the offset reached.
    Back,
    /// The end. Nothing comes after it.
    Terminal {
        /// The last status.
        update: Box<StatusUpdate>,
        /// How sure it is that the whole output was received.
        verdict: Verdict,
    },
}

pub(crate) type Item = Result<Event, Error>;

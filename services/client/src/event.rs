//! The events that a [`Run`](crate::Run) yields.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use protocol::Status;
use protocol::message::{Notice, StatusUpdate};
use protocol::question::{ClosedQuestion, Question};
use tokio_tungstenite::tungstenite::Utf8Bytes;
use uuid::Uuid;

use crate::{Error, OutputCheck};

/// One event in the life of an execution, as a [`Run`](crate::Run) yields it. The first is
/// [`Event::Answer`] and the last is [`Event::Terminal`]. Statuses, notices, questions, output and
/// gaps are in between (docs/protocol.md, "Order").
#[derive(Debug, Clone)]
pub enum Event {
    /// The JSON text of a message from the bridge, before the event that this message causes. A run
    /// yields it only with [`crate::Options::raw`].
    Message(Utf8Bytes),
    /// The bridge has accepted the request. The execution is stored on disk, or existed already. A
    /// run yields this event once, even if the client reconnects.
    Answer(Box<Status>),
    /// The status of the execution, which has not ended. It is sent after each change, and
    /// unchanged at intervals as a heartbeat.
    Status(Box<StatusUpdate>),
    /// The next bytes of the execution's output. A run yields each byte once, in order.
    Output {
        /// The position of the first of these bytes in the output.
        offset: u64,
        /// The output bytes; at least one.
        bytes: Bytes,
    },
    /// A range of the output, in bytes, that the run will not yield. The bytes are no longer kept,
    /// or were skipped because the program reads too slowly.
    Gap(Range<u64>),
    /// An incident that does not change the execution's state, such as a retry of the model's API
    /// (docs/protocol.md, "Notices").
    Notice(Box<Notice>),
    /// The execution asks a question, which [`Client::answer`](crate::Client::answer) answers. Open
    /// questions are also yielded when the run begins. A run yields each question once, also after
    /// a reconnect.
    ///
    /// `input` is absent if it has more than 16 KiB; the HTTP API and the events of the execution
    /// have it.
    Question(Box<Question>),
    /// A question that the run has yielded was closed, so it must not be answered any more. A run
    /// yields this event once for each of its questions, and before [`Event::Terminal`].
    QuestionClosed {
        /// The question.
        question_id: Uuid,
        /// The cause and the decision. `None` if the question was closed after a lost connection,
        /// before the run was attached again: the bridge then only shows that it is not open.
        closed: Option<Box<ClosedQuestion>>,
    },
    /// The connection to the bridge is lost, and the client will try to reconnect. The event is
    /// repeated before each attempt until [`Event::Reconnected`]. The program need not do anything.
    Disconnected {
        /// The reason why the connection was lost, or why the last attempt failed, for people.
        reason: String,
        /// The delay before the next attempt to connect.
        retry_in: Duration,
    },
    /// The client has reconnected to the bridge. The output continues at the byte that the run had
    /// reached.
    Reconnected,
    /// The execution has ended. This is the last event.
    Terminal {
        /// The final status of the execution.
        update: Box<StatusUpdate>,
        /// Whether the whole output was received, and equals the length and CRC-32 of the status.
        verdict: OutputCheck,
    },
}

/// An item in the channel from the client's background task to a run, which is the next event, or
/// the error that ends the run.
pub(crate) type Item = Result<Event, Error>;

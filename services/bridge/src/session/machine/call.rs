//! The calls to claude-api that the requests of a client need, and the replies of claude-api. These
//! are only data. `task/calls.rs` makes the calls.

use bytes::Bytes;
use protocol::access::Share;
use protocol::message::{AttachParams, Control, EventsParams, ListParams, ShareParams};
use protocol::question::Answered;
use protocol::rpc::method;
use protocol::{ExecutionId, Status};
use uuid::Uuid;

use crate::session::wire::events_part::EventsPart;
use crate::session::wire::list_page::ListPage;

/// The execution that a call is about. A client may leave out the `executionId`, and then only
/// claude-api can tell which execution is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The execution with this id, which the client named or which is the only candidate.
    One(ExecutionId),
    /// The first of these executions that has not ended, for a request without an `executionId`.
    /// They are the live executions that the session knows, oldest first. The task asks claude-api
    /// for the status of each.
    FirstLive(Vec<ExecutionId>),
}

/// A call to claude-api that a request of the client needs. An execute is not among them, because
/// the executor sends executes in order and retries them.
#[derive(Debug, Clone)]
pub enum Call {
    /// Reads the status of an execution.
    Status(Target),
    /// Pauses, resumes or cancels an execution.
    Control(Control, Target),
    /// Reads a page of the statuses of all executions, newest first.
    List(ListParams),
    /// Reads a part of an execution's events, which are the lines of its CLI's stdout.
    Events(EventsParams),
    /// Creates a share of an execution.
    Share(ShareParams),
    /// Answers a question of an execution.
    Answer {
        /// The execution that asks.
        execution_id: ExecutionId,
        /// The question.
        question_id: Uuid,
        /// The answer as JSON, which is the body of the HTTP request.
        answer: Bytes,
    },
    /// Reads the status with which a view of an execution begins. Fails if the client named an
    /// offset of which the output is no longer kept.
    Attach(AttachParams),
    /// Ends the session's view of an execution. claude-api is not called. The request is a call
    /// here because it waits for earlier requests in the same way.
    Detach(ExecutionId),
    /// Sends lines to the stdin of an execution's CLI.
    Input {
        /// The execution that receives the lines.
        target: Target,
        /// The lines as UTF-8 bytes. May be empty, for example to end the input.
        data: Bytes,
        /// The position of the first byte within all input of the execution, in bytes. It makes a
        /// repeated request harmless.
        offset: u64,
        /// Whether the input ends after these bytes, so that the CLI's stdin is closed.
        eof: bool,
    },
}

impl Call {
    /// Returns the JSON-RPC method of the request for which the call is made.
    #[must_use]
    pub fn method(&self) -> &'static str {
        match self {
            Self::Status(_) => method::STATUS,
            Self::Control(..) => method::CONTROL,
            Self::List(_) => method::LIST,
            Self::Events(_) => method::EVENTS,
            Self::Share(_) => method::SHARE,
            Self::Answer { .. } => method::ANSWER,
            Self::Attach(_) => method::ATTACH,
            Self::Detach(_) => method::DETACH,
            Self::Input { .. } => method::INPUT,
        }
    }

    /// Returns the id of the execution that the call is about. `None` for a list, and for a request
    /// without an `executionId` whose execution claude-api must still find.
    #[must_use]
    pub fn named(&self) -> Option<ExecutionId> {
        match self {
            Self::Status(Target::One(id))
            | Self::Control(_, Target::One(id))
            | Self::Input {
                target: Target::One(id),
                ..
            }
            | Self::Detach(id) => Some(*id),
            Self::Attach(attach) => Some(attach.execution_id),
            Self::Events(events) => Some(events.execution_id),
            Self::Share(share) => Some(share.execution_id),
            Self::Answer { execution_id, .. } => Some(*execution_id),
            Self::List(_) | Self::Status(_) | Self::Control(..) | Self::Input { .. } => None,
        }
    }

    /// Returns the execution whose view the call begins (attach) or ends (detach). `None` for a
    /// call that changes no view.
    #[must_use]
    pub fn viewed(&self) -> Option<ExecutionId> {
        match self {
            Self::Attach(attach) => Some(attach.execution_id),
            Self::Detach(id) => Some(*id),
            Self::Status(_)
            | Self::Control(..)
            | Self::List(_)
            | Self::Events(_)
            | Self::Share(_)
            | Self::Answer { .. }
            | Self::Input { .. } => None,
        }
    }

    /// Returns the same call with another target. Used for requests without an `executionId` once
    /// their execution is known. A call without a target is returned unchanged, such as a list, a
    /// share or an attach.
    #[must_use]
    pub fn about(self, target: Target) -> Self {
        match self {
            Self::Status(_) => Self::Status(target),
            Self::Control(control, _) => Self::Control(control, target),
            Self::Input {
                target: _,
                data,
                offset,
                eof,
            } => Self::Input {
                target,
                data,
                offset,
                eof,
            },
            other @ (Self::List(_)
            | Self::Events(_)
            | Self::Share(_)
            | Self::Answer { .. }
            | Self::Attach(_)
            | Self::Detach(_)) => other,
        }
    }

    /// Returns whether the call only reads (status, list, events). Such a query waits until there
    /// is memory for its answer. Other calls never wait for memory, so that a cancel is not
    /// delayed.
    #[must_use]
    pub fn is_query(&self) -> bool {
        matches!(self, Self::Status(_) | Self::List(_) | Self::Events(_))
    }

    /// Returns whether the call may start as soon as claude-api has accepted the execution, even if
    /// the client's answer to the execute is still held back. True for calls whose order relative
    /// to that answer does not matter, because they change no view.
    #[must_use]
    pub fn needs_no_answer(&self) -> bool {
        matches!(
            self,
            Self::Status(_)
                | Self::Control(..)
                | Self::Events(_)
                | Self::Share(_)
                | Self::Answer { .. }
        )
    }

    /// Returns whether the call cancels an execution.
    #[must_use]
    pub fn is_cancel(&self) -> bool {
        matches!(self, Self::Control(Control::Cancel, _))
    }
}

/// The reply of claude-api to a call that succeeded. The machine turns it into the answer to the
/// client.
#[derive(Debug)]
pub enum CallReply {
    /// The status of the execution, as the reply to a status or a control call.
    Status(Box<Status>),
    /// A page of the list of executions.
    Page(Box<ListPage>),
    /// A part of the execution's events (lines of its CLI's stdout).
    Events(Box<EventsPart>),
    /// The status with which the requested view can begin, and the parameters of the attach
    /// request.
    Attach(Box<Status>, AttachParams),
    /// The new share of the execution.
    Share(Box<Share>),
    /// The question is closed by the answer, which is stored.
    Answered(Answered),
    /// The number of input bytes that claude-api has accepted for the execution in total.
    Input(u64),
    /// All candidates of the call's `Target::FirstLive` have ended. The machine submits the call
    /// again, because the session may have started other executions in the meantime. If it has
    /// none, the client gets the error -32003 (no such execution).
    NothingLive(Call),
}

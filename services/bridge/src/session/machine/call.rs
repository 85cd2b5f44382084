//! The calls to claude-api that requests need, and the replies of claude-api. Pure.

use bytes::Bytes;
use protocol::message::{AttachParams, Control, EventsParams, ListParams};
use protocol::{ExecutionId, Status};

use crate::session::wire::events_part::EventsPart;
use crate::session::wire::list_page::ListPage;

/// The execution that a call is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The execution with this id.
    One(ExecutionId),
    /// The first of these candidates, oldest first, that is not terminal.
    FirstLive(Vec<ExecutionId>),
}

/// A call to claude-api.
#[derive(Debug, Clone)]
pub enum Call {
    /// Reads the status object.
    Status(Target),
    /// Pauses, resumes or cancels.
    Control(Control, Target),
    /// Reads a page of a list.
    List(ListParams),
    /// Reads a part of the events.
    Events(EventsParams),
    /// Reads the status object with which a view begins.
    Attach(AttachParams),
    /// Ends a view. claude-api is not called; the request only waits for earlier ones about its
    /// view.
    Detach(ExecutionId),
    /// Sends lines to a CLI's stdin.
    Input {
        /// The execution of the CLI.
        target: Target,
        /// The bytes of the lines.
        data: Bytes,
        /// The offset of the first byte, in bytes of input.
        offset: u64,
        /// Whether the input ends with these bytes.
        eof: bool,
    },
}

impl Call {
    /// Returns the one execution that the call names.
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
            Self::List(_) | Self::Status(_) | Self::Control(..) | Self::Input { .. } => None,
        }
    }

    /// Returns the execution whose view the call begins or ends.
    #[must_use]
    pub fn viewed(&self) -> Option<ExecutionId> {
        match self {
            Self::Attach(attach) => Some(attach.execution_id),
            Self::Detach(id) => Some(*id),
            Self::Status(_)
            | Self::Control(..)
            | Self::List(_)
            | Self::Events(_)
            | Self::Input { .. } => None,
        }
    }

    /// Returns the same call about another execution.
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
            other @ (Self::List(_) | Self::Events(_) | Self::Attach(_) | Self::Detach(_)) => other,
        }
    }

    /// Whether the call changes nothing. Such a query waits until there is room for its answer.
    #[must_use]
    pub fn is_query(&self) -> bool {
        matches!(self, Self::Status(_) | Self::List(_) | Self::Events(_))
    }

    /// Whether the call may start once claude-api has accepted its execution, even if the client
    /// has no answer to the execute yet. Such a call changes no view.
    #[must_use]
    pub fn needs_no_answer(&self) -> bool {
        matches!(self, Self::Status(_) | Self::Control(..) | Self::Events(_))
    }

    /// Whether the call cancels an execution.
    #[must_use]
    pub fn is_cancel(&self) -> bool {
        matches!(self, Self::Control(Control::Cancel, _))
    }
}

/// The reply of claude-api to a call.
#[derive(Debug)]
pub enum CallReply {
    /// A status object.
    Status(Box<Status>),
    /// A page of a list.
    Page(Box<ListPage>),
    /// A part of the events.
    Events(Box<EventsPart>),
    /// The status with which a view can begin.
    Attach(Box<Status>, AttachParams),
    /// The total of accepted input, in bytes.
    Input(u64),
    /// None of the candidates in the [`Target::FirstLive`] of this call is live.
    NothingLive(Call),
}

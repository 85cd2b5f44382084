//! The calls to claude-api that requests of a session need, and claude-api's replies. Pure.

use bytes::Bytes;
use protocol::message::{AttachParams, Control, EventsParams, ListParams};
use protocol::{ExecutionId, Status};

use crate::session::wire::events_part::EventsPart;
use crate::session::wire::list_page::ListPage;

/// The execution that a call is about, as far as the session knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The execution with this id.
    One(ExecutionId),
    /// The first of these candidates, oldest first, that has not ended. For a request without an
    /// `executionId`; only claude-api knows which ones have ended.
    FirstLive(Vec<ExecutionId>),
}

/// A call to claude-api that a request needs. Executes are not calls: the executor sends them.
#[derive(Debug, Clone)]
pub enum Call {
    /// Reads the status of an execution.
    Status(Target),
    /// Pauses, resumes or cancels an execution.
    Control(Control, Target),
    /// Reads a page of the statuses of all executions.
    List(ListParams),
    /// Reads a part of an execution's events (its CLI's stdout).
    Events(EventsParams),
    /// Reads the status with which a view of an execution begins.
    Attach(AttachParams),
    /// Ends a view. It needs no call to claude-api, but waits for earlier requests about the view
    /// as calls do.
    Detach(ExecutionId),
    /// Sends lines to the stdin of an execution's CLI.
    Input {
        /// The execution that receives the lines.
        target: Target,
        /// The lines as bytes.
        data: Bytes,
        /// The offset of the first byte in all input of the execution.
        offset: u64,
        /// Whether the input ends after these bytes.
        eof: bool,
    },
}

impl Call {
    /// Returns the execution that the call names. `None` for a list, and while claude-api must find
    /// the first live one.
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

    /// Returns the execution whose view the call begins or ends; `None` for a call that changes no
    /// view.
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

    /// Returns the same call about `target`. A list, events, an attach and a detach stay as they
    /// are.
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

    /// Whether the call only reads (status, list, events). Such a query waits until there is memory
    /// for its answer; other calls never wait for memory.
    #[must_use]
    pub fn is_query(&self) -> bool {
        matches!(self, Self::Status(_) | Self::List(_) | Self::Events(_))
    }

    /// Whether the call may start as soon as claude-api has accepted its execution, although the
    /// client has no answer to the execute yet. Such a call changes no view.
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

/// The reply of claude-api to a successful call.
#[derive(Debug)]
pub enum CallReply {
    /// The status of the execution.
    Status(Box<Status>),
    /// A page of the list of executions.
    Page(Box<ListPage>),
    /// A part of the execution's events.
    Events(Box<EventsPart>),
    /// The status with which the requested view can begin.
    Attach(Box<Status>, AttachParams),
    /// The bytes of input that claude-api has accepted in total.
    Input(u64),
    /// All candidates in the [`Target::FirstLive`] of this call have ended. The machine submits the
    /// call again, for executions that the session has started meanwhile.
    NothingLive(Call),
}

//! The calls to claude-api that requests need, and their results. Pure.

use bytes::Bytes;
use protocol::message::{AttachParams, Control, EventsParams};
use protocol::{ExecutionId, Status};

use crate::session::wire::events_part::EventsPart;
use crate::session::wire::list_page::ListPage;

/// Which execution a call is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// This one.
    One(ExecutionId),
    /// The first of these, oldest first, that is not terminal.
    FirstLive(Vec<ExecutionId>),
}

/// A call to claude-api.
#[derive(Debug, Clone)]
pub enum Call {
    /// The status object.
    Status(Target),
    /// Pauses, resumes or cancels.
    Control(Control, Target),
    /// A page of a list: the limit, and the execution before which the page begins.
    List(Option<u64>, Option<ExecutionId>),
    /// A part of the events.
    Events(EventsParams),
    /// The status object, for a view that begins with it.
    Attach(AttachParams),
    /// Ends a view. claude-api is not called; the request only waits for earlier ones about its
    /// view.
    Detach(ExecutionId),
    /// Lines for a CLI's stdin: the bytes, their offset, and whether they are the last.
    Input(Target, Bytes, u64, bool),
}

impl Call {
    /// Returns the one execution that the call names.
    #[must_use]
    pub fn named(&self) -> Option<ExecutionId> {
        match self {
            Self::Status(Target::One(id))
            | Self::Control(_, Target::One(id))
            | Self::Input(Target::One(id), ..)
            | Self::Detach(id) => Some(*id),
            Self::Attach(attach) => Some(attach.execution_id),
            Self::Events(events) => Some(events.execution_id),
            Self::List(..) | Self::Status(_) | Self::Control(..) | Self::Input(..) => None,
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
            | Self::List(..)
            | Self::Events(_)
            | Self::Input(..) => None,
        }
    }

    /// Returns the same call about another execution.
    #[must_use]
    pub fn about(self, target: Target) -> Self {
        match self {
            Self::Status(_) => Self::Status(target),
            Self::Control(control, _) => Self::Control(control, target),
            Self::Input(_, data, offset, eof) => Self::Input(target, data, offset, eof),
            other @ (Self::List(..) | Self::Events(_) | Self::Attach(_) | Self::Detach(_)) => other,
        }
    }

    /// Whether the call changes nothing. Such a query waits until there is room for its answer.
    #[must_use]
    pub fn is_query(&self) -> bool {
        matches!(self, Self::Status(_) | Self::List(..) | Self::Events(_))
    }

    /// Whether the call may start once claude-api has accepted its execution, even if the execute
    /// is not answered yet. Such a call changes no view.
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

/// The result of a call.
#[derive(Debug)]
pub enum CallReply {
    /// A status object.
    Status(Box<Status>),
    /// A page of a list.
    Page(Box<ListPage>),
    /// A part of the events.
    Events(Box<EventsPart>),
    /// A view can begin.
    Attach(Box<Status>, AttachParams),
    /// Input was taken: the accepted total.
    Input(u64),
    /// None of the candidates in the [`Target::FirstLive`] of this call is live.
    NothingLive(Call),
}

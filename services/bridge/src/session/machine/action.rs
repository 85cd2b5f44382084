//! What the machine of a session wants done, and what comes back.

use bytes::Bytes;
use protocol::rpc::OnDisconnect;
use protocol::{ExecutionId, Status};

use super::pages::ListPage;

use super::replies::Token;
use super::request::{Attach, Events};
use crate::upstream::accept::Handover;
use crate::upstream::call::Verb;
use crate::upstream::events::EventsPart;
use crate::viewer::Start;

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
    /// Signals.
    Control(Verb, Target),
    /// A page.
    List(Option<u64>, Option<ExecutionId>),
    /// A part of the events.
    Events(Events),
    /// The status object, for a view that begins with it.
    Attach(Attach),
    /// Nothing is asked; it only waits for its turn.
    Detach(ExecutionId),
    /// Lines for a CLI's stdin: the bytes, where they begin, whether they are the last.
    Input(Target, Bytes, u64, bool),
}

impl Call {
    /// The one execution that it is about.
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

    /// The execution whose view it begins or ends.
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

    /// The same about another execution.
    #[must_use]
    pub fn about(self, target: Target) -> Self {
        match self {
            Self::Status(_) => Self::Status(target),
            Self::Control(verb, _) => Self::Control(verb, target),
            Self::Input(_, data, offset, eof) => Self::Input(target, data, offset, eof),
            other @ (Self::List(..) | Self::Events(_) | Self::Attach(_) | Self::Detach(_)) => other,
        }
    }

    /// Whether it only looks at how things are.
    #[must_use]
    pub fn is_look(&self) -> bool {
        matches!(self, Self::Status(_) | Self::List(..) | Self::Events(_))
    }

    /// Whether the call needs no answer to an execute first: it names an execution that claude-api
    /// has, with or without a view.
    #[must_use]
    pub fn needs_no_answer(&self) -> bool {
        matches!(self, Self::Status(_) | Self::Control(..) | Self::Events(_))
    }

    /// Whether it ends an execution.
    #[must_use]
    pub fn is_cancel(&self) -> bool {
        matches!(self, Self::Control(Verb::Cancel, _))
    }
}

/// What came of a call.
#[derive(Debug)]
pub enum Outcome {
    /// A status object.
    Status(Box<Status>),
    /// A page.
    Page(Box<ListPage>),
    /// A part of the events.
    Events(Box<EventsPart>),
    /// A view can begin.
    Attach(Box<Status>, Attach),
    /// Input was taken: the accepted total.
    Input(u64),
    /// None of the [`Target::FirstLive`] of this call lives.
    NothingLive(Call),
}

/// An execute for the executor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its request.
    pub token: Token,
    /// What is handed over.
    pub execute: Handover,
    /// Whether it is cancelled when the session is gone.
    pub cancel_on_disconnect: bool,
}

impl Job {
    pub(super) fn new(token: Token, execute: Handover, on_disconnect: OnDisconnect) -> Self {
        Self {
            token,
            execute,
            cancel_on_disconnect: on_disconnect == OnDisconnect::Cancel,
        }
    }
}

/// What to do.
#[derive(Debug)]
pub enum Action {
    /// Send this message.
    Send(String),
    /// Hand this over, behind earlier ones.
    Execute(Job),
    /// End the retrying of an execute.
    StopRetrying(Token),
    /// Call claude-api, at once.
    Call(Token, Call),
    /// Begin a view.
    View(u64, Box<Start>),
    /// End a view; its messages under way are dropped.
    Unview(u64),
}

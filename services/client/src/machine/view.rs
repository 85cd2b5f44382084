//! One view: turns the messages about one execution into the events of its run.

use bytes::Bytes;
use protocol::message::{Gap, JsonText, Output, StatusUpdate};
use protocol::rpc::OnSlow;
use protocol::{Reason, Status};
use tokio::sync::mpsc;

use crate::Error;
use crate::event::{Event, Item};
use crate::output_tracker::{OutputTracker, Verdict};

/// The messages about one execution, as one [`Run`](crate::Run) receives them, across reconnects.
pub(crate) struct View {
    /// A number that distinguishes this view from a later one of the same execution.
    pub(crate) token: u64,
    pub(crate) tx: mpsc::Sender<Item>,
    pub(crate) output: OutputTracker,
    pub(crate) on_slow: OnSlow,
    /// Whether the execute or attach was answered. After a reconnect, the view then attaches
    /// instead of repeating the request.
    pub(crate) accepted: bool,
    /// Whether the client detached the view because its run does not read. The view attaches again
    /// when the run has read the waiting events.
    pub(crate) detached: bool,
    /// The number of output bytes that the client dropped for a run with `onSlow: "skip"`.
    pub(crate) skipped: u64,
}

impl View {
    pub(crate) fn new(token: u64, tx: mpsc::Sender<Item>, offset: u64, on_slow: OnSlow) -> Self {
        Self {
            token,
            tx,
            output: OutputTracker::new(offset),
            on_slow,
            accepted: false,
            detached: false,
            skipped: 0,
        }
    }

    /// Handles the result of an execute or attach. Returns the event for the run; None after an
    /// attach that the run does not see.
    pub(crate) fn answered(&mut self, result: &JsonText) -> Result<Option<Event>, Error> {
        let status: Box<Status> = result
            .read()
            .map_err(|e| Error::Protocol(format!("the answer is not a status: {e}")))?;
        let first = !std::mem::replace(&mut self.accepted, true);
        // A run does not see that the client detached it and attached it again.
        let was_detached = std::mem::take(&mut self.detached);
        Ok(match (first, was_detached) {
            (true, _) => Some(Event::Answer(status)),
            (false, true) => None,
            (false, false) => Some(Event::Reconnected),
        })
    }

    pub(crate) fn status(&mut self, update: Box<StatusUpdate>) -> Result<Option<Event>, Error> {
        let status = &update.status;
        if !status.state.is_terminal() {
            return Ok(Some(Event::Status(update)));
        }
        // claude-api no longer knows the execution, so the bridge does not know the length.
        let verdict = if status.reason == Some(Reason::Lost) {
            Verdict::Unknown
        } else {
            self.output
                .finish(status.output_bytes, status.crc32.as_deref())?
        };
        Ok(Some(Event::Terminal { update, verdict }))
    }

    pub(crate) fn output(&mut self, output: Output) -> Result<Option<Event>, Error> {
        let new = self
            .output
            .accept(output.offset, Bytes::from(output.content))?;
        let offset = self.output.reached() - new.len() as u64;
        Ok((!new.is_empty()).then_some(Event::Output { offset, bytes: new }))
    }

    pub(crate) fn gap(&mut self, gap: Gap) -> Result<Option<Event>, Error> {
        Ok(self.output.gap(gap.from, gap.to)?.map(Event::Gap))
    }
}

//! One view: how the messages about one execution become its run's events.

use bytes::Bytes;
use protocol::rpc::OnSlow;
use protocol::{Reason, Status};
use serde_json::value::RawValue;
use tokio::sync::mpsc;

use crate::run::Item;
use crate::{Assembly, Error, Event, StatusUpdate, Verdict};

pub(crate) struct View {
    /// Tells this view from a later one of the same execution.
    pub(crate) token: u64,
    pub(crate) tx: mpsc::Sender<Item>,
    pub(crate) assembly: Assembly,
    pub(crate) on_slow: OnSlow,
    /// Whether it was answered once: from then on a new connection attaches.
    pub(crate) accepted: bool,
    /// Whether the view was detached because its run does not read. It attaches again when the run
    /// has read the waiting events.
    pub(crate) detached: bool,
    /// Bytes of output that the client dropped for a run with `onSlow: "skip"`.
    pub(crate) skipped: u64,
}

impl View {
    pub(crate) fn new(token: u64, tx: mpsc::Sender<Item>, offset: u64, on_slow: OnSlow) -> Self {
        Self {
            token,
            tx,
            assembly: Assembly::new(offset),
            on_slow,
            accepted: false,
            detached: false,
            skipped: 0,
        }
    }

    pub(crate) fn answered(&mut self, result: &RawValue) -> Result<Option<Event>, Error> {
        let status: Box<Status> = serde_json::from_str(result.get())
            .map_err(|e| Error::Protocol(format!("the answer is no status: {e}")))?;
        let first = !std::mem::replace(&mut self.accepted, true);
        // The run does not know that the client detached it.
        let unseen = std::mem::take(&mut self.detached);
        Ok(match (first, unseen) {
            (true, _) => Some(Event::Answer(status)),
            (false, true) => None,
            (false, false) => Some(Event::Back),
        })
    }

    pub(crate) fn status(&mut self, update: Box<StatusUpdate>) -> Result<Option<Event>, Error> {
        let status = &update.status;
        if !status.state.is_terminal() {
            return Ok(Some(Event::Status(update)));
        }
        // claude-api no longer knows it: the bridge cannot tell the length.
        let verdict = if status.reason == Some(Reason::Lost) {
            Verdict::Unknown
        } else {
            self.assembly
                .finish(status.output_bytes, status.crc32.as_deref())?
        };
        Ok(Some(Event::Terminal { update, verdict }))
    }

    pub(crate) fn output(&mut self, offset: u64, bytes: Bytes) -> Result<Option<Event>, Error> {
        let new = self.assembly.accept(offset, bytes)?;
        let offset = self.assembly.reached() - new.len() as u64;
        Ok((!new.is_empty()).then_some(Event::Output { offset, bytes: new }))
    }

    pub(crate) fn gap(&mut self, from: u64, to: u64) -> Result<Option<Event>, Error> {
        Ok(self.assembly.gap(from, to)?.map(Event::Gap))
    }
}

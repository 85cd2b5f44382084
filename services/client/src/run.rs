//! One execution as its viewer sees it.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use protocol::{ExecutionId, Status};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::actor::Command;
use crate::{Error, Notice, StatusUpdate, Verdict};

/// What a run yields, in the contract's order: the answer, statuses, output and gaps, the terminal status last.
#[derive(Debug, Clone)]
pub enum Event {
    /// A message of the bridge as it came, before what was made of it; only with [`crate::Options::raw`].
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
    Notice(Notice),
    /// The connection was lost; the next try follows after the pause.
    Lost {
        /// What happened.
        why: String,
        /// The pause.
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

/// A view of one execution, from [`crate::Client::execute`] or [`crate::Client::attach`].
///
/// Dropping a run detaches; the execution continues. A run that is not read delays no other run:
/// when about 1 MiB waits for it, the client detaches it, and attaches it again at the same offset
/// once it has read that. With `onSlow: "skip"` the oldest output is dropped instead and announced
/// as a gap.
#[derive(Debug)]
pub struct Run {
    pub(crate) id: ExecutionId,
    pub(crate) token: u64,
    pub(crate) items: mpsc::Receiver<Item>,
    pub(crate) commands: mpsc::UnboundedSender<Command>,
    pub(crate) ended: bool,
}

impl Run {
    /// The execution's id, known before it is accepted.
    #[must_use]
    pub fn id(&self) -> ExecutionId {
        self.id
    }

    /// The next event; `None` after the terminal one. Cancel-safe: nothing is lost if the future is dropped.
    ///
    /// # Errors
    /// The request was refused, the connection did not come back in time, or the output does not join; a run
    /// yields nothing after an error.
    pub async fn next(&mut self) -> Result<Option<Event>, Error> {
        if self.ended {
            return Ok(None);
        }
        let item = self.items.recv().await.unwrap_or(Err(Error::Closed));
        self.ended = matches!(item, Err(_) | Ok(Event::Terminal { .. }));
        item.map(Some)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if !self.ended {
            // The actor may be gone already; then there is nothing to detach from.
            let _ = self.commands.send(Command::Forget(self.id, self.token));
        }
    }
}

//! The messages about one execution, as a stream of events.

use protocol::ExecutionId;
use tokio::sync::mpsc;

use crate::Error;
use crate::command::Command;
use crate::event::{Event, Item};

/// The stream of events of one execution, from [`crate::Client::execute`] or
/// [`crate::Client::attach`]: statuses and output, until the end. It continues across reconnects.
///
/// Dropping a run detaches; the execution continues. A slow run delays no other run. When about 1
/// MiB of messages waits for it, the client detaches it, and attaches it again at the same offset
/// once these messages are read. With `onSlow: "skip"` the client instead drops the oldest output,
/// and the run yields a gap for it.
#[derive(Debug)]
pub struct Run {
    pub(crate) id: ExecutionId,
    pub(crate) token: u64,
    pub(crate) items: mpsc::Receiver<Item>,
    pub(crate) commands: mpsc::UnboundedSender<Command>,
    pub(crate) ended: bool,
}

impl Run {
    /// Returns the id of the execution, which is known even before the bridge accepts it.
    #[must_use]
    pub fn id(&self) -> ExecutionId {
        self.id
    }

    /// Waits for the next event. Returns `None` after [`Event::Terminal`] and after an error.
    /// Cancel-safe: no event is lost if the future is dropped.
    ///
    /// # Errors
    /// The request was refused, the client could not reconnect in time, or the output is
    /// inconsistent.
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
            // Ignored: if the task has ended, the view has ended too.
            let _ = self.commands.send(Command::Forget(self.id, self.token));
        }
    }
}

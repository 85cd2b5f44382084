//! A [`Run`], which is the stream of events of one execution.

use protocol::ExecutionId;
use tokio::sync::mpsc;

use crate::Error;
use crate::command::Command;
use crate::event::{Event, Item};

/// The stream of events of one execution, with its statuses and output until the end.
/// [`crate::Client::execute`] and [`crate::Client::attach`] return it. It continues after a
/// reconnect.
///
/// Dropping a run stops the messages about the execution, which continues. A run that is read
/// slowly delays no other run. When about 1 MiB of messages waits for it, the client stops
/// requesting its output, and resumes at the same offset once these messages are read. With
/// `onSlow: "skip"` the client instead drops the oldest output, and the run yields a gap for it.
#[derive(Debug)]
pub struct Run {
    pub(crate) id: ExecutionId,
    pub(crate) token: u64,
    pub(crate) items: mpsc::Receiver<Item>,
    pub(crate) commands: mpsc::UnboundedSender<Command>,
    pub(crate) ended: bool,
}

impl Run {
    /// Returns the id of the execution. It is known even before the bridge has accepted the
    /// execution.
    #[must_use]
    pub fn id(&self) -> ExecutionId {
        self.id
    }

    /// Waits for the next event of the execution. Returns `None` after [`Event::Terminal`] and
    /// after an error. Cancel-safe, because no event is lost if the future is dropped.
    ///
    /// [`Error::Rpc`] if the bridge refused the request, [`Error::GaveUp`] if the client could not
    /// reconnect in time, [`Error::Output`] if bytes were lost or changed, and [`Error::Closed`] if
    /// the client was closed. No event follows an error.
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

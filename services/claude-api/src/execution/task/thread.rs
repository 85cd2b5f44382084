//! A thread for each running execution, so that its disk holds up nobody else.
//!
//! A running execution writes its output to the disk from its own loop, and a disk may hang. On a thread of the service's
//! runtime such a write would hold up other tasks. It could hold up all of them: the blocked thread may be the one that polls
//! the sockets for the others, and no other takes that over. With 11 threads, one hung write of one execution stopped HTTP.
//! To move the other tasks away before each write (`tokio::task::block_in_place`) costs two switches of threads a chunk, and
//! made text slower by a third.
//!
//! The thread has a runtime of its own, with its own poll of the CLI's pipes, because a thread that the service's runtime has
//! to wake for every chunk is slower by a quarter. So what is started on this thread ends with the execution: tasks of the
//! service are started with [`crate::service::Service::spawn`], and clippy refuses `tokio::spawn`.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::mpsc;
use std::thread;

use tokio::runtime::{Builder, Handle};

/// A thread that waits for its work; dropped, it ends. `ps -L` shows it as `execution`.
///
/// It is taken when an execution has its permit, never while it waits in the queue, so there are at most as many as executions
/// may run. It has four descriptors for its runtime. A shortage of threads delays the start of an execution as a shortage of
/// processes does. Nothing waits for the end of a thread that hangs in the disk: it ends with the process.
#[derive(Debug)]
pub(crate) struct Thread(mpsc::SyncSender<Work>);

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Thread {
    /// Starts a thread. To be called on the service's runtime.
    ///
    /// # Errors
    /// The system's, as it is: a shortage may pass.
    pub(crate) fn start() -> io::Result<Self> {
        let service = Handle::current();
        let (sender, receiver) = mpsc::sync_channel::<Work>(1);
        let live = move || {
            let Ok(work) = receiver.recv() else { return };
            match Builder::new_current_thread().enable_all().build() {
                Ok(own) => {
                    own.block_on(work);
                    // Does not wait for a disk that hangs.
                    own.shutdown_background();
                }
                Err(error) => {
                    tracing::warn!(%error, "no runtime for the thread of an execution");
                    service.block_on(work);
                }
            }
        };
        thread::Builder::new()
            .name("execution".to_owned())
            .spawn(live)?;
        Ok(Self(sender))
    }

    /// Runs the work to its end, and waits for nothing.
    pub(crate) fn run(self, work: impl Future<Output = ()> + Send + 'static) {
        // The thread takes it: it does nothing else.
        let _ = self.0.send(Box::pin(work));
    }
}

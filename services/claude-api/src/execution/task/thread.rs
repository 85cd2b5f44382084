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
use std::sync::mpsc;
use std::thread;

use tokio::runtime::{Builder, Runtime};

use crate::service::Service;

/// Runs the work on a thread of its own; `ps -L` shows the thread as `execution`.
///
/// The thread and its three descriptors are taken when an execution has its permit, never while it waits in the queue, so
/// there are at most as many as executions may run. Nobody waits for a thread: if none can be had, the work runs as a task of
/// the service, where a disk that hangs holds up others, too. Nothing waits for the end of a thread either: one that hangs in
/// the disk ends with the process.
pub(crate) fn run(service: &Service, work: impl Future<Output = ()> + Send + 'static) {
    match start() {
        Ok(thread) => {
            // The thread does nothing but wait for it.
            let _ = thread.send(Box::pin(work));
        }
        Err(error) => {
            tracing::warn!(%error, "no thread for an execution; it runs as a task");
            service.spawn(work);
        }
    }
}

type Work = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

/// Starts a thread that runs the work it is sent.
fn start() -> io::Result<mpsc::SyncSender<Work>> {
    let runtime: Runtime = Builder::new_current_thread().enable_all().build()?;
    let (sender, receiver) = mpsc::sync_channel::<Work>(1);
    thread::Builder::new()
        .name("execution".to_owned())
        .spawn(move || {
            if let Ok(work) = receiver.recv() {
                runtime.block_on(work);
            }
            // Does not wait for a disk that hangs.
            runtime.shutdown_background();
        })?;
    Ok(sender)
}

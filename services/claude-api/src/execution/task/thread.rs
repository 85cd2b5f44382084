//! A thread for each running execution, so that its disk holds up nobody else.
//!
//! A running execution writes its output to the disk from its own loop, and a disk may hang. On a thread of the runtime such
//! a write would hold up other tasks. It could hold up all of them, because the blocked thread may be the one that polls the
//! sockets for the others, and no other takes that over: with 11 threads, one hung write of one execution stopped HTTP. To
//! move the other tasks away before each write (`tokio::task::block_in_place`) costs two switches of threads a chunk, and
//! halved the speed of text.

use std::future::Future;
use std::sync::mpsc;
use std::thread;

use tokio::runtime::Handle;

/// Runs the work on a thread of its own, whose name is seen in `ps -L`. Sockets, pipes and timers stay with the runtime.
///
/// The thread is taken when an execution has its permit, never while it waits in the queue, so there are at most as many as
/// executions may run. Nobody waits for a thread: without one the work runs as a task, where a disk that hangs holds up
/// others, too. Nothing waits for the end of a thread either: one that hangs in the disk ends with the process.
pub(crate) fn run(work: impl Future<Output = ()> + Send + 'static) {
    let runtime = Handle::current();
    let (sender, receiver) = mpsc::sync_channel(1);
    let begin = move || {
        if let Ok(work) = receiver.recv() {
            runtime.block_on(work);
        }
    };
    match thread::Builder::new().name("execution".to_owned()).spawn(begin) {
        Ok(_) => {
            // It is received: the thread does nothing before that.
            let _ = sender.send(work);
        }
        Err(error) => {
            tracing::warn!(%error, "no thread for an execution; it runs as a task");
            tokio::spawn(work);
        }
    }
}

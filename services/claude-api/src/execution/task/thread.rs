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
//! service are started with [`Service::spawn`], and clippy refuses `tokio::spawn`.

use std::future::Future;

use tokio::runtime::{Builder, Handle};

use crate::service::Service;

/// Runs the work on a thread of its own.
///
/// The thread, and three descriptors for its runtime, are taken when an execution has its permit, never while it waits in the
/// queue. So there are at most as many as executions may run, and `main` allows so many beside the threads for disk work:
/// nobody waits for a thread. Without descriptors the work does without a runtime of its own, and is slower.
///
/// Nothing waits for the end of a thread that hangs in the disk: it ends with the process.
pub(crate) fn run(service: &Service, work: impl Future<Output = ()> + Send + 'static) {
    service.spawn_blocking(
        || match Builder::new_current_thread().enable_all().build() {
            Ok(own) => {
                own.block_on(work);
                // Does not wait for a disk that hangs.
                own.shutdown_background();
            }
            Err(error) => {
                tracing::warn!(%error, "no runtime for the thread of an execution");
                Handle::current().block_on(work);
            }
        },
    );
}

//! The service itself, which does not depend on HTTP. It accepts executions and finds them by id,
//! pauses, resumes and cancels them for clients, continues them by policy, recovers them after a
//! restart, and stops.

mod accept;
mod access;
mod after_hooks;
mod burn;
mod continue_by_policy;
mod continue_by_request;
mod control;
mod digest;
mod digest_queue;
mod find;
mod hook_queue;
mod input;
mod list;
mod metrics;
mod ownerless;
mod questions;
mod recover;
mod removal;
mod share;
mod spending;
mod stop;
mod supervise;
#[cfg(test)]
pub(crate) mod testing;
mod visible_status;
mod webhooks;

pub(crate) use access::NoCaller;
pub use burn::Burn;
pub use control::Cancel;
pub use find::FoundExecution;
pub use visible_status::VisibleStatus;

use digest_queue::DigestQueue;
use hook_queue::HookQueue;

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, PoisonError, RwLock};

use anyhow::Context;
use protocol::{ExecutionId, Problem, ProblemType};
use runner::Runners;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::boxed::Boxed;
use crate::cli::Environment;
use crate::config::Settings;
use crate::engine::Engine;
use crate::execution::live::Live;
use crate::inbound::Inbound;
use crate::registry::{QueueFull, RegistryError};
use crate::streams::Streams;

/// The state of a running claude-api, shared by all HTTP requests: the executions that have not
/// ended, the limits of memory, connections and streams, and the background tasks.
pub struct Service {
    /// The resources that all executions share, such as the settings, the records on disk and the
    /// metrics.
    pub engine: Arc<Engine>,
    /// The check that refuses HTTP requests from claude-api's own container, in which the model's
    /// commands run and must not use the service. `None` if `--boxed` is off: then requests are
    /// accepted from everywhere.
    pub(crate) boxed: Option<Boxed>,
    /// The memory budget for request bodies that are being received, of `inboundBytes`.
    pub(crate) inbound: Inbound,
    /// The maximum number of open TCP connections of clients, from `--connections` and the limit of
    /// file descriptors.
    pub(crate) connection_limit: usize,
    /// The permits for open HTTP streams; a stream without one is refused with 503
    /// `too-many-streams`.
    pub(crate) streams: Streams,
    /// The executions that have not ended, by id. Each has an owner, the one task that runs it and
    /// writes its status. A synchronous lock, because lookups are short and no await happens
    /// inside.
    live: RwLock<HashMap<ExecutionId, Live>>,
    /// The ended executions whose output has no SHA-256 yet; a background task computes it.
    pub(crate) digest_queue: DigestQueue,
    /// The limits of the after hooks, the operator's programs that run after each execution.
    pub(crate) hook_queue: HookQueue,
    /// The reads of the questions of an execution from the disk, at most two at once: each may read
    /// 64 MiB. Taken for one read; further ones wait in the order in which they came.
    question_reads: Semaphore,
    /// The background tasks, such as runs of hooks, that a stop of the service waits for.
    background: TaskTracker,
    /// The token that is cancelled when a stop of the service begins.
    stopping: CancellationToken,
}

/// Returns the problem 503 `queue-full`, with the number of slots in use if the client may know it.
fn queue_full(full: &QueueFull, detail: String) -> Problem {
    let problem = Problem::new(ProblemType::QueueFull, detail);
    match full.length() {
        Some(length) => problem.with("length", length),
        None => problem,
    }
}

/// Returns the problem 507 `spool-unwritable`, for an execution that cannot be written to disk.
fn spool_unwritable() -> Problem {
    Problem::new(
        ProblemType::SpoolUnwritable,
        "the execution cannot be recorded: the spool cannot be written; free some space and try \
         again",
    )
}

/// Returns the problem (the JSON body of an HTTP error, RFC 9457) for a failure of the disk. A disk
/// that cannot be written is 507 `spool-unwritable`. Any other failure is 500 `internal` without
/// details for the client; the details are logged.
fn problem(failure: &RegistryError) -> Problem {
    match failure {
        RegistryError::Unwritable { .. } => spool_unwritable(),
        other => {
            tracing::error!(
                error = %other,
                "could not use the spool for a request; answered with an error"
            );
            Problem::new(
                ProblemType::Internal,
                "the spool failed; the log of claude-api says why",
            )
        }
    }
}

/// Returns the problem 404 `not-found`, for an id that no execution has.
fn not_found(id: ExecutionId) -> Problem {
    Problem::new(
        ProblemType::NotFound,
        format!("there is no execution {id}; it may have been removed by retention"),
    )
}

/// Returns the problem 410 `deleted`, for the id of an execution that was deleted.
pub(crate) fn deleted(id: ExecutionId) -> Problem {
    Problem::new(
        ProblemType::Deleted,
        format!("execution {id} was deleted; its id cannot be used again"),
    )
}

impl Service {
    /// Opens the folder of the records and creates everything that requests share. Returns the
    /// service with warnings for the log, one text each. Call [`Self::recover`] before serving:
    /// only that call requeues or ends the executions that the last run left unfinished. Blocks on
    /// the disk.
    ///
    /// # Errors
    /// The records, the workspaces or the settings cannot be used; the text says why and what to
    /// do.
    pub fn open(
        settings: Settings,
        environment: Environment,
        runners: Runners,
    ) -> anyhow::Result<(Arc<Self>, Vec<String>)> {
        let boxed = Boxed::new(&settings.args.network)
            .context("the addresses of this container cannot be read (--boxed)")?;
        let (engine, warnings) = Engine::open(settings, environment, runners)?;
        let limits = &engine.settings.limits;
        let connection_limit =
            crate::net::connection_limit(engine.settings.args.connections.connections);
        let service = Arc::new(Self {
            boxed,
            inbound: Inbound::new(limits.inbound_bytes),
            streams: Streams::new(connection_limit),
            connection_limit,
            live: RwLock::default(),
            digest_queue: DigestQueue::default(),
            question_reads: Semaphore::new(2),
            hook_queue: HookQueue::default(),
            background: TaskTracker::new(),
            stopping: CancellationToken::new(),
            engine,
        });
        Ok((service, warnings))
    }

    /// Starts a background task that a stop of the service waits for, within the stop's time limit.
    /// Used for work that follows the end of an execution, such as hooks.
    pub(crate) fn background(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.background.spawn(work);
    }

    /// Returns a token that makes a stop of the service wait until the token is dropped, as if it
    /// were a running task of [`Self::background`]. It covers the time before such a task is
    /// started.
    pub(crate) fn background_token(&self) -> TaskTrackerToken {
        self.background.token()
    }

    /// Returns the handle of an execution that has not ended. `None` if no task runs it: it has
    /// ended, or the id is unknown.
    fn live(&self, id: ExecutionId) -> Option<Live> {
        self.live
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&id)
            .cloned()
    }

    /// Returns the handles of all executions that have not ended, in no particular order.
    fn all_live(&self) -> Vec<Live> {
        self.live
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .cloned()
            .collect()
    }

    /// Removes an execution from the live ones, after its terminal status was written to disk. From
    /// now on requests read the execution from the disk.
    pub(crate) fn retire(&self, id: ExecutionId) {
        self.live
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&id);
    }
}

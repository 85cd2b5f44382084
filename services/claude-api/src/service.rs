//! The service, which does not depend on HTTP: accepts and finds executions, applies controls and
//! policies, recovers after a restart, and stops.

mod accept;
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
mod recover;
mod removal;
mod stop;
mod supervise;
#[cfg(test)]
pub(crate) mod testing;

pub use burn::Burn;
pub use control::Cancel;
pub use find::View;

use digest_queue::DigestQueue;
use hook_queue::HookQueue;

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, PoisonError, RwLock};

use anyhow::Context;
use protocol::{ExecutionId, Problem, ProblemType};
use runner::Runners;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::boxed::Boxed;
use crate::cli::Environment;
use crate::config::Settings;
use crate::engine::Engine;
use crate::execution::live::Live;
use crate::inbound::Inbound;
use crate::registry::RegistryError;
use crate::streams::Streams;

/// The state of a running claude-api: its executions that have not ended, the limits that its
/// requests share, and its background tasks.
pub struct Service {
    /// The resources that executions share.
    pub engine: Arc<Engine>,
    /// Refuses requests from the container of claude-api, in which the model's commands run. `None`
    /// if `--boxed` is off: then all requests are served.
    pub(crate) boxed: Option<Boxed>,
    pub(crate) inbound: Inbound,
    /// The maximum number of open connections of clients.
    pub(crate) connection_limit: usize,
    pub(crate) streams: Streams,
    /// The live executions: each has an owner, the one task that runs it and writes its status. A
    /// lock, because lookups are short and synchronous; no await happens inside.
    live: RwLock<HashMap<ExecutionId, Live>>,
    /// The ended outputs whose SHA-256 is not computed yet.
    pub(crate) digest_queue: DigestQueue,
    /// The limits of after hooks, the operator's programs that run when an execution has ended.
    pub(crate) hook_queue: HookQueue,
    /// The background tasks, such as hooks, that a stop of the service waits for.
    background: TaskTracker,
    /// Cancelled when a stop begins.
    stopping: CancellationToken,
}

fn spool_unwritable() -> Problem {
    Problem::new(
        ProblemType::SpoolUnwritable,
        "the execution cannot be recorded: the spool cannot be written; free some space and try \
         again",
    )
}

/// Returns the problem (the JSON body of an error) that answers a client after a failure of the
/// registry. The client learns that the disk cannot be written; other details go to the log alone.
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

fn not_found(id: ExecutionId) -> Problem {
    Problem::new(
        ProblemType::NotFound,
        format!("there is no execution {id}; it may have been removed by retention"),
    )
}

pub(crate) fn deleted(id: ExecutionId) -> Problem {
    Problem::new(
        ProblemType::Deleted,
        format!("execution {id} was deleted; its id cannot be used again"),
    )
}

impl Service {
    /// Opens the spool and all that requests share, and returns the service with warnings for the
    /// log. Call [`Self::recover`] before serving. Blocks on the disk.
    ///
    /// # Errors
    /// The spool or the settings cannot be used; the text says why and what to do.
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
            hook_queue: HookQueue::default(),
            background: TaskTracker::new(),
            stopping: CancellationToken::new(),
            engine,
        });
        Ok((service, warnings))
    }

    /// Starts a background task. A stop of the service waits for it, within the stop's time limit.
    pub(crate) fn background(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.background.spawn(work);
    }

    /// Returns a token that counts like a task of [`Self::background`]: a stop waits until the
    /// token is dropped.
    pub(crate) fn background_token(&self) -> TaskTrackerToken {
        self.background.token()
    }

    /// Returns a live execution. `None` if no task runs it: it has ended, or the id is unknown.
    fn live(&self, id: ExecutionId) -> Option<Live> {
        self.live
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&id)
            .cloned()
    }

    fn all_live(&self) -> Vec<Live> {
        self.live
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .cloned()
            .collect()
    }

    /// Removes an execution whose end is on disk from the live ones: from now on requests read it
    /// from the spool.
    pub(crate) fn retire(&self, id: ExecutionId) {
        self.live
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&id);
    }
}

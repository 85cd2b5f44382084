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

/// The service: its executions, its connections and its background tasks.
pub struct Service {
    /// The resources that executions share.
    pub engine: Arc<Engine>,
    /// The rule for requests from this container; `None` when the service is not boxed.
    pub(crate) boxed: Option<Boxed>,
    pub(crate) inbound: Inbound,
    /// The maximum number of connections.
    pub(crate) connection_limit: usize,
    pub(crate) streams: Streams,
    /// The live executions: those with an owner. A lock, because lookups are short and synchronous;
    /// no await happens inside.
    live: RwLock<HashMap<ExecutionId, Live>>,
    /// The outputs that wait for their SHA-256.
    pub(crate) digest_queue: DigestQueue,
    /// The permits of hooks after executions.
    pub(crate) hook_queue: HookQueue,
    /// The tasks that a stop waits for.
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

/// Returns the problem that a client may read for a failure of the registry, and logs the details.
fn problem(failure: &RegistryError) -> Problem {
    match failure {
        RegistryError::Unwritable { .. } => spool_unwritable(),
        other => {
            tracing::error!(error = %other, "the spool failed");
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
    /// Opens the service. Returns it with warnings for the log. Blocks on the disk.
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

    /// Starts a task that a stop waits for.
    pub(crate) fn background(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.background.spawn(work);
    }

    /// Makes a stop wait, as for a task of [`Self::background`], until the token is dropped.
    pub(crate) fn background_token(&self) -> TaskTrackerToken {
        self.background.token()
    }

    /// Returns an execution that has an owner.
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

    /// Removes an execution from the live ones: from now on requests read it from the spool.
    pub(crate) fn retire(&self, id: ExecutionId) {
        self.live
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&id);
    }
}

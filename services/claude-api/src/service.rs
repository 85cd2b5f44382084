//! The service without its transport: accepts executions, finds them, passes controls on, recovers after a restart, stops.

mod accept;
mod after_hooks;
mod burn;
mod continuation;
mod control;
mod digest;
mod digesting;
mod hook_places;
mod input;
mod metrics;
mod past;
mod recover;
mod stop;
mod supervise;
#[cfg(test)]
pub(crate) mod testing;

pub use burn::Burn;
pub use control::Cancel;

use digesting::Digesting;
use hook_places::AfterHooks;

use std::collections::HashMap;
use std::future::Future;
use std::io::ErrorKind;
use std::sync::{Arc, PoisonError, RwLock};

use anyhow::Context;
use protocol::{ExecutionId, Problem, ProblemType, Reason, State, Status};
use runner::Runners;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::blocking::blocking;
use crate::boxed::Boxed;
use crate::cli::Environment;
use crate::config::Settings;
use crate::engine::Engine;
use crate::execution::live::{Live, Published};
use crate::execution::views::Viewing;
use crate::inbound::Inbound;
use crate::registry::record::Record;
use crate::registry::{Failure, Lookup};
use crate::streams::Streams;

/// See the module.
pub struct Service {
    /// What executions need.
    pub engine: Arc<Engine>,
    /// The rule for requests from this container; `None` when the service is not boxed.
    pub(crate) boxed: Option<Boxed>,
    pub(crate) inbound: Inbound,
    /// Places for connections.
    pub(crate) places: usize,
    pub(crate) streams: Streams,
    // Short, synchronous look-ups; no await happens inside.
    live: RwLock<HashMap<ExecutionId, Live>>,
    /// The outputs that wait for their SHA-256.
    pub(crate) digesting: Digesting,
    /// The hooks after executions.
    pub(crate) after_hooks: AfterHooks,
    background: TaskTracker,
    stopping: CancellationToken,
}

/// The service's knowledge of an id.
enum Known {
    /// It names an execution.
    View(View),
    /// Its execution was deleted.
    Deleted,
    /// It was cancelled before it was accepted.
    Burned,
    /// Nothing is known of it.
    Unknown,
}

/// An execution as a request finds it.
#[derive(Clone)]
pub enum View {
    /// It has an owner.
    Live(Live),
    /// It ended, perhaps long ago.
    Past(spool::Entry),
}

impl View {
    /// Its files.
    #[must_use]
    pub fn entry(&self) -> &spool::Entry {
        match self {
            Self::Live(live) => &live.entry,
            Self::Past(entry) => entry,
        }
    }
}

fn spool_unwritable() -> Problem {
    Problem::new(
        ProblemType::SpoolUnwritable,
        "the execution cannot be recorded: the spool cannot be written; free some space and try again",
    )
}

/// Turns a failure of the registry into what the client may read; the log gets the rest.
fn problem(failure: &Failure) -> Problem {
    match failure {
        Failure::Unwritable { .. } => spool_unwritable(),
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
    /// Opens everything that executions need. Blocks on the disk.
    ///
    /// # Errors
    /// The spool cannot be used; the text says why and what to do.
    pub fn open(
        settings: Settings,
        environment: Environment,
        runners: Runners,
    ) -> anyhow::Result<(Arc<Self>, Vec<String>)> {
        let boxed = Boxed::new(&settings.args.network)
            .context("the addresses of this container cannot be read (--boxed)")?;
        let (engine, warnings) = Engine::open(settings, environment, runners)?;
        let limits = &engine.settings.limits;
        let places = crate::net::places(engine.settings.args.connections.connections);
        let service = Arc::new(Self {
            boxed,
            inbound: Inbound::new(limits.inbound_bytes),
            streams: Streams::new(places),
            places,
            live: RwLock::default(),
            digesting: Digesting::default(),
            after_hooks: AfterHooks::default(),
            background: TaskTracker::new(),
            stopping: CancellationToken::new(),
            engine,
        });
        Ok((service, warnings))
    }

    /// Counts an output or follow stream of a live execution, until the result is dropped.
    pub(crate) async fn viewing(&self, view: &View, viewer: Option<&str>) -> Option<Viewing> {
        match view {
            View::Live(live) => Some(live.views.open(&live.entry, viewer).await),
            View::Past(_) => None,
        }
    }

    /// Starts a task that a stop waits for.
    pub(crate) fn background(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.background.spawn(work);
    }

    /// Makes a stop wait, as for a task of [`Self::background`], until the token is dropped.
    pub(crate) fn background_token(&self) -> TaskTrackerToken {
        self.background.token()
    }

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

    /// It is terminal: from here on the spool answers for it.
    pub(crate) fn retire(&self, id: ExecutionId) {
        self.live
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&id);
    }

    /// Finds an execution. One that is being accepted at this moment is waited for.
    ///
    /// # Errors
    /// `not-found`, `deleted`, or the disk's.
    pub async fn find(self: &Arc<Self>, id: ExecutionId) -> Result<View, Problem> {
        let known = match self.look_up(id).await? {
            Known::View(View::Past(entry)) if !entry.is_terminal() => {
                // On disk, but its owner is still to come: the acceptance holds the turn until then.
                drop(self.engine.registry.turn(id).await);
                self.look_up(id).await?
            }
            known => known,
        };
        match known {
            Known::View(view) => Ok(view),
            Known::Deleted => Err(deleted(id)),
            Known::Burned | Known::Unknown => Err(not_found(id)),
        }
    }

    async fn look_up(self: &Arc<Self>, id: ExecutionId) -> Result<Known, Problem> {
        if let Some(live) = self.live(id) {
            return Ok(Known::View(View::Live(live)));
        }
        let service = Arc::clone(self);
        let found = tokio::task::spawn_blocking(move || match service.engine.registry.find(id) {
            Err(Failure::Damaged { source, .. }) => {
                match service.end_damaged(id, Reason::Lost, &source.to_string())? {
                    Some(entry) => Ok(Lookup::Found(entry)),
                    None => service.engine.registry.find(id),
                }
            }
            found => found,
        });
        match found.await {
            Ok(Ok(Lookup::Found(entry))) => Ok(Known::View(self.view(id, entry))),
            Ok(Ok(Lookup::Deleted)) => Ok(Known::Deleted),
            Ok(Ok(Lookup::Burned)) => Ok(Known::Burned),
            Ok(Ok(Lookup::Unknown)) => Ok(Known::Unknown),
            Ok(Err(failure)) => Err(problem(&failure)),
            Err(_) => Err(Problem::new(
                ProblemType::Internal,
                "looking the execution up failed",
            )),
        }
    }

    /// An entry may have got its owner, or lost it, while the disk was read.
    fn view(&self, id: ExecutionId, entry: spool::Entry) -> View {
        self.live(id).map_or(View::Past(entry), View::Live)
    }

    /// The status now.
    ///
    /// # Errors
    /// The disk's, and `deleted` when it was just deleted.
    pub async fn status(self: &Arc<Self>, view: &View) -> Result<Status, Problem> {
        match view {
            View::Live(live) => {
                let published = live.status.borrow().clone();
                Ok(self.fill(live, &published))
            }
            View::Past(entry) => {
                let id = ExecutionId::from(entry.id());
                let (service, entry) = (Arc::clone(self), entry.clone());
                match blocking(move || service.past_status(&entry)).await {
                    Ok(status) => {
                        self.digest_if_missing(&status);
                        Ok(status)
                    }
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(deleted(id)),
                    Err(error) => {
                        tracing::error!(execution = %id, %error, "could not read a status");
                        Err(Problem::new(
                            ProblemType::Internal,
                            "the status cannot be read; see the log",
                        ))
                    }
                }
            }
        }
    }

    /// Reads the status of an execution without an owner, and replaces a damaged status of an ended
    /// one. Blocks on the disk.
    fn past_status(&self, entry: &spool::Entry) -> std::io::Result<Status> {
        let read = || {
            let json = entry.status()?;
            Record::decode(&json)
                .map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidData, error))
        };
        let record = match read() {
            Err(error)
                if entry.is_terminal()
                    && matches!(
                        error.kind(),
                        ErrorKind::InvalidData | ErrorKind::UnexpectedEof
                    ) =>
            {
                self.end_damaged(entry.id().into(), Reason::Lost, &error.to_string())
                    .map_err(std::io::Error::other)?;
                read()
            }
            record => record,
        };
        Ok(record?.status)
    }

    /// A published status with all counters of this moment.
    pub(crate) fn fill(&self, live: &Live, published: &Published) -> Status {
        let mut status = live.fill(published, std::time::Instant::now());
        if status.state == State::Queued {
            status.queue_position = self.engine.registry.position(live.id);
        }
        status
    }
}

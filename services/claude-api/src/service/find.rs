//! Lookup of executions by their ids, in memory or on disk, and of their present statuses.

use std::io::ErrorKind;
use std::sync::Arc;

use protocol::{ExecutionId, Problem, ProblemType, Reason, State, Status};

use super::visible_status::VisibleStatus;
use super::{Service, deleted, not_found, problem};
use crate::access::{Caller, Right};
use crate::execution::live::{Live, Published};
use crate::execution::views::Viewing;
use crate::registry::record::Record;
use crate::registry::{Lookup, RegistryError};

/// An execution that a request found by its id: still live, or only on disk.
#[derive(Clone)]
pub enum FoundExecution {
    /// A task, the owner, runs the execution and writes its status. The execution stays live until
    /// its terminal status is on disk.
    Live(Live),
    /// No task runs the execution. Normally it has ended, perhaps long ago, and only its files on
    /// disk are left.
    Ended(spool::Entry),
}

impl FoundExecution {
    /// Returns the execution's files on disk: its request, status, output and events.
    #[must_use]
    pub fn entry(&self) -> &spool::Entry {
        match self {
            Self::Live(live) => &live.entry,
            Self::Ended(entry) => entry,
        }
    }
}

/// Returns an execution that was looked up, if the client sees it. Fails with 410 `deleted` or 404
/// `not-found` otherwise. An execution of another principal does not exist for the client.
pub(super) fn visible(
    known: Lookup<FoundExecution>,
    caller: &Caller,
    id: ExecutionId,
) -> Result<FoundExecution, Problem> {
    match known {
        Lookup::Found(view) if caller.sees(id, view.entry().owner()) => Ok(view),
        Lookup::Deleted(owner) if caller.sees(id, owner) => Err(deleted(id)),
        Lookup::Found(_) | Lookup::Deleted(_) | Lookup::Unknown => Err(not_found(id)),
    }
}

impl Service {
    /// Counts a client's stream of the output or the status as a view of the execution, until the
    /// result is dropped. While an execution is viewed, its scheduled cancel ("cancel when nobody
    /// views it") waits. `viewer` is the client's name from the request header. Returns `None` for
    /// an ended execution, whose views do not matter.
    pub(crate) async fn viewing(
        &self,
        view: &FoundExecution,
        viewer: Option<&str>,
    ) -> Option<Viewing> {
        match view {
            FoundExecution::Live(live) => Some(live.views.open(&live.entry, viewer).await),
            FoundExecution::Ended(_) => None,
        }
    }

    /// Finds an execution by its id, live or on disk, for a client with this right. If the id is
    /// being accepted at this moment, waits for the end of the acceptance.
    ///
    /// # Errors
    /// 403 `forbidden` if the client does not have the right. 404 `not-found` for an id that is
    /// unknown or burned, or that belongs to another principal. 410 `deleted`, or a disk error.
    pub(crate) async fn find(
        self: &Arc<Self>,
        caller: &Caller,
        id: ExecutionId,
        right: Right,
    ) -> Result<FoundExecution, Problem> {
        caller.check(right)?;
        let known = match self.look_up(id).await? {
            Lookup::Found(FoundExecution::Ended(entry)) if !entry.is_terminal() => {
                // On disk, but without an owner yet: the acceptance holds the lock of the id until
                // then.
                drop(self.engine.registry.lock_id(id).await);
                self.look_up(id).await?
            }
            known => known,
        };
        visible(known, caller, id)
    }

    /// Looks up an id, first among the live executions, then on disk. Unlike [`Self::find`], this
    /// does not wait for an acceptance in progress. If the record on disk is damaged, an end is
    /// first recorded for the execution: otherwise its clients would wait forever. Fails with the
    /// problem for a disk error.
    pub(super) async fn look_up(
        self: &Arc<Self>,
        id: ExecutionId,
    ) -> Result<Lookup<FoundExecution>, Problem> {
        if let Some(live) = self.live(id) {
            return Ok(Lookup::Found(FoundExecution::Live(live)));
        }
        let service = Arc::clone(self);
        let lookup = spool::blocking::run(move || match service.engine.registry.find(id) {
            Err(RegistryError::Damaged { source, .. }) => {
                match service.end_damaged(id, Reason::Lost, &source.to_string())? {
                    Some(entry) => Ok(Lookup::Found(entry)),
                    None => service.engine.registry.find(id),
                }
            }
            result => result,
        });
        match lookup.await {
            Ok(Ok(lookup)) => Ok(lookup.map(|entry| self.view(id, entry))),
            Ok(Err(failure)) => Err(problem(&failure)),
            Err(_) => Err(Problem::new(ProblemType::Internal, "the lookup failed")),
        }
    }

    /// Returns the view of an execution that was read from the disk. It is live if a task has
    /// started to run it since the disk was read.
    fn view(&self, id: ExecutionId, entry: spool::Entry) -> FoundExecution {
        self.live(id)
            .map_or(FoundExecution::Ended(entry), FoundExecution::Live)
    }

    /// Returns the present status of an execution, as the client may see it. A live one is answered
    /// from memory, with current counters and position in the queue, any other from the disk.
    /// Cancel-safe.
    ///
    /// # Errors
    /// 500 `internal` after a disk error, which is logged; 410 `deleted` if the execution was just
    /// deleted.
    pub(crate) async fn status(
        self: &Arc<Self>,
        caller: &Caller,
        view: &FoundExecution,
    ) -> Result<VisibleStatus, Problem> {
        let status = self.whole_status(view).await?;
        Ok(VisibleStatus::new(status, caller))
    }

    /// Returns the status that the execution's task published last, completed as [`Self::fill`]
    /// does, and as the client may see it.
    pub(crate) fn published_status(
        &self,
        caller: &Caller,
        live: &Live,
        published: &Published,
    ) -> VisibleStatus {
        VisibleStatus::new(self.fill(live, published), caller)
    }

    /// Waits for the terminal status of an execution, whose state, exit code, length and checksum
    /// are the trailers of its output. It is published a moment after the end of the output. `None`
    /// if the task that runs the execution died, or if the status cannot be read. Cancel-safe.
    pub(crate) async fn terminal_status(self: &Arc<Self>, view: &FoundExecution) -> Option<Status> {
        let status = match view {
            FoundExecution::Live(live) => live.ended().await.ok(),
            FoundExecution::Ended(_) => self.whole_status(view).await.ok(),
        };
        status.filter(|status| status.state.is_terminal())
    }

    /// Returns the present status of an execution with all fields, for the service itself. Fails as
    /// [`Self::status`] does.
    pub(super) async fn whole_status(
        self: &Arc<Self>,
        view: &FoundExecution,
    ) -> Result<Status, Problem> {
        match view {
            FoundExecution::Live(live) => {
                let published = live.status.borrow().clone();
                Ok(self.fill(live, &published))
            }
            FoundExecution::Ended(entry) => {
                let id = ExecutionId::from(entry.id());
                // Before the disk is read: the last counts are written there before they leave
                // the queue.
                let webhook = self.engine.webhooks.status(id);
                let (service, entry) = (Arc::clone(self), entry.clone());
                match spool::blocking::run_io(move || service.recorded_status(&entry)).await {
                    Ok(mut status) => {
                        status.webhook = webhook.or(status.webhook);
                        self.digest_if_missing(&status);
                        Ok(status)
                    }
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(deleted(id)),
                    Err(error) => {
                        tracing::error!(
                            execution = %id,
                            %error,
                            "could not read the status of an execution from disk; the request fails"
                        );
                        Err(Problem::new(
                            ProblemType::Internal,
                            "the status cannot be read; the log of claude-api says why",
                        ))
                    }
                }
            }
        }
    }

    /// Reads the status of an execution that no task runs from its record on disk. If the execution
    /// has ended but its status is damaged, a new terminal status is written first and returned.
    /// Blocks on the disk.
    pub(super) fn recorded_status(&self, entry: &spool::Entry) -> std::io::Result<Status> {
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

    /// Returns the status that the execution's task published last, completed with the values that
    /// change too often to be published: the counters, the position in the queue, and the
    /// deliveries of the webhook.
    fn fill(&self, live: &Live, published: &Published) -> Status {
        let mut status = live.fill(published, std::time::Instant::now());
        if status.state == State::Queued {
            status.queue_position = self.engine.registry.position(live.id);
        }
        if status.webhook.is_some() {
            status.webhook = self.engine.webhooks.status(live.id).or(status.webhook);
        }
        status
    }
}

//! From an accepted execution to its recorded end: starts the owner, lets the policies follow, records the
//! end, shows it and takes the execution off the live ones.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use protocol::{Reason, State, Status};
use tokio::sync::watch;

use super::Service;
use super::after_hooks::run_after;
use super::digest::digest_later;
use crate::execution::ending::{Ended, cancelled};
use crate::execution::live::{Live, Published};
use crate::execution::owner::Owner;
use crate::execution::wish::{EndWish, Wishes};
use crate::registry::record::Accepted;
use crate::registry::{Finish, Ticket};

/// How many times a terminal status is written before it is published unwritten: a disk may fail for
/// a moment.
const TRIES: u32 = 4;
/// How long until a disk that takes nothing is tried again.
const RETRY: Duration = Duration::from_secs(2);

/// The work of an owner from acceptance to its end; tests replace it.
pub(super) type Work = for<'a> fn(&'a mut Owner, &'a mut Ticket) -> BoxFuture<'a, Ended>;

/// The work of every execution outside of tests.
pub(super) const OWN: Work = |owner, ticket| owner.own(ticket).boxed();

impl Service {
    /// Gives an accepted execution its owner.
    pub(super) fn adopt(
        self: &Arc<Self>,
        accepted: Accepted,
        entry: spool::Entry,
        status: Status,
        ticket: Ticket,
    ) -> Live {
        let id = status.execution_id;
        let wishes = Arc::new(Wishes::new(status.state == State::Queued));
        let (publish, watch) = watch::channel(Published {
            status: Arc::new(status),
            before: Duration::ZERO,
            since: None,
        });
        let input = self.gate(&accepted);
        let live = Live {
            id,
            entry: entry.clone(),
            status: watch,
            wishes: Arc::clone(&wishes),
            cancel_noted: Arc::default(),
            views: Arc::default(),
            input: input.clone(),
        };
        self.live
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id, live.clone());
        let engine = Arc::clone(&self.engine);
        let owner = Owner::new(engine, accepted, entry, publish, wishes, input);
        tokio::spawn(Arc::clone(self).supervise(owner, ticket, OWN));
        live
    }

    /// Sees the owner of an execution to its recorded end. The ticket, which holds the lane, is given
    /// up only when nothing of the execution is left, also when the owner panics.
    pub(super) async fn supervise(
        self: Arc<Self>,
        mut owner: Owner,
        mut ticket: Ticket,
        work: Work,
    ) {
        let id = owner.entry.id().into();
        // After a panic only the runner and the disk are used; the owner's half-changed state is
        // dropped.
        let whole_life = async {
            let ended = work(&mut owner, &mut ticket).await;
            self.finish(&mut owner, ended).await;
        };
        if AssertUnwindSafe(whole_life).catch_unwind().await.is_err() {
            tracing::error!(execution = %id, "the owner of the execution panicked");
            self.orphaned(id, owner.runner.take()).await;
        }
    }

    /// Lets the policies follow an end, records it, shows it, and takes the execution off the live ones.
    ///
    /// An end that cannot be written is published all the same. The execution stays live until the
    /// write succeeds, so that all clients see one end. When the service stops, the retries end, and
    /// the next start ends the execution.
    pub(crate) async fn finish(self: &Arc<Self>, owner: &mut Owner, ended: Ended) {
        let Ended {
            mut status,
            context,
            digest_is_due,
        } = ended;
        let continuation = match context {
            None => None,
            Some(context) => {
                let (body, entry) = (&owner.accepted.body, &owner.entry);
                self.follow_end(body, entry, &mut status, context).await
            }
        };
        // A cancel during the steps above counts as before the end, and cancels a continuation as well.
        // A later cancel changes nothing and is answered with this end.
        let is_cancelled = owner.wishes.seal() == Some(EndWish::Cancel);
        if is_cancelled && status.state != State::Cancelled {
            cancelled(&mut status, owner.times.now());
        }
        match continuation {
            Some(continuation) if is_cancelled => self.cancel_continuation(continuation).await,
            Some(continuation) => {
                self.enqueue(continuation);
            }
            None => {}
        }
        let recorded = record_end(owner, &status).await;
        if recorded == Some(Finish::EarlierStands) {
            tracing::error!(execution = %status.execution_id, "it had ended already");
            let (service, entry) = (Arc::clone(self), owner.entry.clone());
            match spool::blocking::run_io(move || service.recorded_status(&entry)).await {
                Ok(earlier) => status = earlier,
                Err(error) => {
                    tracing::error!(execution = %status.execution_id, %error, "could not read the end that stands");
                }
            }
        }
        // A stop that sees the end published waits for the hook that follows.
        let _hook_follows = self.background_token();
        owner.show(&status, Duration::ZERO, None);
        owner.wishes.answer_all();
        if recorded != Some(Finish::EarlierStands) {
            self.engine.metrics.ended(&status);
        }
        log(&status, owner.prompt_bytes);
        if recorded.is_none() {
            let execution = status.execution_id;
            tracing::error!(%execution, "could not write the terminal status; retrying");
            while record_end(owner, &status).await.is_none() {
                tokio::select! {
                    () = tokio::time::sleep(RETRY) => {}
                    () = self.stopping() => return,
                }
            }
        }
        self.retire(status.execution_id);
        if digest_is_due {
            digest_later(self, status.execution_id);
        }
        run_after(self, status);
    }
}

/// Records the end; `None` when the disk did not take it.
async fn record_end(owner: &Owner, status: &Status) -> Option<Finish> {
    for attempt in 1..=TRIES {
        let (engine, entry) = (Arc::clone(&owner.engine), owner.entry.clone());
        let (status, cli) = (status.clone(), owner.cli.clone());
        let execution = status.execution_id;
        let finish = move || engine.registry.finish(&entry, &status, cli.as_ref());
        match spool::blocking::run_io(finish).await {
            Ok(finish) => return Some(finish),
            Err(error) if attempt == TRIES => {
                tracing::warn!(%execution, %error, "the terminal status was not written");
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(10 << attempt)).await,
        }
    }
    None
}

/// The one wide event of an execution.
fn log(status: &Status, prompt_bytes: usize) {
    tracing::info!(
        execution = %status.execution_id,
        state = status.state.as_str(),
        reason = status.reason.map(Reason::as_str),
        exit_code = status.exit_code,
        prompt_bytes,
        output_bytes = status.output_bytes,
        duration_ms = status.duration_ms,
        queued_ms = status.started_at.map(|at| at.as_millisecond() - status.created_at.as_millisecond()),
        cost_usd = status.cost_usd,
        restarts = status.restarts,
        warnings = status.warnings.len(),
        lane = status.lane,
        workspace = status.workspace,
        "execution ended"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::testing::{accepted, entry, open, owner, status};

    #[tokio::test]
    async fn an_earlier_end_on_disk_is_the_one_that_is_shown() {
        let dir = tempfile::tempdir().unwrap();
        let service = open(dir.path());
        let id = accepted(&service, State::Running);
        let mut first = status(&service, id);
        first.state = State::Interrupted;
        let recorded = service
            .engine
            .registry
            .finish(&entry(&service, id), &first, None);
        assert_eq!(recorded.unwrap(), Finish::Recorded);
        let (mut owner, _ticket) = owner(&service, id, &[]);
        let shown = owner.publish.subscribe();
        let mut second = first.clone();
        second.state = State::Completed;
        let ended = Ended {
            status: second,
            context: None,
            digest_is_due: false,
        };
        service.finish(&mut owner, ended).await;
        assert_eq!(*shown.borrow().status, first);
        assert_eq!(status(&service, id), first);
    }
}

//! Supervision of an execution from its acceptance to its recorded end. This module starts the
//! owner (the one task that runs the execution), applies the policies for continuations, writes and
//! publishes the terminal status, and removes the execution from the live ones.

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
use crate::cli;
use crate::execution::ending::{Ended, cancelled};
use crate::execution::live::{Live, Published};
use crate::execution::owner::Owner;
use crate::execution::trace;
use crate::execution::wish::{EndWish, Wishes};
use crate::registry::record::Accepted;
use crate::registry::{Finish, Ticket};

/// How often the write of a terminal status is tried before clients see the status although it is
/// not on disk. Several attempts, because a disk may fail for a moment.
const WRITE_ATTEMPTS: u32 = 4;
/// The pause between further series of [`WRITE_ATTEMPTS`], while clients see a terminal status that
/// is not on disk yet.
const WRITE_RETRY: Duration = Duration::from_secs(2);

/// The function that runs an execution from its acceptance to its end. Tests replace it, for
/// example to panic.
pub(super) type Work = for<'a> fn(&'a mut Owner, &'a mut Ticket) -> BoxFuture<'a, Ended>;

/// The function that runs every execution outside of tests: the owner waits for its permit, runs
/// the CLI and computes the end.
pub(super) const OWNER_WORK: Work = |owner, ticket| owner.drive(ticket).boxed();

impl Service {
    /// Starts the owner of an accepted execution, which is the one task that runs it and writes its
    /// status. Returns the handle over which requests read its status and send controls. From now
    /// on the execution is live.
    pub(super) fn start_owner(
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
        let gate = self.gate(&accepted);
        let questions = self.questions(&accepted, &entry, gate.as_ref());
        let live = Live {
            id,
            entry: entry.clone(),
            status: watch,
            wishes: Arc::clone(&wishes),
            is_cancel_noted: Arc::default(),
            views: Arc::default(),
            input: gate.clone().filter(|_| cli::takes_input(&accepted.body)),
            questions: questions.clone(),
        };
        self.live
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id, live.clone());
        let engine = Arc::clone(&self.engine);
        let owner = Owner::new(engine, accepted, entry, publish, wishes, gate, questions);
        tokio::spawn(Arc::clone(self).supervise(owner, ticket, OWNER_WORK));
        live
    }

    /// Runs the owner of an execution, and records the end that it returns. If the owner panics,
    /// the processes are killed and an end is recorded too. `ticket` holds the permit to run and
    /// the lane; it is dropped only when no process of the execution is left.
    pub(super) async fn supervise(
        self: Arc<Self>,
        mut owner: Owner,
        mut ticket: Ticket,
        work: Work,
    ) {
        let id = owner.entry.id().into();
        // Unwind safe: after a panic, only the runner and the disk are used, and the rest of the
        // owner's state is dropped.
        let owner_life = async {
            let ended = work(&mut owner, &mut ticket).await;
            self.finish(&mut owner, ended).await;
        };
        if AssertUnwindSafe(owner_life).catch_unwind().await.is_err() {
            tracing::error!(
                execution = %id,
                "the task that runs an execution panicked; killing the processes to end it"
            );
            self.end_after_panic(id, owner.runner.take()).await;
        }
    }

    /// Completes an execution that has ended: creates a continuation if a policy asks for one,
    /// writes and publishes the terminal status, and removes the execution from the live ones.
    ///
    /// A terminal status that cannot be written to disk is still published, and the write is
    /// retried. The execution stays live until the write succeeds, so all clients see the same end.
    /// A stop of the service ends the retries; the next start then ends the execution.
    pub(crate) async fn finish(self: &Arc<Self>, owner: &mut Owner, ended: Ended) {
        let Ended {
            mut status,
            context,
            digest_is_due,
        } = ended;
        if status.principal.is_some() && status.cost_usd.is_some() {
            // Before the end is recorded, so that a kill in between does not lose the cost; and
            // before a policy asks whether the budget is spent.
            let (service, counted) = (Arc::clone(self), status.clone());
            let _ = spool::blocking::run(move || service.count_cost(&counted)).await;
        }
        let continuation = match context {
            None => None,
            Some(context) => {
                let (body, entry) = (&owner.accepted.body, &owner.entry);
                self.apply_policies(body, entry, &mut status, context).await
            }
        };
        // A cancel that arrived during the steps above counts as accepted before the end, and
        // cancels the continuation as well. A later cancel changes nothing and is answered with
        // this end.
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
            tracing::error!(
                execution = %status.execution_id,
                "an execution has an earlier end on disk; that end is kept and published"
            );
            let (service, entry) = (Arc::clone(self), owner.entry.clone());
            match spool::blocking::run_io(move || service.recorded_status(&entry)).await {
                Ok(earlier) => status = earlier,
                Err(error) => {
                    let execution = status.execution_id;
                    tracing::error!(
                        %execution,
                        %error,
                        "could not read the earlier end of an execution; publishing the new end"
                    );
                }
            }
        }
        if recorded.is_some() {
            self.report_end_to_webhook(&status).await;
        }
        // A stop that sees the published end must also wait for the hook after the execution.
        let _hook_follows = self.background_token();
        owner.show(&status, Duration::ZERO, None);
        owner.wishes.answer_all();
        if recorded != Some(Finish::EarlierStands) {
            self.engine.metrics.ended(&status);
            let tracer = &self.engine.tracer;
            trace::export(tracer, &owner.accepted, &status, owner.first_output);
        }
        log_end(&status, owner.prompt_bytes);
        if recorded.is_none() {
            let execution = status.execution_id;
            tracing::error!(%execution, "could not write the terminal status; retrying");
            while record_end(owner, &status).await.is_none() {
                tokio::select! {
                    () = tokio::time::sleep(WRITE_RETRY) => {}
                    () = self.stopping() => return,
                }
            }
            self.report_end_to_webhook(&status).await;
        }
        self.retire(status.execution_id);
        if digest_is_due {
            digest_later(self, status.execution_id);
        }
        run_after(self, status);
    }

    /// Adds the event `ended` to the queue of webhooks, before the end is published: a client that
    /// sees the end may delete the execution. Returns immediately without a webhook.
    async fn report_end_to_webhook(self: &Arc<Self>, status: &Status) {
        if self.engine.webhooks.has(status.execution_id) {
            let (service, status) = (Arc::clone(self), status.clone());
            let _ = spool::blocking::run(move || service.report_webhook_end(&status)).await;
        }
    }
}

/// Writes the terminal status to disk, in at most [`WRITE_ATTEMPTS`] attempts with short pauses.
/// Returns whether this status was recorded or an earlier one stands; `None` if all attempts
/// failed, which is logged.
async fn record_end(owner: &Owner, status: &Status) -> Option<Finish> {
    for attempt in 1..=WRITE_ATTEMPTS {
        let (engine, entry) = (Arc::clone(&owner.engine), owner.entry.clone());
        let (status, cli) = (status.clone(), owner.cli.clone());
        let execution = status.execution_id;
        let finish = move || engine.registry.finish(&entry, &status, cli.as_ref());
        match spool::blocking::run_io(finish).await {
            Ok(finish) => return Some(finish),
            Err(error) if attempt == WRITE_ATTEMPTS => {
                tracing::warn!(
                    %execution,
                    %error,
                    "all attempts to write the terminal status to disk failed"
                );
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(10 << attempt)).await,
        }
    }
    None
}

/// Logs the line `execution ended`, once for each execution, with all facts about it that an
/// operator may search for.
fn log_end(status: &Status, prompt_bytes: usize) {
    let queued = status
        .started_at
        .map(|started| started.as_millisecond() - status.created_at.as_millisecond());
    tracing::info!(
        execution = %status.execution_id,
        state = status.state.as_str(),
        reason = status.reason.map(Reason::as_str),
        exit_code = status.exit_code,
        prompt_bytes,
        output_bytes = status.output_bytes,
        duration_ms = status.duration_ms,
        queued_ms = queued,
        cost_usd = status.cost_usd,
        restarts = status.restarts,
        warnings = status.warnings.len(),
        lane = status.lane,
        workspace = status.workspace,
        principal = status.principal,
        "execution ended"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::testing::{accepted, entry, open, owner, status};

    #[tokio::test]
    async fn an_earlier_end_on_disk_is_published_instead_of_a_second_one() {
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

//! Ends of executions that no task runs. Normally the owner, the task that runs an execution,
//! records its end. This module does so for executions that are found unfinished at a start, that
//! have a damaged record, or whose owner panicked.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use protocol::trailers::crc32_text;
use protocol::{ErrorInfo, ExecutionId, Reason, State, Status};

use super::Service;
use super::continue_by_policy::Continuation;
use crate::execution::ending::EMPTY_SHA256;
use crate::execution::policy::{EndContext, was_asked};
use crate::execution::trace;
use crate::registry::record::{Accepted, Record};
use crate::registry::{DamageOutcome, Finish, Ownerless, RegistryError};
use crate::times::Times;

/// The pause between two attempts to write the terminal status of an execution whose owner
/// panicked.
const END_RETRY: Duration = Duration::from_secs(2);

/// How long a runner may take to kill the processes of its execution after a panic of the owner.
/// Then the runner, the parent process of the CLI, is killed itself.
const RUNNER_END: Duration = Duration::from_secs(4);

impl Service {
    /// Reads the status of an execution that no task runs from the disk, and whether a client had
    /// cancelled it. Blocks on the disk.
    ///
    /// # Errors
    /// The execution is not on disk, its record is damaged, or the disk failed.
    pub(super) fn read_ownerless(&self, id: ExecutionId) -> anyhow::Result<Ownerless> {
        let found = self.engine.registry.find(id)?;
        let entry = found
            .into_option()
            .context("the folder of the execution is missing")?;
        let record = Record::decode(&entry.status()?).context("the status of the execution")?;
        let cancelled = entry.is_cancel_noted()?;
        Ok(Ownerless {
            entry,
            record,
            cancelled,
        })
    }

    /// Records an end for an execution that could not be recovered at the start, because of
    /// `error`. Without an end, its clients would wait forever. If this fails too, it is logged,
    /// and the next start tries again. Blocks on the disk.
    pub(super) fn end_unrecoverable(&self, id: ExecutionId, error: &anyhow::Error) {
        let cause = format!("{error:#}");
        tracing::error!(
            execution = %id,
            error = cause,
            "could not recover an execution from disk; recording an end for it"
        );
        if let Err(error) = self.end_damaged(id, Reason::ServiceStopped, &cause) {
            tracing::error!(
                execution = %id,
                %error,
                "could not record the end of an unrecoverable execution; the next start retries"
            );
        }
    }

    /// Writes a terminal status for an execution whose record is damaged and that no task runs. The
    /// state is `cancelled` if a client had cancelled it, otherwise `interrupted` for `reason`.
    /// `cause` describes the damage to clients. If a terminal status on disk can be read, it stays.
    ///
    /// Returns the execution's files, or `None` if the execution does not exist any more. Blocks on
    /// the disk.
    pub(super) fn end_damaged(
        &self,
        id: ExecutionId,
        reason: Reason,
        cause: &str,
    ) -> Result<Option<spool::Entry>, RegistryError> {
        let outcome = self.engine.registry.end_damaged(id, |ownerless| {
            tracing::error!(
                execution = %id,
                why = cause,
                "ending an execution whose record is damaged on disk"
            );
            let (mut status, _) = terminal_status(ownerless, reason)?;
            status.error = Some(ErrorInfo {
                code: "record_damaged".to_owned(),
                message: format!(
                    "the record of the execution is damaged on disk ({cause}); check the disk"
                ),
            });
            Ok(status)
        })?;
        Ok(match outcome {
            DamageOutcome::Missing => None,
            DamageOutcome::Intact(entry) => Some(entry),
            DamageOutcome::Ended(entry, status) => {
                self.report_end(&entry, &status);
                Some(entry)
            }
        })
    }

    /// Kills the processes that an execution left behind, and writes its terminal status:
    /// `cancelled` if a client had cancelled it, otherwise `interrupted` for `reason`.
    ///
    /// `continuation` is set if a policy continues the execution, even if this returns an error:
    /// the continuation is on disk, and a repeated call creates no second one. Blocks on the disk.
    ///
    /// # Errors
    /// A disk error. The execution has no terminal status then.
    pub(super) fn interrupt(
        &self,
        ownerless: Ownerless,
        reason: Reason,
        continuation: &mut Option<Continuation>,
    ) -> anyhow::Result<()> {
        let (mut status, context) = terminal_status(&ownerless, reason)?;
        let Ownerless {
            entry,
            record,
            cancelled,
        } = ownerless;
        self.count_cost(&status);
        if status.continued_by.is_none() && !cancelled {
            *continuation = self.create_continuation(&entry, &mut status, context);
        }
        let finish = self
            .engine
            .registry
            .finish(&entry, &status, record.cli.as_ref())?;
        if finish == Finish::Recorded {
            self.report_end(&entry, &status);
        }
        Ok(())
    }

    /// Adds an end that was just written to disk to the metrics and to the queue of webhooks,
    /// exports the execution's span, and logs it. The span is left out if the stored request cannot
    /// be read. Blocks on the disk.
    fn report_end(&self, entry: &spool::Entry, status: &Status) {
        self.engine.metrics.ended(status);
        self.report_webhook_end(status);
        if self.engine.tracer.is_on()
            && let Ok(body) = entry.body()
            && let Ok(accepted) = serde_json::from_slice::<Accepted>(&body)
        {
            trace::export(&self.engine.tracer, &accepted, status, None);
        }
        tracing::info!(
            execution = %status.execution_id,
            state = status.state.as_str(),
            output_bytes = status.output_bytes,
            "execution ended"
        );
    }

    /// Records the end of an execution whose owner, the task that ran it, panicked. Waits until
    /// none of its processes is left.
    ///
    /// The execution's runner notices that its control socket has closed, and kills the processes.
    /// The execution stays live until its terminal status is on disk: otherwise it would never end.
    /// If the service stops, the retries end, and the next start records the end.
    pub(super) async fn end_after_panic(
        self: &Arc<Self>,
        id: ExecutionId,
        runner: Option<runner::CommandSender>,
    ) {
        // The runner is waited for first: while it lives, the sweep skips it and its tree.
        if let Some(runner) = runner {
            runner.ended(RUNNER_END).await;
        }
        if !self.engine.runners.sweep_orphans().await.is_empty() {
            self.engine.start_sweeping();
        }
        loop {
            let service = Arc::clone(self);
            let recorded = spool::blocking::run(move || {
                let mut continuation = None;
                let recorded = service.read_ownerless(id).and_then(|ownerless| {
                    if ownerless.record.status.state.is_terminal() {
                        return Ok(());
                    }
                    service.interrupt(ownerless, Reason::RunnerDied, &mut continuation)
                });
                (continuation, recorded)
            });
            match recorded.await {
                Ok((continuation, recorded)) => {
                    // The continuation waits in the queue until this execution releases its
                    // conversation.
                    if let Some(continuation) = continuation {
                        self.enqueue(continuation);
                    }
                    let Err(error) = recorded else { break };
                    tracing::error!(
                        execution = %id,
                        %error,
                        "could not record the end of an execution after a panic; retrying in 2 s"
                    );
                }
                Err(error) => {
                    tracing::error!(
                        execution = %id,
                        %error,
                        "a panic prevented the record of the end of an execution; retrying in 2 s"
                    );
                }
            }
            tokio::select! {
                () = self.stopping() => return,
                () = tokio::time::sleep(END_RETRY) => {}
            }
        }
        self.retire(id);
    }
}

/// Kills the processes that an execution left behind, and returns its terminal status: `cancelled`
/// if a cancel was accepted, otherwise `interrupted` for `reason`. Length and checksum in the
/// status cover all output that readers may have seen. Fails if the output on disk cannot be read.
fn terminal_status(ownerless: &Ownerless, reason: Reason) -> std::io::Result<(Status, EndContext)> {
    let Ownerless {
        entry,
        record,
        cancelled,
    } = ownerless;
    let mut status = record.status.clone();
    if let Some(cli) = &record.cli {
        let sweep = runner::sweep_stale(cli.pid, cli.start_ticks, &cli.boot_id);
        let execution = status.execution_id;
        tracing::info!(
            %execution,
            ?sweep,
            "swept the processes of an earlier run"
        );
    }
    let marks = *entry.marks()?.borrow();
    let context = EndContext {
        // A reader may have seen output before the activity was recorded.
        asked: was_asked(&status) || marks.len > 0,
        resets_at: None,
    };
    status.state = if *cancelled {
        State::Cancelled
    } else {
        State::Interrupted
    };
    status.reason = (!cancelled).then_some(reason);
    if *cancelled {
        // The continuation was cancelled together with the execution.
        status.continued_by = None;
    }
    status.exit_code = None;
    status.ended_at = Some(Times::following(&status).now());
    status.activity = None;
    status.stalled = false;
    status.queue_position = None;
    status.questions.clear();
    status.questions_open = 0;
    status.output_bytes = marks.len;
    status.kept_from = marks.kept_from;
    status.crc32 = Some(crc32_text(marks.crc32));
    // The SHA-256 of any other output is computed at the next read of its status: a start does not
    // wait for it.
    status.sha256 = (marks.len == 0).then(|| EMPTY_SHA256.to_owned());
    Ok((status, context))
}

//! Ends of executions without an owner: those that a start finds, those with a damaged record, and
//! those whose owner panicked.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use protocol::trailers::crc32_text;
use protocol::{ErrorInfo, ExecutionId, Reason, State, Status};

use super::Service;
use super::continue_by_policy::Continuation;
use crate::execution::ending::EMPTY_SHA256;
use crate::execution::policy::{EndContext, was_asked};
use crate::registry::record::Record;
use crate::registry::{Finish, Mended, RegistryError, Remains};
use crate::times::Times;

/// The pause between attempts to record the end of an execution whose owner panicked.
const ORPHAN_RETRY: Duration = Duration::from_secs(2);

/// How long a runner may take to sweep after the panic of its execution's owner before it is killed
/// itself.
const RUNNER_END: Duration = Duration::from_secs(4);

impl Service {
    /// Reads an execution from the disk.
    pub(super) fn remains(&self, id: ExecutionId) -> anyhow::Result<Remains> {
        let found = self.engine.registry.find(id)?;
        let entry = found
            .found()
            .context("the folder of the execution is missing")?;
        let record = Record::decode(&entry.status()?).context("its status")?;
        let cancelled = entry.cancel_noted()?;
        Ok(Remains {
            entry,
            record,
            cancelled,
        })
    }

    /// Ends an execution that cannot be recovered, so that no client waits for ever.
    pub(super) fn not_recovered(&self, id: ExecutionId, error: &anyhow::Error) {
        let why = format!("{error:#}");
        tracing::error!(execution = %id, error = why, "could not recover an execution");
        if let Err(error) = self.end_damaged(id, Reason::ServiceStopped, &why) {
            tracing::error!(execution = %id, %error, "could not record the end of an execution");
        }
    }

    /// Ends an execution without an owner whose record is damaged, as interrupted for `reason`, and
    /// gives its entry. An end that is whole on disk stays. None where there is no such execution
    /// any more. Blocks on the disk.
    pub(super) fn end_damaged(
        &self,
        id: ExecutionId,
        reason: Reason,
        why: &str,
    ) -> Result<Option<spool::Entry>, RegistryError> {
        let mended = self.engine.registry.end_damaged(id, |remains| {
            tracing::error!(execution = %id, why, "ended an execution with a damaged record");
            let (mut status, _) = interrupted(remains, reason)?;
            status.error = Some(ErrorInfo {
                code: "record_damaged".to_owned(),
                message: format!(
                    "the record of the execution is damaged on disk ({why}); check the disk"
                ),
            });
            Ok(status)
        })?;
        Ok(match mended {
            Mended::Missing => None,
            Mended::Whole(entry) => Some(entry),
            Mended::Ended(entry, status) => {
                self.note_interrupted(&status);
                Some(entry)
            }
        })
    }

    /// Kills what is left of an execution and records its end. A policy may have an interrupted one
    /// continued: `continuation` holds the new execution then, also when the end could not be
    /// recorded. It is on disk, and the next attempt makes no other one. Blocks on the disk.
    ///
    /// # Errors
    /// The disk's; the execution has not ended then.
    pub(super) fn interrupt(
        &self,
        remains: Remains,
        reason: Reason,
        continuation: &mut Option<Continuation>,
    ) -> anyhow::Result<()> {
        let (mut status, context) = interrupted(&remains, reason)?;
        let Remains {
            entry,
            record,
            cancelled,
        } = remains;
        if status.continued_by.is_none() && !cancelled {
            *continuation = self.follow_up(&entry, &mut status, context);
        }
        let finish = self
            .engine
            .registry
            .finish(&entry, &status, record.cli.as_ref())?;
        if finish == Finish::Recorded {
            self.note_interrupted(&status);
        }
        Ok(())
    }

    fn note_interrupted(&self, status: &Status) {
        self.engine.metrics.ended(status);
        tracing::info!(
            execution = %status.execution_id,
            state = status.state.as_str(),
            output_bytes = status.output_bytes,
            "execution ended"
        );
    }

    /// Records the end of an execution whose owner panicked, once none of its processes is left.
    /// Its runner sees the control socket close and sweeps. The execution stays live until its end
    /// is on disk: otherwise nothing would ever end it. When the service stops, the retries end, and
    /// the next start records the end.
    pub(super) async fn orphaned(
        self: &Arc<Self>,
        id: ExecutionId,
        runner: Option<runner::Control>,
    ) {
        // A live runner and its tree are no orphans: wait for its end first.
        if let Some(runner) = runner {
            runner.ended(RUNNER_END).await;
        }
        if !self.engine.runners.sweep_orphans().await.is_empty() {
            self.engine.sweep_on();
        }
        loop {
            let service = Arc::clone(self);
            let recorded = spool::blocking::run(move || {
                let mut continuation = None;
                let recorded = service.remains(id).and_then(|remains| {
                    if remains.record.status.state.is_terminal() {
                        return Ok(());
                    }
                    service.interrupt(remains, Reason::RunnerDied, &mut continuation)
                });
                (continuation, recorded)
            });
            match recorded.await {
                Ok((continuation, recorded)) => {
                    // It waits for the lane and the conversation of the one that it continues.
                    if let Some(continuation) = continuation {
                        self.enqueue(continuation);
                    }
                    let Err(error) = recorded else { break };
                    tracing::error!(execution = %id, %error, "could not record the end of an execution; retrying");
                }
                Err(error) => {
                    tracing::error!(execution = %id, %error, "recording the end panicked");
                }
            }
            tokio::select! {
                () = self.stopping() => return,
                () = tokio::time::sleep(ORPHAN_RETRY) => {}
            }
        }
        self.retire(id);
    }
}

/// Kills the processes that are left of an execution and makes its terminal status: `cancelled` if
/// a cancel was accepted, otherwise `interrupted` for `reason`. The output is what readers have
/// seen.
fn interrupted(remains: &Remains, reason: Reason) -> std::io::Result<(Status, EndContext)> {
    let Remains {
        entry,
        record,
        cancelled,
    } = remains;
    let mut status = record.status.clone();
    if let Some(cli) = &record.cli {
        let sweep = runner::sweep_stale(cli.pid, cli.start_ticks, &cli.boot_id);
        tracing::info!(execution = %status.execution_id, ?sweep, "swept");
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
        // Its continuation was cancelled with it.
        status.continued_by = None;
    }
    status.exit_code = None;
    status.ended_at = Some(Times::following(&status).now());
    status.activity = None;
    status.stalled = false;
    status.queue_position = None;
    status.output_bytes = marks.len;
    status.kept_from = marks.kept_from;
    status.crc32 = Some(crc32_text(marks.crc32));
    // The SHA-256 of any other output is computed when its status is next read: a start does
    // not wait for it.
    status.sha256 = (marks.len == 0).then(|| EMPTY_SHA256.to_owned());
    Ok((status, context))
}

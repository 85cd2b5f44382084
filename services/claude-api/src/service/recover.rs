//! After a start: the folder is the truth. Queued executions run now, the others were interrupted.

use std::sync::Arc;

use anyhow::Context;
use protocol::body::DEFAULT_WORKSPACE;
use protocol::trailers::crc32_text;
use protocol::{ExecutionId, Reason, State, Status};

use super::Service;
use crate::execution::Accepted;
use crate::execution::accepted::Record;
use crate::execution::task::now;

impl Service {
    /// Sweeps what an earlier life left and puts the queue back. Blocks on the disk; call it before serving.
    ///
    /// # Errors
    /// The spool cannot be listed.
    pub fn recover(self: &Arc<Self>) -> anyhow::Result<()> {
        let unfinished = self.spool.unfinished()?;
        let (mut queued, mut interrupted) = (0, 0);
        for id in unfinished {
            match self.recover_one(id.into()) {
                Ok(State::Queued) => queued += 1,
                Ok(_) => interrupted += 1,
                Err(error) => {
                    tracing::error!(execution = %id, error = format!("{error:#}"), "not recovered");
                    if let Err(error) = self.give_up(id.into()) {
                        tracing::error!(execution = %id, error = format!("{error:#}"), "its end was not recorded");
                    }
                }
            }
        }
        if queued + interrupted > 0 {
            tracing::info!(queued, interrupted, "recovered");
        }
        Ok(())
    }

    fn recover_one(self: &Arc<Self>, id: ExecutionId) -> anyhow::Result<State> {
        let entry = self.spool.get(id.uuid())?.context("its folder is gone")?;
        let record = Record::decode(&entry.status()?).context("its status")?;
        if record.status.state != State::Queued {
            self.interrupt(&entry, record, Reason::ServiceStopped)?;
            return Ok(State::Interrupted);
        }
        let accepted: Accepted = serde_json::from_slice(&entry.body()?).context("its body")?;
        if let Err(error) = self
            .conversations
            .add(&accepted.conversation, &accepted.body.workspace)
        {
            // Only who wants to go on in it later is told that it is unknown.
            tracing::warn!(execution = %id, %error, "the conversation's note was not written");
        }
        let ticket =
            self.admission
                .restore(id, accepted.body.lane.as_deref(), &accepted.conversation);
        self.adopt(accepted, entry, record.status, ticket);
        Ok(State::Queued)
    }

    /// What cannot be understood can still be ended: nobody waits for it for ever.
    fn give_up(&self, id: ExecutionId) -> anyhow::Result<()> {
        let entry = self.spool.get(id.uuid())?.context("its folder is gone")?;
        let record = entry
            .status()
            .ok()
            .and_then(|json| Record::decode(&json).ok());
        let record = record.unwrap_or_else(|| Record {
            status: Status::queued(id, now(), DEFAULT_WORKSPACE.to_owned()),
            cli: None,
        });
        self.interrupt(&entry, record, Reason::ServiceStopped)
    }

    /// Kills what is left of it and records the end. What readers have seen is in the spool.
    fn interrupt(
        &self,
        entry: &spool::Entry,
        record: Record,
        reason: Reason,
    ) -> anyhow::Result<()> {
        let Record { mut status, cli } = record;
        if let Some(cli) = &cli {
            let sweep = runner::sweep_stale(cli.pid, cli.start_ticks, &cli.boot_id);
            tracing::info!(execution = %status.execution_id, ?sweep, "swept");
        }
        let marks = *entry.marks()?.borrow();
        status.state = State::Interrupted;
        status.reason = Some(reason);
        status.exit_code = None;
        status.ended_at = Some(now());
        status.activity = None;
        status.stalled = false;
        status.queue_position = None;
        status.output_bytes = marks.len;
        status.kept_from = marks.kept_from;
        status.crc32 = Some(crc32_text(marks.crc32));
        let json = Record::encode(&status, cli.as_ref(), self.status_bytes());
        entry.write_status(&json, true, true)?;
        tracing::info!(
            execution = %status.execution_id,
            state = status.state.as_str(),
            output_bytes = status.output_bytes,
            "execution ended"
        );
        Ok(())
    }

    /// Its owner panicked: the runner sees its control socket close and sweeps; the end is recorded here.
    pub(super) async fn orphaned(self: &Arc<Self>, id: ExecutionId) {
        self.runners.sweep_orphans().await;
        let service = Arc::clone(self);
        let recorded = tokio::task::spawn_blocking(move || {
            let entry = service
                .spool
                .get(id.uuid())?
                .context("its folder is gone")?;
            let record = Record::decode(&entry.status()?)?;
            if !record.status.state.is_terminal() {
                service.interrupt(&entry, record, Reason::RunnerDied)?;
            }
            anyhow::Ok(())
        });
        if let Ok(Err(error)) = recorded.await {
            tracing::error!(execution = %id, %error, "the end was not recorded");
        }
        self.retire(id);
    }
}

//! Recovery of unfinished executions at the start of the service, from the records on disk alone.
//! Executions that waited in the queue are queued again. Executions that ran end as `interrupted`,
//! or as `cancelled` if a client's cancel was accepted before the service was killed.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use anyhow::Context;
use protocol::{ExecutionId, Reason, State};

mod conversation_notes;

use super::Service;
use super::continue_by_policy::copy_unviewed_cancel;
use crate::registry::record::{Accepted, Record};
use crate::registry::{Lookup, Ownerless};

impl Service {
    /// Recovers the executions that had not ended when the service stopped or was killed.
    /// Executions that waited in the queue wait again. For all others, leftover processes are
    /// killed and a terminal status is recorded; a policy may continue them. Must run before the
    /// service accepts requests. Blocks on the disk.
    ///
    /// # Errors
    /// The executions on disk cannot be listed. A single damaged execution is no error: it is ended
    /// and logged.
    pub fn recover(self: &Arc<Self>) -> anyhow::Result<()> {
        self.engine.registry.recover_burned()?;
        let mut unfinished = Vec::new();
        for id in self.engine.registry.unfinished()? {
            match self.read_ownerless(id) {
                Ok(execution) => unfinished.push(execution),
                Err(error) => self.end_unrecoverable(id, &error),
            }
        }
        let cancelled: HashSet<_> = unfinished
            .iter()
            .filter(|execution| execution.cancelled)
            .map(|execution| execution.record.status.execution_id)
            .collect();
        // A continuation is on disk before the end that it follows.
        let mut continued = HashMap::new();
        for execution in &mut unfinished {
            let status = &execution.record.status;
            let Some(old) = status.continues else {
                continue;
            };
            // Only a policy creates a continuation before the end that it follows.
            if let Ok(Lookup::Found(entry)) = self.engine.registry.find(old)
                && !entry.is_terminal()
            {
                // A kill may have prevented the copy to the continuation.
                copy_unviewed_cancel(&entry, &execution.entry);
            }
            if cancelled.contains(&old) {
                // The client's cancel of the old execution applies to the continuation, too.
                execution.cancelled = true;
                if let Err(error) = execution.entry.note_cancel() {
                    let execution = status.execution_id;
                    tracing::error!(
                        %execution,
                        %error,
                        "could not write to disk that a continuation is cancelled; it is still \
                         ended as cancelled now"
                    );
                }
            } else {
                continued.insert(old, status.execution_id);
            }
        }
        for (old, next) in &continued {
            self.add_continued_by(*old, *next);
        }
        let (queued, ended): (Vec<_>, Vec<_>) = unfinished.into_iter().partition(|execution| {
            execution.record.status.state == State::Queued && !execution.cancelled
        });
        if !(queued.is_empty() && ended.is_empty()) {
            tracing::info!(
                queued = queued.len(),
                ended = ended.len(),
                "found unfinished executions; queueing those that waited, ending the others"
            );
        }
        // Executions that ran are ended first: no process of a conversation may be left when the
        // next execution of that conversation starts.
        let mut continuations = Vec::new();
        for mut execution in ended {
            let record = &mut execution.record;
            let id = record.status.execution_id;
            // The id of a policy's continuation is on disk before the continuation itself (see
            // `Service::create_continuation`), which may have ended already.
            let noted = record.status.continued_by;
            let noted = noted.filter(|next| self.was_accepted(*next));
            record.status.continued_by = continued.get(&id).copied().or(noted);
            let mut continuation = None;
            let recorded = self.interrupt(execution, Reason::ServiceStopped, &mut continuation);
            if let Err(error) = recorded {
                self.end_unrecoverable(id, &error);
            }
            continuations.extend(continuation);
        }
        for Ownerless { entry, record, .. } in queued {
            let id = record.status.execution_id;
            if let Err(error) = self.requeue(entry, record) {
                self.end_unrecoverable(id, &error);
            }
        }
        for continuation in continuations {
            self.enqueue(continuation);
        }
        self.restore_conversation_notes();
        self.recover_webhooks();
        Ok(())
    }

    /// Puts an execution that waited when the service stopped into the queue again. Fails if its
    /// request cannot be read from disk.
    fn requeue(self: &Arc<Self>, entry: spool::Entry, record: Record) -> anyhow::Result<()> {
        let body = entry.body()?;
        let accepted: Accepted =
            serde_json::from_slice(&body).context("the body of the execution")?;
        if let Err(error) = self.engine.conversations.add(
            &accepted.conversation,
            &accepted.body.workspace,
            accepted.principal.as_deref(),
        ) {
            // Not fatal: only later requests for this conversation are refused as unknown.
            let execution = record.status.execution_id;
            tracing::warn!(
                %execution,
                %error,
                "could not write the note of a conversation; requests that name it are refused"
            );
        }
        self.restore(accepted, entry, record.status);
        Ok(())
    }

    /// Adds `continuedBy` to the terminal status of the execution `old` if it is missing, because a
    /// kill or a disk error prevented the write. Does nothing if the status has one already, or if
    /// `old` has not ended or cannot be read. A failed write is logged.
    fn add_continued_by(&self, old: ExecutionId, next: ExecutionId) {
        let registry = &self.engine.registry;
        let Ok(Lookup::Found(entry)) = registry.find(old) else {
            return;
        };
        let has_it = entry.status().map(|json| {
            Record::decode(&json).is_ok_and(|record| record.status.continued_by.is_some())
        });
        if entry.is_terminal()
            && !has_it.unwrap_or(true)
            && let Err(error) = registry.amend(&entry, |status| status.continued_by = Some(next))
        {
            tracing::warn!(
                execution = %old,
                %error,
                "could not write `continuedBy` to the status of a continued execution"
            );
        }
    }

    /// Returns whether an execution with this id was ever accepted. An unreadable record counts as
    /// accepted, so that no second continuation is created.
    fn was_accepted(&self, id: ExecutionId) -> bool {
        match self.engine.registry.find(id) {
            Ok(Lookup::Found(_) | Lookup::Deleted(_)) | Err(_) => true,
            Ok(Lookup::Unknown) => false,
        }
    }
}

#[cfg(test)]
mod tests;

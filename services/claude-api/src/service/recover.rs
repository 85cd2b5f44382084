//! After a start: the folder is the truth. Queued executions run now; the others were interrupted, or cancelled where a
//! client's cancel was accepted before the kill.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use anyhow::Context;
use protocol::{ExecutionId, Reason, State};

mod notes;

use super::Service;
use super::continue_by_policy::inherit_unviewed;
use crate::registry::record::{Accepted, Record};
use crate::registry::{Lookup, Remains};

impl Service {
    /// Sweeps what an earlier life left and puts the queue back. Blocks on the disk; call it before serving.
    ///
    /// # Errors
    /// The spool cannot be listed.
    pub fn recover(self: &Arc<Self>) -> anyhow::Result<()> {
        self.engine.registry.recover_burned()?;
        let mut found = Vec::new();
        for id in self.engine.registry.unfinished()? {
            match self.remains(id) {
                Ok(one) => found.push(one),
                Err(error) => self.not_recovered(id, &error),
            }
        }
        let cancelled: HashSet<_> = found
            .iter()
            .filter(|one| one.cancelled)
            .map(|one| one.record.status.execution_id)
            .collect();
        // A continuation is on disk before the end that it follows.
        let mut continued = HashMap::new();
        for one in &mut found {
            let status = &one.record.status;
            let Some(old) = status.continues else {
                continue;
            };
            // Only a policy makes one before the other's end: the cancel was meant for both.
            if let Ok(Lookup::Found(entry)) = self.engine.registry.find(old)
                && !entry.is_terminal()
            {
                // A kill may have prevented the copy to the continuation.
                inherit_unviewed(&entry, &one.entry);
            }
            if cancelled.contains(&old) {
                one.cancelled = true;
                if let Err(error) = one.entry.note_cancel() {
                    tracing::error!(execution = %status.execution_id, %error, "its cancel was not noted");
                }
            } else {
                continued.insert(old, status.execution_id);
            }
        }
        for (old, by) in &continued {
            self.name_continuation(*old, *by);
        }
        let (queued, ran): (Vec<_>, Vec<_>) = found
            .into_iter()
            .partition(|one| one.record.status.state == State::Queued && !one.cancelled);
        if !(queued.is_empty() && ran.is_empty()) {
            tracing::info!(queued = queued.len(), ended = ran.len(), "recovered");
        }
        // First whoever ran: nothing of a conversation may be left when another of it starts.
        let mut continuations = Vec::new();
        for mut one in ran {
            let record = &mut one.record;
            let id = record.status.execution_id;
            // The id of a policy's continuation is on disk before the continuation itself (see
            // `Service::follow_up`), which may have ended already.
            let noted = record.status.continued_by.filter(|by| self.was_made(*by));
            record.status.continued_by = continued.get(&id).copied().or(noted);
            let mut continuation = None;
            if let Err(error) = self.interrupt(one, Reason::ServiceStopped, &mut continuation) {
                self.not_recovered(id, &error);
            }
            continuations.extend(continuation);
        }
        for Remains { entry, record, .. } in queued {
            let id = record.status.execution_id;
            if let Err(error) = self.requeue(entry, record) {
                self.not_recovered(id, &error);
            }
        }
        for continuation in continuations {
            self.enqueue(continuation);
        }
        self.mend_notes();
        Ok(())
    }

    fn requeue(self: &Arc<Self>, entry: spool::Entry, record: Record) -> anyhow::Result<()> {
        let accepted: Accepted = serde_json::from_slice(&entry.body()?).context("its body")?;
        if let Err(error) = self
            .engine
            .conversations
            .add(&accepted.conversation, &accepted.body.workspace)
        {
            // Only who wants to go on in it later is told that it is unknown.
            tracing::warn!(execution = %record.status.execution_id, %error, "the conversation's note was not written");
        }
        self.restore(accepted, entry, record.status);
        Ok(())
    }

    /// Adds `continuedBy` to an end that was recorded without it.
    fn name_continuation(&self, old: ExecutionId, by: ExecutionId) {
        let registry = &self.engine.registry;
        let Ok(Lookup::Found(entry)) = registry.find(old) else {
            return;
        };
        let named = entry.status().map(|json| {
            Record::decode(&json).is_ok_and(|record| record.status.continued_by.is_some())
        });
        if entry.is_terminal()
            && !named.unwrap_or(true)
            && let Err(error) = registry.amend(&entry, |status| status.continued_by = Some(by))
        {
            tracing::warn!(execution = %old, %error, "`continuedBy` was not recorded");
        }
    }

    /// Whether an execution with this id was ever accepted. An unreadable entry counts as accepted.
    fn was_made(&self, id: ExecutionId) -> bool {
        match self.engine.registry.find(id) {
            Ok(Lookup::Found(_) | Lookup::Deleted) | Err(_) => true,
            Ok(Lookup::Burned | Lookup::Unknown) => false,
        }
    }
}

#[cfg(test)]
mod tests;

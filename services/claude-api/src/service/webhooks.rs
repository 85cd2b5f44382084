//! Webhooks of executions: the check of a client's request, the recovery of the queue, and the task
//! that delivers its events.

mod deliveries;

use std::sync::Arc;

use protocol::{Body, ExecutionId, Problem, ProblemType, Status};

use super::Service;
use crate::registry::Lookup;
use crate::registry::record::Accepted;
use crate::times::now;
use crate::webhooks::{Courier, Subscription};
use deliveries::Deliveries;

impl Service {
    /// Checks that the operator allows the webhook of a body. The text of the error is for the
    /// client.
    pub(super) fn check_webhook(&self, body: &Body) -> Result<(), String> {
        let Some(webhook) = &body.webhook else {
            return Ok(());
        };
        let hosts = &self.engine.settings.args.webhooks.webhook_hosts;
        if hosts.is_empty() {
            return Err(
                "webhook: this service sends no webhooks; ask the operator to configure \
                        them (CLAUDE_API_WEBHOOK_HOSTS)"
                    .to_owned(),
            );
        }
        let url = webhook.check().map_err(|error| error.to_string())?;
        if hosts.allows(&url) {
            return Ok(());
        }
        Err(format!(
            "webhook: {} is not on the operator's list of receivers (CLAUDE_API_WEBHOOK_HOSTS); \
             host and port must be exactly on it",
            url.authority()
        ))
    }

    /// Takes a place in the queue of webhooks for a new execution. `None` if it has no webhook.
    ///
    /// # Errors
    /// 503 `queue-full` if too many executions with webhooks are not settled.
    pub(super) fn subscribe(
        &self,
        id: ExecutionId,
        accepted: &Accepted,
    ) -> Result<Option<Subscription>, Problem> {
        let Some(webhook) = &accepted.body.webhook else {
            return Ok(None);
        };
        let principal = accepted.principal.as_deref();
        let webhooks = &self.engine.webhooks;
        let subscription = Subscription::open(webhooks, id, principal, webhook, false);
        subscription.map(Some).map_err(|error| {
            let detail = format!("{error}; try again later, or without `webhook`");
            Problem::new(ProblemType::QueueFull, detail)
        })
    }

    /// Adds a policy's continuation to the queue of webhooks, on disk, if it has a webhook. A
    /// failure is logged, and the continuation reports no events. Blocks on the disk.
    pub(super) fn subscribe_continuation(
        &self,
        id: ExecutionId,
        accepted: &Accepted,
    ) -> Option<Subscription> {
        let webhook = accepted.body.webhook.as_ref()?;
        let principal = accepted.principal.as_deref();
        let webhooks = &self.engine.webhooks;
        let subscription = Subscription::open(webhooks, id, principal, webhook, true).ok()?;
        if let Err(error) = subscription.write() {
            tracing::error!(
                execution = %id,
                %error,
                "could not write the webhook of a continuation; it reports no events"
            );
            return None;
        }
        Some(subscription)
    }

    /// Adds the event `ended` to the queue of webhooks, for an execution whose terminal status is
    /// on disk. Does nothing without a webhook. Blocks on the disk.
    pub(super) fn report_webhook_end(&self, status: &Status) {
        let (webhooks, id) = (&self.engine.webhooks, status.execution_id);
        if webhooks.has(id) {
            webhooks.ended(status, now());
            self.complete_webhook(id);
        }
    }

    /// Adds the events that a crash prevented, and removes the ledgers of executions that were
    /// never accepted. Runs after the executions were recovered. Blocks on the disk.
    pub(super) fn recover_webhooks(&self) {
        let webhooks = &self.engine.webhooks;
        for id in webhooks.open_executions() {
            match self.engine.registry.find(id) {
                Ok(Lookup::Found(entry)) if entry.is_terminal() => {
                    match self.recorded_status(&entry) {
                        Ok(status) => webhooks.ended(&status, now()),
                        Err(error) => tracing::error!(
                            execution = %id,
                            %error,
                            "could not read how an execution ended; the next start reports its end \
                             to its webhook"
                        ),
                    }
                }
                // It runs or waits.
                Ok(Lookup::Found(_)) => {}
                Ok(Lookup::Deleted(_) | Lookup::Unknown) => webhooks.gone(id),
                Err(error) => tracing::error!(
                    execution = %id,
                    %error,
                    "could not look for the execution of a webhook; the next start does"
                ),
            }
        }
        for id in webhooks.completed() {
            self.complete_webhook(id);
        }
    }

    /// Adds the final counts of a webhook to the terminal status, and removes its ledger. Does
    /// nothing while events are left. Blocks on the disk.
    fn complete_webhook(&self, id: ExecutionId) {
        let webhooks = &self.engine.webhooks;
        let Some(counts) = webhooks.complete(id) else {
            return;
        };
        let registry = &self.engine.registry;
        let found = registry.find(id).map_err(std::io::Error::other);
        let amended = found.and_then(|lookup| match lookup {
            Lookup::Found(entry) => registry.amend(&entry, |status| status.webhook = Some(counts)),
            // Deleted, or never accepted.
            _ => Ok(()),
        });
        if let Err(error) = amended
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(
                execution = %id,
                %error,
                "could not add what became of the webhook to the status; only the log has it"
            );
        }
        webhooks.remove(id);
    }

    /// Delivers the events of webhooks until the service stops. A stop waits at most a second for
    /// the results of deliveries in progress.
    pub(crate) async fn run_webhooks(self: Arc<Self>, courier: Arc<dyn Courier>) {
        let deliveries = Deliveries::new(self, courier, now);
        deliveries.run().await;
    }
}

#[cfg(test)]
mod tests;

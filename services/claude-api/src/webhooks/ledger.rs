//! The ledger of one execution: its webhook, its events that are not settled, and the counts of
//! those that are. A pure value; the caller passes the time and writes the JSON.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use protocol::webhook::{
    WebhookAttempt, WebhookEvent, WebhookOutcome, WebhookPayload, WebhookStatus, WebhookUrl,
};
use protocol::{ExecutionId, Status, Webhook};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The lifetime of an event. An event that is not delivered by then is given up.
const LIFETIME: SignedDuration = SignedDuration::from_hours(24);

/// The webhook events of one execution.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Ledger {
    /// The execution.
    pub(super) execution_id: ExecutionId,
    /// The principal whose secret signs the events. `None` without tokens.
    pub(super) principal: Option<String>,
    /// The receiver and the events that it gets.
    webhook: Webhook,
    /// Whether no further event follows, because the execution has ended or is gone.
    is_closed: bool,
    /// The number of `stalled` events so far.
    stalls: u64,
    /// The number of `question` events so far. Ledgers of earlier versions have none.
    #[serde(default)]
    questions: u64,
    /// The number of events that were delivered.
    delivered: u64,
    /// The number of events that were given up.
    failed: u64,
    /// The last result.
    last: Option<WebhookAttempt>,
    /// The events that are not settled, oldest first.
    pub(super) pending: Vec<PendingEvent>,
}

/// An event that is to be delivered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PendingEvent {
    /// The id, the same in every attempt (header `webhook-id`).
    pub(super) id: String,
    /// The kind of the event.
    pub(super) kind: WebhookEvent,
    /// The body of the request.
    pub(super) payload: Value,
    /// When the event is given up.
    expires: Timestamp,
    /// The number of failed attempts.
    pub(super) tries: u32,
    /// When the next attempt is due. By the wall clock, which also advances while the service is
    /// down.
    pub(super) next_try: Timestamp,
}

/// The result of one attempt to deliver an event, as the ledger records it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AttemptResult {
    /// The receiver accepted the event.
    Accepted,
    /// The attempt failed; the next one is due after this delay.
    Failed(Duration),
    /// No attempt can succeed.
    Refused,
    /// No attempt was made. The event is given up only if its lifetime is over.
    NotMade,
}

impl Ledger {
    /// Creates the ledger of a new execution.
    pub(super) fn new(id: ExecutionId, principal: Option<&str>, webhook: &Webhook) -> Self {
        Self {
            execution_id: id,
            principal: principal.map(str::to_owned),
            webhook: webhook.clone(),
            is_closed: false,
            stalls: 0,
            questions: 0,
            delivered: 0,
            failed: 0,
            last: None,
            pending: Vec::new(),
        }
    }

    /// Encodes the ledger as JSON.
    pub(super) fn encode(&self) -> Vec<u8> {
        // A ledger has string keys only, so this cannot fail.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Returns the URL of the receiver, as the client gave it.
    pub(super) fn url(&self) -> &str {
        &self.webhook.url
    }

    /// Returns host and port of the receiver.
    pub(super) fn host(&self) -> String {
        let url = self.webhook.url.parse();
        url.map_or_else(|_| String::new(), |url: WebhookUrl| url.authority())
    }

    /// Adds the event `stalled` (see [`Self::repeatable`]).
    pub(super) fn stall(&mut self, status: &Status, now: Timestamp) {
        if self.repeatable(WebhookEvent::Stalled) {
            self.stalls += 1;
            let number = format!("_{}", self.stalls);
            self.add(WebhookEvent::Stalled, &number, now, now, status);
        }
    }

    /// Adds the event `question` (see [`Self::repeatable`]).
    pub(super) fn ask(&mut self, status: &Status, now: Timestamp) {
        if self.repeatable(WebhookEvent::Question) {
            self.questions += 1;
            let number = format!("_{}", self.questions);
            self.add(WebhookEvent::Question, &number, now, now, status);
        }
    }

    /// Returns whether an event that can happen several times may be added: the webhook lists it,
    /// the execution has not ended, and no earlier one of this kind waits for its delivery. This
    /// bounds the ledger.
    fn repeatable(&self, kind: WebhookEvent) -> bool {
        let mut pending = self.pending.iter();
        !self.is_closed && self.lists(kind) && !pending.any(|event| event.kind == kind)
    }

    /// Returns whether the webhook lists a kind of event.
    fn lists(&self, kind: WebhookEvent) -> bool {
        self.webhook.events.contains(&kind)
    }

    /// Adds the event `ended`, unless the webhook does not list it or it was added before.
    pub(super) fn end(&mut self, status: &Status, now: Timestamp) {
        if self.is_closed {
            return;
        }
        self.is_closed = true;
        let at = status.ended_at.unwrap_or(now);
        self.add(WebhookEvent::Ended, "", at, now, status);
    }

    /// Records that no further event follows.
    pub(super) fn close(&mut self) {
        self.is_closed = true;
    }

    fn add(
        &mut self,
        kind: WebhookEvent,
        number: &str,
        at: Timestamp,
        now: Timestamp,
        status: &Status,
    ) {
        if !self.lists(kind) {
            return;
        }
        let payload = WebhookPayload::new(kind, at, status);
        self.pending.push(PendingEvent {
            id: format!("evt_{}_{}{number}", self.execution_id, kind.as_str()),
            kind,
            payload: serde_json::to_value(payload).unwrap_or_default(),
            expires: now.checked_add(LIFETIME).unwrap_or(Timestamp::MAX),
            tries: 0,
            next_try: now,
        });
    }

    /// Records the result of a delivery. Returns the outcome for the event, or `None` if there is
    /// no such event or it did not change. A failed event is given up if its next attempt would be
    /// after its lifetime.
    pub(super) fn settle(
        &mut self,
        id: &str,
        result: AttemptResult,
        now: Timestamp,
    ) -> Option<WebhookOutcome> {
        let at = self.pending.iter().position(|event| event.id == id)?;
        let event = &mut self.pending[at];
        let outcome = match result {
            AttemptResult::Accepted => WebhookOutcome::Accepted,
            AttemptResult::Refused => WebhookOutcome::Refused,
            AttemptResult::NotMade if event.is_late(now) => WebhookOutcome::Expired,
            AttemptResult::NotMade => return None,
            AttemptResult::Failed(delay) => {
                let delay = SignedDuration::try_from(delay).unwrap_or(SignedDuration::MAX);
                event.tries = event.tries.saturating_add(1);
                event.next_try = now.checked_add(delay).unwrap_or(Timestamp::MAX);
                match event.next_try > event.expires {
                    true => WebhookOutcome::Expired,
                    false => WebhookOutcome::Failed,
                }
            }
        };
        self.last = Some(WebhookAttempt {
            at: now,
            event: event.kind,
            result: outcome,
        });
        match outcome {
            WebhookOutcome::Failed => return Some(outcome),
            WebhookOutcome::Accepted => self.delivered += 1,
            WebhookOutcome::Refused | WebhookOutcome::Expired => self.failed += 1,
        }
        self.pending.remove(at);
        Some(outcome)
    }

    /// Returns whether no event is left and none follows.
    pub(super) fn is_complete(&self) -> bool {
        self.is_closed && self.pending.is_empty()
    }

    /// Returns whether further events may follow.
    pub(super) fn is_open(&self) -> bool {
        !self.is_closed
    }

    /// Returns the member `webhook` of the status.
    pub(super) fn status(&self) -> WebhookStatus {
        WebhookStatus {
            pending: self.pending.len() as u64,
            delivered: self.delivered,
            failed: self.failed,
            last: self.last.clone(),
            ..WebhookStatus::new(&self.webhook)
        }
    }
}

impl PendingEvent {
    /// Returns whether the lifetime of the event is over.
    pub(super) fn is_late(&self, now: Timestamp) -> bool {
        now >= self.expires
    }
}

#[cfg(test)]
mod tests;

//! The client's part in a running execution: requests of the CLI that it answers, and its messages,
//! for which the CLI waits between turns.

use std::time::{Duration, Instant};

use renderer::Fact;

use super::running::Running;
use crate::execution::client_control::{ClientControl, ControlSnapshot};
use crate::execution::input::Gate;
use crate::registry::Ticket;

/// The time that the CLI waits for a message if the body sets no `inputIdleSeconds`.
const DEFAULT_INPUT_IDLE: Duration = Duration::from_secs(3600);

/// Handles the control requests of the CLI among these facts, and their withdrawals, at this
/// running time of the execution. Has no effect without a client that answers them.
pub(super) fn announce(
    client: Option<&ClientControl>,
    gate: Option<&Gate>,
    facts: &[Fact],
    running: Duration,
) {
    let (Some(client), Some(gate)) = (client, gate) else {
        return;
    };
    for fact in facts {
        match fact {
            Fact::ControlRequested {
                request_id,
                request,
            } => {
                if let Some(answer) = client.requested(request_id, request.as_ref(), running) {
                    gate.push(&answer);
                }
            }
            Fact::ControlWithdrawn { request_id } => client.withdrawn(request_id),
            _ => {}
        }
    }
}

impl Running<'_> {
    /// Records whether the CLI waits for a message of a client, if the fact says so.
    pub(super) fn note_session_state(&mut self, fact: &Fact, now: Instant) {
        let (Fact::SessionState(state), Some(gate)) = (fact, &self.owner.input) else {
            return;
        };
        let has_input = gate.has_message();
        self.machine.session_state(*state, has_input, now);
    }

    /// Returns how long the CLI waits for a message before its stdin is closed.
    fn input_idle(&self) -> Duration {
        let seconds = self.owner.accepted.body.input_idle_seconds;
        seconds.map_or(DEFAULT_INPUT_IDLE, Duration::from_secs_f64)
    }

    /// Returns when the CLI has waited for a message, or for an answer of the client, for too long.
    /// `None` if it waits for neither, and in a pause.
    pub(super) fn next_input_expiry(&self, now: Instant) -> Option<Instant> {
        let message = self.machine.waits_for_input_since();
        let client = self.owner.client.as_ref();
        let answer = client.and_then(|client| client.snapshot().since);
        let since = [message, answer].into_iter().flatten().min()?;
        if self.machine.is_paused() {
            return None;
        }
        let until = since.saturating_add(self.input_idle());
        let left = until.saturating_sub(self.machine.running_time(now));
        now.checked_add(left)
    }

    /// Shows for whom the CLI waits, and ends its input if no client has sent a message for too
    /// long. The execution then ends as its last result says.
    ///
    /// Up to `waitingExecutions` executions that wait for a person or for a message leave their
    /// permits to others ([`Ticket::set_waiting`]). Their lanes and conversations stay occupied.
    pub(super) fn show_waits(&mut self, ticket: &Ticket, now: Instant) {
        let open = self.owner.client.as_ref().map(|client| client.snapshot());
        if let Some(ControlSnapshot {
            since,
            tool,
            dropped_updates,
        }) = &open
        {
            let is_underway = self.machine.is_underway();
            let any = since.is_some() && is_underway;
            let tool = tool.clone().filter(|_| is_underway);
            self.machine.client_requests(any, tool, now);
            if *dropped_updates > self.dropped_updates {
                self.dropped_updates = *dropped_updates;
                self.machine.permission_updates_dropped(*dropped_updates);
            }
        }
        let limit = self.input_idle();
        let running = self.machine.running_time(now);
        let is_late = |since: Duration| running.saturating_sub(since) >= limit;
        if self.machine.waits_for_input_since().is_some_and(is_late)
            && let Some(gate) = &self.owner.input
        {
            gate.end_input();
            tracing::info!(
                execution = %self.machine.status().execution_id,
                "no message arrived within inputIdleSeconds; closed the CLI's stdin"
            );
            self.machine.end_input_wait(now);
        }
        if let (Some(client), Some(gate)) = (&self.owner.client, &self.owner.input)
            && open.and_then(|open| open.since).is_some_and(is_late)
        {
            for answer in client.expire(running.saturating_sub(limit)) {
                gate.push(&answer);
            }
        }
        let leaves_permit = self.machine.leaves_permit() && self.machine.is_underway();
        if self.leaves_permit != leaves_permit {
            self.leaves_permit = leaves_permit;
            ticket.set_waiting(leaves_permit);
        }
    }
}

//! Input of running executions: lines that clients send to the stdin of a running CLI.

use std::sync::Arc;
use std::time::Duration;

use protocol::{InputMode, PermissionPrompts, Problem, ProblemType, PromptMode, State};

use super::{FoundExecution, Service};
use crate::config::ControlRequest;
use crate::execution::client_control::{ClientControl, KNOWN_REQUESTS};
use crate::execution::input::{Fault, Gate, Offer, Refusal, Refused, Rules, line_bytes};
use crate::registry::record::Accepted;

/// How long a request with input waits for the start of its execution, or for room in the buffer,
/// before it is refused. Two seconds are shorter than the usual timeout of an HTTP client.
const OFFER_WAIT: Duration = Duration::from_secs(2);

impl Service {
    /// Creates the gate of an execution, the bounded buffer before the CLI's stdin. Returns `None`
    /// if nothing follows the prompt: neither input of clients nor answers to questions.
    ///
    /// The buffer has room for the largest request. It accepts lines only while the execution runs,
    /// so `runningExecutions` bounds the memory of all gates.
    pub(super) fn gate(&self, accepted: &Accepted) -> Option<Arc<Gate>> {
        let takes_input = accepted.body.input == InputMode::Stream;
        let limit = usize::try_from(self.engine.settings.limits.prompt_bytes).unwrap_or(usize::MAX);
        let is_client = accepted.body.permission_prompts == PermissionPrompts::Client;
        let ceiling = accepted.permissions.answers.clone().filter(|_| is_client);
        let client = ceiling.map(|ceiling| Arc::new(ClientControl::new(ceiling)));
        let rules = || Rules {
            allowed: self.allowed_requests(is_client),
            verbatim: accepted.body.prompt_mode == PromptMode::Verbatim,
            conversation: accepted.conversation.clone(),
            content_bytes: limit,
            client: client.clone(),
        };
        let asks = accepted.body.permission_prompts == PermissionPrompts::Ask;
        let gate = match (takes_input, asks) {
            (true, _) => Gate::new(line_bytes(limit), rules(), OFFER_WAIT),
            (false, true) => Gate::for_answers(rules()),
            (false, false) => return None,
        };
        if asks {
            gate.hold_open(true);
        }
        Some(Arc::new(gate))
    }

    /// Returns the control requests that a client may send: those of the operator, or the defaults.
    fn allowed_requests(&self, is_client: bool) -> Vec<ControlRequest> {
        let known = match (&self.engine.settings.control_requests, is_client) {
            (Some(requests), _) => return requests.clone(),
            (None, true) => &KNOWN_REQUESTS[..],
            (None, false) => &["interrupt", "end_session"],
        };
        known
            .iter()
            .map(|name| ControlRequest::named(name))
            .collect()
    }

    /// Returns the maximum size of a request with input, in bytes. It follows from the limit
    /// `promptBytes` for the text of one message.
    pub(crate) fn input_bytes(&self) -> u64 {
        let content =
            usize::try_from(self.engine.settings.limits.prompt_bytes).unwrap_or(usize::MAX);
        line_bytes(content) as u64
    }

    /// Accepts lines for the stdin of a running CLI, all of them or none. Returns the number of
    /// input bytes accepted so far. `offer` contains the offset of its first byte, so repeated
    /// bytes are recognised and not sent to the CLI twice.
    ///
    /// # Errors
    /// 409 `wrong-state` if the execution accepts no input, 409 `input-hole`, 503 `input-full`, 400
    /// `invalid-body`, 403 `not-allowed`, or 413 `too-large`. All but `wrong-state` contain the
    /// number of accepted bytes, at which the client continues.
    pub async fn input(
        self: &Arc<Self>,
        view: &FoundExecution,
        offer: Offer<'_>,
    ) -> Result<u64, Problem> {
        let live = match view {
            FoundExecution::Live(live) => live,
            FoundExecution::Ended(_) => {
                let state = self.whole_status(view).await?.state;
                return Err(wrong_state(state, "the execution has ended"));
            }
        };
        let state = || live.status.borrow().status.state;
        let Some(gate) = &live.input else {
            return Err(wrong_state(
                state(),
                "the execution was not created with \"input\": \"stream\"",
            ));
        };
        gate.offer(offer).await.map_err(|refused| match refused {
            Refused::NotRunning => wrong_state(
                state(),
                "the execution does not run yet, and input could be lost; send it when it runs",
            ),
            Refused::Closed => wrong_state(state(), "the CLI accepts no more input; it is ending"),
            Refused::Buffer(refusal) => problem(refusal, state()),
        })
    }
}

/// Returns the problem 409 `wrong-state` with this text and the execution's state.
fn wrong_state(state: State, detail: &str) -> Problem {
    Problem::new(ProblemType::WrongState, detail).with("state", state.as_str())
}

/// Returns the problem for input that the buffer refused, with the number of bytes accepted so far.
fn problem(refusal: Refusal, state: State) -> Problem {
    let (problem, accepted) = match refusal {
        Refusal::Hole { accepted } => (
            Problem::new(
                ProblemType::InputHole,
                format!("{accepted} bytes were accepted; send from there, an overlap is skipped"),
            ),
            accepted,
        ),
        Refusal::Ended { accepted } => (
            wrong_state(state, "eof was sent before; no input can follow it"),
            accepted,
        ),
        Refusal::Full { accepted } => (
            Problem::new(
                ProblemType::InputFull,
                "the CLI has not read earlier input yet; send the same again in a moment",
            ),
            accepted,
        ),
        Refusal::TooLong { limit, accepted } => (
            Problem::new(
                ProblemType::TooLarge,
                format!(
                    "a line has more than {limit} bytes and was not accepted; \
                     send a shorter line at offset `accepted`"
                ),
            ),
            accepted,
        ),
        Refusal::Line {
            number,
            fault,
            accepted,
        } => {
            let kind = match fault {
                Fault::Bad(_) => ProblemType::InvalidBody,
                Fault::NotAllowed(_, kind) => kind,
                Fault::TooLarge { .. } => ProblemType::TooLarge,
            };
            let text = format!("line {number}: {fault}; nothing of the request was accepted");
            (Problem::new(kind, text), accepted)
        }
    };
    problem.with("accepted", accepted)
}

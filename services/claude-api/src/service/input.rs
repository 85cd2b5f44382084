//! Input for a running execution.

use std::sync::Arc;
use std::time::Duration;

use protocol::{InputMode, Problem, ProblemType, PromptMode, State};

use super::{Service, View};
use crate::execution::input::{Fault, Gate, Offer, Refusal, Refused, Rules, line_bytes};
use crate::registry::record::Accepted;

/// How long an offer waits for the execution's start, or for room in the buffer. Below every client's own limit.
const PATIENCE: Duration = Duration::from_secs(2);

impl Service {
    /// Creates the gate to the CLI's stdin for an execution with `input: "stream"`. One request
    /// always fits. The gate bounds the waiting lines of its execution, and `runningExecutions`
    /// bounds the executions with a gate.
    pub(super) fn gate(&self, accepted: &Accepted) -> Option<Arc<Gate>> {
        let wanted = accepted.body.input == InputMode::Stream;
        let limit = usize::try_from(self.engine.settings.limits.prompt_bytes).unwrap_or(usize::MAX);
        let rules = || Rules {
            allowed: self.engine.settings.control_requests.clone(),
            verbatim: accepted.body.prompt_mode == PromptMode::Verbatim,
            conversation: accepted.conversation.clone(),
            content_bytes: limit,
        };
        wanted.then(|| Arc::new(Gate::new(line_bytes(limit), rules(), PATIENCE)))
    }

    /// Returns the most bytes of one request's lines.
    pub(crate) fn input_bytes(&self) -> u64 {
        let content =
            usize::try_from(self.engine.settings.limits.prompt_bytes).unwrap_or(usize::MAX);
        line_bytes(content) as u64
    }

    /// Takes lines for the CLI's stdin, all or nothing; answers the accepted total.
    ///
    /// # Errors
    /// `wrong-state` where no input is taken, `input-hole`, `input-full`, `invalid-body`, `not-allowed`, `too-large`; all but
    /// the first carry the accepted total.
    pub async fn input(self: &Arc<Self>, view: &View, offer: Offer<'_>) -> Result<u64, Problem> {
        let live = match view {
            View::Live(live) => live,
            View::Ended(_) => {
                let state = self.status(view).await?.state;
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
                "the execution does not run yet; what is sent now could be lost, so send it when it runs",
            ),
            Refused::Closed => wrong_state(state(), "the CLI takes no more input; it is ending"),
            Refused::Buffer(refusal) => problem(refusal, state()),
        })
    }
}

fn wrong_state(state: State, what: &str) -> Problem {
    Problem::new(ProblemType::WrongState, what).with("state", state.as_str())
}

fn problem(refusal: Refusal, state: State) -> Problem {
    let (problem, accepted) = match refusal {
        Refusal::Hole { accepted } => (
            Problem::new(
                ProblemType::InputHole,
                format!("{accepted} bytes were accepted; send from there, what overlaps is cut"),
            ),
            accepted,
        ),
        Refusal::Ended { accepted } => (
            wrong_state(state, "eof was sent before; nothing can follow it"),
            accepted,
        ),
        Refusal::Full { accepted } => (
            Problem::new(
                ProblemType::InputFull,
                "the CLI has not read what it has; send the same again in a moment",
            ),
            accepted,
        ),
        Refusal::TooLong { limit, accepted } => (
            Problem::new(
                ProblemType::TooLarge,
                format!(
                    "a line has more than {limit} bytes; nothing of it was kept, \
                     so begin the next line where `accepted` says"
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
                Fault::NotAllowed(_) => ProblemType::NotAllowed,
                Fault::TooLarge { .. } => ProblemType::TooLarge,
            };
            let text = format!("line {number}: {fault}; nothing of the request was taken");
            (Problem::new(kind, text), accepted)
        }
    };
    problem.with("accepted", accepted)
}

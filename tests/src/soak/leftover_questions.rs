//! Answers the questions that the clients leave open, so that no execution waits forever. After the
//! last fault the soak first leaves them open for [`CALM_HOLD`]: every view must announce them in
//! this time.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    actor::questions::post, dialogue::Patience, exchange::Call, execution::Execution,
    questions::Sent, world::World,
};

/// The age of a question at which it is answered while faults are made.
const ANSWER_AGE: Duration = Duration::from_secs(8);
/// The age of a question at which it is answered after the last fault and [`CALM_HOLD`].
const CALM_ANSWER_AGE: Duration = Duration::from_millis(500);
/// The time after the last fault in which no question is answered. A view must announce a question
/// in less time.
pub(super) const CALM_HOLD: Duration = Duration::from_secs(12);

/// Answers one of the open questions in a status that was requested at `sent`, or cancels the
/// execution if no client may answer it.
pub(super) async fn answer_or_cancel(
    world: &World,
    execution: &Execution,
    status: &Value,
    sent: Instant,
) {
    if let Err(rule) = note_open(execution, status, sent) {
        world.violate("claude-api", &format!("{}: {rule}", execution.id));
    }
    let age = match world.calm_since() {
        Some(calm) if calm.elapsed() < CALM_HOLD => return,
        Some(_) => CALM_ANSWER_AGE,
        None => ANSWER_AGE,
    };
    let Some((patience, answer)) = due(execution, age, world.owner(execution).mark()) else {
        return;
    };
    match patience {
        Patience::For(_) => post(world, execution, answer).await,
        Patience::Endless => cancel(world, execution).await,
    }
}

/// Records the questions that a status shows as open.
fn note_open(execution: &Execution, status: &Value, sent: Instant) -> Result<(), String> {
    let open = status["questions"].as_array();
    let mut facts = execution.facts();
    let questions = &mut facts.questions;
    let mut ids = open.into_iter().flatten().map(|open| &open["questionId"]);
    ids.try_for_each(|id| questions.open(id, sent, false))
}

/// Returns an answer to a question that is open for longer than `age`.
fn due(execution: &Execution, age: Duration, mark: &str) -> Option<(Patience, Sent)> {
    let dialogue = execution.dialogue()?;
    let facts = execution.facts();
    let question = facts.questions.older_than(age)?;
    let ask = &dialogue.asks[question.number];
    // Any choice that does not need the random numbers of a client.
    let answer = if question
        .id
        .as_bytes()
        .first()
        .is_some_and(|byte| byte % 2 == 0)
    {
        ask.allow(0, 0, mark)
    } else {
        json!({"decision": "deny", "message": format!("nobody else answered {mark}")})
    };
    let sent = Sent {
        question: question.id.clone(),
        answer,
        is_valid: true,
    };
    Some((ask.patience, sent))
}

/// Cancels an execution whose question nobody answers.
async fn cancel(world: &World, execution: &Execution) {
    execution.facts().may_cancel = true;
    let asked = Timestamp::now();
    let path = format!("/v1/executions/{}/cancel", execution.id);
    let call = Call::own(Method::POST, path);
    let Some(answer) = world.exchange(world.owner(execution), &call).await else {
        return;
    };
    let status = answer.json();
    let judged = match answer.code {
        200 => {
            let judged = world.judge(execution, &status, false);
            world.note_position(execution, &status, Some(asked));
            judged.and_then(|()| execution.cancelled(&status))
        }
        404 | 409 | 410 | 503 => Ok(()),
        code => Err(format!("its cancel returned {code}: {status}")),
    };
    if let Err(rule) = judged {
        world.violate("claude-api", &format!("{}: {rule}", execution.id));
    }
}

//! The audit of the questions of an execution: all are closed, as the clients have learned, and its
//! text has the outcome of each.

use std::time::Instant;

use reqwest::Method;
use serde_json::Value;

use crate::soak::{actor, exchange::Call, execution::Execution, world::World};

/// Reads the questions of an ended execution again.
///
/// # Errors
/// The rule that they break.
pub(super) async fn read_again(world: &World, execution: &Execution) -> Result<(), String> {
    let path = format!("/v1/executions/{}/questions", execution.id);
    let sent = Instant::now();
    let list = read(world, execution, path.clone()).await?;
    let closed = list["closed"].as_array().cloned().unwrap_or_default();
    for end in &closed {
        let id = end["questionId"].as_str().unwrap_or_default();
        let found = read(world, execution, format!("{path}/{id}")).await?;
        if found["closed"] != *end {
            return Err(format!("the list has {end}, the question itself {found}"));
        }
        shown(execution, &found)?;
    }
    actor::questions::list(execution, &list, sent)?;
    let facts = execution.facts();
    let is_listed = |id: &str| closed.iter().any(|end| end["questionId"] == id);
    if let Some(one) = facts.questions.all().iter().find(|one| !is_listed(&one.id)) {
        return Err(format!("question {} is in no list", one.id));
    }
    facts.questions.all_closed()
}

async fn read(world: &World, execution: &Execution, path: String) -> Result<Value, String> {
    let call = Call::own(Method::GET, path);
    let answer = world.exchange(world.owner(execution), &call).await;
    let answer = answer.ok_or("an answer was aborted")?;
    match answer.code {
        200 => Ok(answer.json()),
        code => Err(format!("{} returned {code}: {}", call.path, answer.text())),
    }
}

/// Records a question with its whole input.
fn shown(execution: &Execution, found: &Value) -> Result<(), String> {
    let Some(dialogue) = execution.dialogue() else {
        return Err(format!("it does not ask, but has the question {found}"));
    };
    if found["input"].is_null() {
        return Err(format!("a question without its input: {found}"));
    }
    execution.facts().questions.shown(dialogue, found)
}

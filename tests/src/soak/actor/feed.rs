//! Sends input to a running CLI.

use rand::Rng;
use serde_json::{Value, json};

use super::{
    Actor,
    link::{Request, RequestKind},
};
use crate::soak::{execution::Execution, input::Offer, plant::Plant};

impl Actor {
    /// Sends a part of the input of some execution.
    pub(super) async fn feed(&mut self) -> bool {
        // Sometimes to an execution that has ended, or does not exist yet.
        let any = self.rng.random_bool(0.1);
        let hungry = |one: &Execution| {
            let facts = one.facts();
            let live = facts.accepted && facts.terminal.is_none();
            facts.input.is_some() && !facts.refused && (any || live)
        };
        let Some(execution) = self.any_own_that(hungry) else {
            return true;
        };
        let planted = self.world.plant() == Some(Plant::InputTwice);
        let next = {
            let mut facts = execution.facts();
            let Some(input) = facts.input.as_mut() else {
                return true;
            };
            let twice = if planted {
                input.first_line_again()
            } else {
                None
            };
            match twice {
                Some((offer, data)) => (offer, data, false),
                None => input.next(&mut self.rng),
            }
        };
        let (offer, data, eof) = next;
        let mut params = json!({"executionId": execution.id, "offset": offer.offset, "data": data});
        if eof {
            params["eof"] = true.into();
        }
        let request = Request::about(RequestKind::Input(offer), &execution);
        self.send("input", params, request).await
    }
}

/// Checks the answer to accepted input.
pub(super) fn input_accepted(
    execution: &Execution,
    offer: Offer,
    answer: &Value,
) -> Result<(), String> {
    let Some(total) = answer["accepted"].as_u64() else {
        return Err(format!("the answer to input has no `accepted`: {answer}"));
    };
    let mut facts = execution.facts();
    let input = facts.input.as_mut();
    input.map_or(Ok(()), |input| input.accepted(offer, total))
}

/// Checks the answer to refused input.
pub(super) fn input_refused(
    request: &Request,
    execution: &Execution,
    offer: Offer,
    error: &Value,
) -> Result<(), String> {
    let facts = execution.facts();
    let unknown = facts.deleted || !request.accepted;
    match error["code"].as_i64().unwrap_or_default() {
        -32602 if error["data"]["reason"] == "input_hole" => {
            let total = error["data"]["accepted"].as_u64();
            let input = facts.input.as_ref();
            input.map_or(Ok(()), |input| input.hole(offer, total))
        }
        -32003 | -32009 if unknown => Ok(()),
        // The execution is queued, or its CLI accepts no more input.
        -32008 | -32005 => Ok(()),
        _ => Err(format!("input of {} was refused", execution.id)),
    }
}

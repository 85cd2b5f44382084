//! The bodies of requests, and the answers that only claude-api sends.

use protocol::{Role, State};
use serde_json::{Map, Value, json};

use super::questions;
use crate::names::{one_of, word};
use crate::schema::{Object, count, described, exactly, list, or_null, reference, text, time};
use crate::shared::{
    body_fields, contradictions, expires_seconds, lacks_prompt, limits, prompt, share_role,
};

/// Returns the schemas of bodies and answers, by name.
pub(super) fn schemas() -> Map<String, Value> {
    let all = [
        ("Body", body()),
        ("Burned", burned()),
        ("QuestionList", questions::list()),
        ("QuestionDetails", questions::details()),
        ("ClosedQuestion", questions::closed()),
        ("QuestionAnswer", questions::answer()),
        ("ShareRequest", share_request()),
        ("Me", me()),
        ("Limits", limits()),
        ("TicketRequest", ticket_request()),
        ("Ticket", ticket()),
        ("Redeem", redeem()),
        ("Redeemed", redeemed()),
        ("Ready", ready()),
    ];
    let all = all.into_iter();
    all.map(|(name, schema)| (name.to_owned(), schema))
        .collect()
}

fn body() -> Value {
    let text = "The prompt and its settings. Absent and null are the same. Two bodies are equal \
        when all fields but `lane` are.";
    let object = Object::new(text).closed().setting("prompt", prompt());
    let mut schema = body_fields(object).build();
    schema["not"] = json!({ "anyOf": [contradictions(), lacks_prompt()] });
    schema
}

fn burned() -> Value {
    let text = "The answer to the cancel of an unknown id: a later `PUT` of it is refused.";
    Object::new(text)
        .field("executionId", reference("ExecutionId"))
        .field("state", exactly(State::Cancelled.as_str()))
        .field("burned", exactly(true))
        .build()
}

fn share_request() -> Value {
    Object::new("The role and the lifetime of a new share.")
        .closed()
        .optional("role", share_role())
        .optional("expiresSeconds", expires_seconds())
        .build()
}

fn me() -> Value {
    let share = described(
        reference("ExecutionId"),
        "The only execution that the token opens, if it is a share.",
    );
    Object::new("The owner and the rights of the request's token.")
        .field(
            "principal",
            or_null(text("The owner of the executions that the token opens.")),
        )
        .field("role", word::<Role>("What the token permits."))
        .field("name", or_null(text("The name of the token.")))
        .field("expires", or_null(time("When the token ends.")))
        .field("share", or_null(share))
        .field(
            "quota",
            or_null(text(
                "The key by which bridges count a principal with its shares.",
            )),
        )
        .field(
            "shareQuota",
            or_null(text("The key by which bridges count one share.")),
        )
        .build()
}

fn origin() -> Value {
    text("The header `Origin` of the client, if it sent one.")
}

fn ticket_request() -> Value {
    Object::new("The client that requests a ticket.")
        .closed()
        .setting("origin", origin())
        .build()
}

fn ticket() -> Value {
    Object::new("A ticket, which opens one session.")
        .field("ticket", text("The secret."))
        .field(
            "expiresSeconds",
            count("How long the ticket can be used, in seconds."),
        )
        .build()
}

fn redeem() -> Value {
    Object::new("A ticket to redeem.")
        .closed()
        .field("ticket", text("The ticket of the client."))
        .setting("origin", origin())
        .build()
}

fn redeemed() -> Value {
    Object::new("The token of a session.")
        .field("token", text("A token that stands for the client's own."))
        .field(
            "renewal",
            text("The secret that renews and ends the token."),
        )
        .field("me", reference("Me"))
        .build()
}

/// Returns the schema of the facts about the use of the credential of the model.
fn credential() -> Value {
    let kinds = ["apiKey", "oauthToken", "authToken"];
    Object::new("The use of the credential of the model.")
        .field(
            "lastWorkedAt",
            or_null(time("When the credential was last accepted.")),
        )
        .field(
            "lastRefusedAt",
            or_null(time("When the credential was last refused.")),
        )
        .field(
            "kind",
            or_null(one_of(&kinds, "The kind of the credential.")),
        )
        .build()
}

fn ready() -> Value {
    let obstacles = |text: &str| list(reference("Obstacle"), text);
    let mut reasons = obstacles("Empty.");
    reasons["maxItems"] = json!(0);
    Object::new("The health page of a service that is ready.")
        .field("status", exactly("ready"))
        .field("reasons", reasons)
        .field("warnings", obstacles("Protections that are missing."))
        .optional("credential", credential())
        .build()
}

#[cfg(test)]
mod tests {
    use protocol::access::{Me, Redeem, Redeemed, ShareRequest, Ticket, TicketRequest};
    use protocol::{Body, Burned};

    use super::*;
    use crate::names::fields;
    use crate::shared::tests::assert_fields;

    #[test]
    fn fields_agree_with_the_types() {
        assert_fields(&body(), fields::<Body>());
        assert_fields(&burned(), fields::<Burned>());
        assert_fields(&share_request(), fields::<ShareRequest>());
        assert_fields(&me(), fields::<Me>());
        assert_fields(&ticket_request(), fields::<TicketRequest>());
        assert_fields(&ticket(), fields::<Ticket>());
        assert_fields(&redeem(), fields::<Redeem>());
        assert_fields(&redeemed(), fields::<Redeemed>());
    }
}

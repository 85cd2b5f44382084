//! The answers of the bridge, and its close codes (docs/protocol.md, "Requests" and "Close codes").

use protocol::message::Request;
use protocol::rpc::method;
use serde_json::{Map, Value, json};

use super::{errors, result_schema};
use crate::schema::{Object, count, exactly, flag, reference, text};

/// Returns the close codes, each with its meaning (docs/protocol.md, "Close codes").
#[must_use]
pub fn close_codes() -> &'static [(u16, &'static str)] {
    &[
        (1000, "the client is done"),
        (1001, "the client goes away; the bridge does not send it"),
        (1002, "the frames are not WebSocket frames"),
        (1007, "a text frame is not UTF-8"),
        (
            1008,
            "the token was removed, has expired or has moved to another principal; or a token is \
             needed now",
        ),
        (1009, "the message is longer than `messageBytes`"),
        (1011, "a view failed"),
        (1012, "the bridge restarts"),
        (
            1013,
            "too many sessions, no memory for a message, or `claude-api` does not answer about the \
             token",
        ),
    ]
}

/// Returns the close codes as the document has them.
pub(super) fn close_code_annotations() -> Vec<Value> {
    let codes = close_codes().iter();
    codes
        .map(|(code, meaning)| json!({ "code": code, "meaning": meaning }))
        .collect()
}

/// Returns the schemas of results, answers and errors, by name.
pub(super) fn schemas() -> Map<String, Value> {
    let methods = Request::METHODS.iter();
    let mut schemas: Map<_, _> = methods
        .map(|method| (result_schema(method), result(method)))
        .collect();
    let results: Vec<_> = Request::METHODS
        .iter()
        .map(|method| reference(&result_schema(method)))
        .collect();
    let answer = |text: &str| {
        Object::new(text)
            .field("jsonrpc", exactly("2.0"))
            .field("id", reference("RequestId"))
    };
    let more = [
        (
            "Answer",
            answer("The answer to a request. The method decides the result.")
                .field("result", json!({ "anyOf": results }))
                .build(),
        ),
        (
            "Refusal",
            answer("The refusal of a request. The id is null if it could not be read.")
                .field("error", reference("Error"))
                .build(),
        ),
        ("Error", errors::error()),
        ("Events", events()),
    ];
    let more = more.into_iter();
    schemas.extend(more.map(|(name, schema)| (name.to_owned(), schema)));
    schemas
}

/// Returns the schema of the result of this method.
fn result(name: &str) -> Value {
    match name {
        method::EXECUTE | method::CONTROL | method::ATTACH | method::STATUS => reference("Status"),
        method::LIST => reference("Page"),
        method::EVENTS => reference("Events"),
        method::INPUT => reference("Accepted"),
        method::SHARE => reference("Share"),
        method::ANSWER => reference("Answered"),
        // The results of `detach` and `ping` have no members.
        _ => Object::new("An empty object.").build(),
    }
}

fn events() -> Value {
    Object::new("A part of the CLI's stdout.")
        .field("executionId", reference("ExecutionId"))
        .field("offset", count("The offset of the first byte, in stdout."))
        .field(
            "text",
            text("Whole lines. U+FFFD stands for bytes that are not UTF-8."),
        )
        .field("nextOffset", count("Where the next part begins."))
        .field("ended", flag("Nothing follows this part."))
        .build()
}

#[cfg(test)]
mod tests {
    use protocol::Events;

    use super::*;
    use crate::names::fields;
    use crate::shared::tests::assert_fields;

    #[test]
    fn fields_agree_with_the_type() {
        assert_fields(&events(), fields::<Events>());
    }
}

//! The requests of a client, and their parameters (docs/protocol.md, "Request parameters").

use protocol::events::{MAX_BYTES, MIN_BYTES};
use protocol::message::{Control, Request, RequestId};
use protocol::rpc::{OnDisconnect, OnSlow, method};
use protocol::{Page, PermissionPrompts};
use serde_json::{Map, Value, json};

use super::request_schema;
use crate::names::word;
use crate::schema::{
    Object, count, described, exactly, flag, range, reference, text, with_default,
};
use crate::shared::{
    answer_fields, body_fields, contradictions, expires_seconds, prompt, question_id, share_role,
};

/// Returns the schemas of all requests, by name.
pub(super) fn schemas() -> Map<String, Value> {
    let requests = Request::METHODS.iter();
    let mut schemas: Map<_, _> = requests
        .map(|method| (request_schema(method), request(method)))
        .collect();
    schemas.insert("RequestId".to_owned(), request_id());
    schemas
}

/// Returns the schema of a request of this method. Without an id it is a notification.
fn request(method: &str) -> Value {
    let params = params(method);
    let needs_params = params.get("required").is_some() || params.get("oneOf").is_some();
    let object = Object::new(meaning(method))
        .field("jsonrpc", exactly("2.0"))
        .optional("id", reference("RequestId"))
        .field("method", exactly(method));
    match needs_params {
        true => object.field("params", params),
        false => object.setting("params", params),
    }
    .build()
}

/// Returns the schema of a JSON-RPC id.
fn request_id() -> Value {
    json!({
        "type": ["string", "number", "null"],
        "maxLength": RequestId::MAX_BYTES,
        "description": "The id of a request, at most 1024 bytes of JSON. The answer has it as it \
            was written. A request without an id is a notification and gets no answer.",
    })
}

/// Returns the schema of the parameters of this method. Null is the same as absent.
fn params(method: &str) -> Value {
    let of_execution = || {
        Object::new("")
            .closed()
            .field("executionId", reference("ExecutionId"))
    };
    let of_default = || {
        Object::new("")
            .closed()
            .setting("executionId", default_execution())
    };
    match method {
        method::EXECUTE => execute(),
        method::CONTROL => of_default()
            .field("type", word::<Control>("The control."))
            .build(),
        method::ATTACH => of_execution()
            .setting("offset", attach_offset())
            .setting("onSlow", on_slow())
            .build(),
        method::DETACH => of_execution().build(),
        method::STATUS => of_default().build(),
        method::LIST => list(),
        method::EVENTS => of_execution()
            .setting(
                "offset",
                count("The first byte of stdout; the oldest kept byte if absent."),
            )
            .setting("maxBytes", max_bytes())
            .build(),
        method::INPUT => of_default()
            .field(
                "offset",
                count("Where `data` begins: for new lines the accepted total."),
            )
            .field("data", text("Lines for the CLI; may be empty."))
            .setting("eof", with_default(flag("Nothing follows."), false))
            .build(),
        method::SHARE => of_execution()
            .setting("role", share_role())
            .setting("expiresSeconds", expires_seconds())
            .build(),
        method::ANSWER => {
            let object = of_execution().field("questionId", question_id("The question."));
            answer_fields(object).build()
        }
        // `ping` has no parameters.
        _ => Object::new("").closed().build(),
    }
}

fn default_execution() -> Value {
    let text = "The execution. The default is the oldest one of this session that has not ended.";
    described(reference("ExecutionId"), text)
}

fn attach_offset() -> Value {
    count("The bytes received so far. Without it: 0, with a gap if 0 is not kept.")
}

fn on_slow() -> Value {
    let text = "`skip`: unsent output is dropped when the client does not keep up.";
    with_default(word::<OnSlow>(text), json!(OnSlow::default()))
}

fn max_bytes() -> Value {
    let text = "The maximum number of bytes of events in the answer.";
    let schema = range(MIN_BYTES as u64, MAX_BYTES as u64, text);
    with_default(schema, MAX_BYTES)
}

fn list() -> Value {
    let limit = range(
        1,
        Page::MAX_LIMIT,
        "The maximum number of statuses on the page.",
    );
    let before = described(reference("ExecutionId"), "`next` of the page before.");
    Object::new("")
        .closed()
        .setting("limit", with_default(limit, Page::DEFAULT_LIMIT))
        .setting("before", before)
        .setting(
            "workspace",
            text("Leaves out executions of other workspaces."),
        )
        .build()
}

/// Returns the schema of the parameters of `execute`: the fields of a body, and four more.
fn execute() -> Value {
    let text = "`cancel`: the execution is cancelled when the session is gone and nobody views it.";
    let on_disconnect = with_default(word::<OnDisconnect>(text), json!(OnDisconnect::default()));
    let id = "The id of the execution. With an id of its own a client can repeat the request.";
    let object = Object::new("").closed();
    let mut schema = body_fields(object)
        .setting("prompt", prompt())
        .setting("command", described(prompt(), "Another name of `prompt`."))
        .setting("executionId", described(reference("ExecutionId"), id))
        .setting("onDisconnect", on_disconnect)
        .setting("onSlow", on_slow())
        .build();
    let one = |given: &str, other: &str| {
        json!({
            "required": [given],
            "properties": {
                given: { "type": "string", "minLength": 1 }, other: { "type": "null" },
            },
        })
    };
    let neither = json!({
        "required": ["permissionPrompts"],
        "properties": {
            "permissionPrompts": { "const": PermissionPrompts::Client },
            "prompt": { "enum": ["", null] }, "command": { "type": "null" },
        },
    });
    schema["oneOf"] = json!([one("prompt", "command"), one("command", "prompt"), neither]);
    schema["not"] = contradictions();
    schema
}

/// Returns the description of a method.
fn meaning(name: &str) -> &'static str {
    match name {
        method::EXECUTE => "Runs a prompt, and views its execution from offset 0.",
        method::CONTROL => "Pauses, resumes or cancels an execution.",
        method::ATTACH => "Views an execution, live or ended.",
        method::DETACH => "Ends a view. The execution continues.",
        method::STATUS => "Returns the status of an execution.",
        method::LIST => "Returns statuses, newest first, as many as fit a message.",
        method::EVENTS => "Returns a part of the CLI's stdout, in whole lines.",
        method::INPUT => "Sends lines to the CLI's stdin.",
        method::SHARE => "Returns a token that opens one execution.",
        method::ANSWER => "Answers a question of an execution. The first valid answer counts.",
        _ => "Checks that the bridge answers.",
    }
}

#[cfg(test)]
mod tests {
    use protocol::message::{
        AnswerParams, AttachParams, ControlParams, DetachParams, EventsParams, InputParams,
        ListParams, PingParams, ShareParams, StatusParams,
    };

    use super::*;
    use crate::names::fields;
    use crate::shared::tests::assert_fields;

    #[test]
    fn parameters_agree_with_the_types() {
        assert_fields(&params("control"), fields::<ControlParams>());
        assert_fields(&params("attach"), fields::<AttachParams>());
        assert_fields(&params("detach"), fields::<DetachParams>());
        assert_fields(&params("status"), fields::<StatusParams>());
        assert_fields(&params("list"), fields::<ListParams>());
        assert_fields(&params("events"), fields::<EventsParams>());
        assert_fields(&params("input"), fields::<InputParams>());
        assert_fields(&params("share"), fields::<ShareParams>());
        assert_fields(&params("answer"), fields::<AnswerParams>());
        assert!(fields::<PingParams>().is_empty());
        assert_eq!(params("ping")["properties"], json!({}));
    }
}

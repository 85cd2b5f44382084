//! Operations with the streams of an execution: output, events and input.

use protocol::{ProblemType as P, trailers};
use serde_json::{Value, json};

use super::operation::Operation;
use crate::schema::{count, flag, reference, text, with_default};

const TAG: &str = "streams";

/// Returns the operations of this module.
pub(super) fn operations() -> Vec<Operation> {
    vec![output(), events(), input()]
}

/// Returns the schema of a stream of lines.
pub(super) fn lines() -> Value {
    text("Lines of JSON.")
}

fn output() -> Operation {
    let offset = count("The offset of the first byte, which must still be kept.");
    let text = "Streams the output from this byte to the end, and waits for bytes that the CLI has \
        not written yet. The trailers have its length and crc32.";
    Operation::new(
        ("GET", "/v1/executions/{id}/output"),
        "getOutput",
        TAG,
        text,
    )
    .query("offset", with_default(offset, 0))
    .viewer()
    .answer(
        200,
        "The output, as it is generated.",
        &[(
            "text/plain; charset=utf-8",
            crate::schema::text("Valid UTF-8."),
        )],
    )
    .trailers(200)
    .problems(&[
        P::InvalidQuery,
        P::NotFound,
        P::Deleted,
        P::OffsetNotKept,
        P::OffsetBeyondEnd,
        P::UpgradeRequired,
        P::TooManyStreams,
    ])
}

fn events() -> Operation {
    let follow = flag("Wait for further events until the execution ends.");
    let text = "Streams the CLI's stdout, byte for byte: normally lines of JSON. With \
        `follow=false` it ends at the present end, and three headers describe the part.";
    let header = |operation: Operation, name: &str, schema: Value, text: &str| {
        let header = json!({ "schema": schema, "description": text });
        operation.annotate(200, "headers", name, header)
    };
    let operation = Operation::new(
        ("GET", "/v1/executions/{id}/events"),
        "getEvents",
        TAG,
        text,
    )
    .query(
        "offset",
        count("The offset of the first byte. If absent: that of the oldest kept byte."),
    )
    .query("follow", with_default(follow, true))
    .answer(200, "The events.", &[("application/x-ndjson", lines())])
    .problems(&[
        P::InvalidQuery,
        P::NotFound,
        P::Deleted,
        P::OffsetNotKept,
        P::OffsetBeyondEnd,
        P::UpgradeRequired,
        P::TooManyStreams,
    ]);
    let ended = json!({ "type": "string", "enum": ["true", "false"] });
    let operation = header(
        operation,
        trailers::EVENTS_OFFSET,
        count(""),
        "The offset of the first byte; with `follow=false`.",
    );
    let operation = header(
        operation,
        trailers::EVENTS_LENGTH,
        count(""),
        "The count of event bytes, kept or not; with `follow=false`.",
    );
    header(
        operation,
        trailers::EVENTS_ENDED,
        ended,
        "Whether no events follow; with `follow=false`.",
    )
}

fn input() -> Operation {
    let offset = count("The accepted bytes before these lines. It identifies a repeated call.");
    let eof = flag("Whether these are the last lines. The CLI's stdin is then closed.");
    let text = "Sends lines to the CLI's stdin, of an execution with `input` `stream`. A call is \
        accepted as a whole or not at all.";
    Operation::new(
        ("POST", "/v1/executions/{id}/input"),
        "sendInput",
        TAG,
        text,
    )
    .required_query("offset", offset)
    .query("eof", with_default(eof, false))
    .body("application/x-ndjson", lines(), false)
    .json(200, "The total of accepted bytes.", reference("Accepted"))
    .problems(&[
        P::InvalidBody,
        P::InvalidQuery,
        P::NotAllowed,
        P::ControlRequestNotAllowed,
        P::AgentFieldNotAllowed,
        P::NotFound,
        P::WrongState,
        P::InputHole,
        P::Deleted,
        P::TooLarge,
        P::InputFull,
        P::InboundFull,
    ])
}

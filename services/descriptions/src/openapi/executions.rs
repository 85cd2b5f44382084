//! Operations that accept, read, control and delete executions.

use protocol::limits::UNVIEWED_MS_MAX;
use protocol::{Page, ProblemType as P, trailers};
use serde_json::json;

use super::operation::Operation;
use crate::schema::{described, flag, range, reference, text, with_default};

const TAG: &str = "executions";

/// The problems of a body for a new execution.
const OF_ACCEPTANCE: [P; 20] = [
    P::InvalidBody,
    P::InvalidQuery,
    P::NotAllowed,
    P::AgentFieldNotAllowed,
    P::SettingNotAllowed,
    P::BudgetSpent,
    P::NotFound,
    P::UnknownConversation,
    P::IdInUse,
    P::OtherWorkspace,
    P::WrongState,
    P::Deleted,
    P::CancelledBeforeAccepted,
    P::TooLarge,
    P::UpgradeRequired,
    P::QueueFull,
    P::InboundFull,
    P::TooManyStreams,
    P::Stopping,
    P::SpoolUnwritable,
];

/// The operations that use the id in the answer to an acceptance.
const ON_AN_EXECUTION: [&str; 10] = [
    "getExecution",
    "getOutput",
    "getEvents",
    "sendInput",
    "listQuestions",
    "pauseExecution",
    "resumeExecution",
    "cancelExecution",
    "shareExecution",
    "deleteExecution",
];

/// Returns the operations of this module.
pub(super) fn operations() -> Vec<Operation> {
    let mut all = vec![accept(), create(), list(), status(), delete()];
    all.extend(controls());
    all.push(cancel());
    all
}

fn accept() -> Operation {
    let text = "Accepts an execution under the client's id. Repeated with an equal body, it finds \
        the same execution: one id, one run. With `Accept: application/json` the answer is the \
        status; otherwise it streams the output from byte 0, with trailers.";
    let operation = Operation::new(("PUT", "/v1/executions/{id}"), "acceptExecution", TAG, text);
    let operation = answered(with_body(operation), 201, "The execution was accepted.");
    answered(operation, 200, "The id existed with an equal body.")
}

fn create() -> Operation {
    let text = "Accepts an execution under an id that the service chooses. Each call makes a new \
        execution. The answer is that of the `PUT`.";
    let operation = Operation::new(("POST", "/v1/executions"), "createExecution", TAG, text);
    answered(with_body(operation), 201, "The execution was accepted.")
}

/// Adds the body of a new execution, and its problems.
fn with_body(operation: Operation) -> Operation {
    operation
        .body("application/json", reference("Body"), true)
        .viewer()
        .problems(&OF_ACCEPTANCE)
}

/// Adds an answer with the status or the output.
fn answered(operation: Operation, code: u16, description: &str) -> Operation {
    let output = text("The output, as it is generated.");
    let operation = operation
        .answer(
            code,
            description,
            &[
                ("application/json", reference("Status")),
                ("text/plain; charset=utf-8", output),
            ],
        )
        .header(
            code,
            trailers::EXECUTION_ID,
            reference("ExecutionId"),
            "The id of the execution.",
        )
        .header(
            code,
            "Location",
            json!({ "type": "string" }),
            "The path of the execution.",
        )
        .trailers(code);
    let id = format!("$response.header.{}", trailers::EXECUTION_ID);
    let targets = ON_AN_EXECUTION.iter();
    targets.fold(operation, |operation, target| {
        operation.link(code, target, &[("id", &id)])
    })
}

fn list() -> Operation {
    let limit = range(
        1,
        Page::MAX_LIMIT,
        "The maximum number of statuses on the page.",
    );
    let before = described(reference("ExecutionId"), "`next` of the page before.");
    let summary = "Lists the executions that the client sees, newest first.";
    Operation::new(("GET", "/v1/executions"), "listExecutions", TAG, summary)
        .query("limit", with_default(limit, Page::DEFAULT_LIMIT))
        .query("before", before)
        .query(
            "workspace",
            text("Leaves out executions of other workspaces."),
        )
        .json(200, "A page.", reference("Page"))
        .problems(&[P::InvalidId, P::InvalidQuery, P::NotFound])
}

fn status() -> Operation {
    let follow = flag("Stream the statuses until the execution ends.");
    let text = "Returns the status. With `follow=true` it streams statuses as lines of JSON: one \
        now, one for each change (at most 10 a second), the last one again each heartbeat, the \
        terminal one last.";
    Operation::new(("GET", "/v1/executions/{id}"), "getExecution", TAG, text)
        .query("follow", with_default(follow, false))
        .viewer()
        .answer(
            200,
            "The status, or lines of statuses.",
            &[
                ("application/json", reference("Status")),
                ("application/x-ndjson", super::streams::lines()),
            ],
        )
        .annotate(200, "x-line", "schema", reference("Status"))
        .problems(&[
            P::InvalidQuery,
            P::NotFound,
            P::Deleted,
            P::UpgradeRequired,
            P::TooManyStreams,
        ])
}

fn delete() -> Operation {
    let text = "Forgets an execution that has ended. Its id cannot be used for 30 days.";
    Operation::new(
        ("DELETE", "/v1/executions/{id}"),
        "deleteExecution",
        TAG,
        text,
    )
    .answer(204, "The execution is deleted.", &[])
    .problems(&[
        P::InvalidQuery,
        P::NotFound,
        P::WrongState,
        P::Deleted,
        P::SpoolUnwritable,
    ])
}

fn controls() -> [Operation; 2] {
    let pause = "Stops the process tree. Changes nothing if the execution is paused or has ended.";
    let resume = "Continues the process tree. Changes nothing if the execution is not paused.";
    [
        (
            ("POST", "/v1/executions/{id}/pause"),
            "pauseExecution",
            pause,
        ),
        (
            ("POST", "/v1/executions/{id}/resume"),
            "resumeExecution",
            resume,
        ),
    ]
    .map(|(line, id, text)| {
        Operation::new(line, id, TAG, text)
            .json(200, "The status.", reference("Status"))
            .problems(&[P::InvalidQuery, P::NotFound, P::WrongState, P::Deleted])
    })
}

fn cancel() -> Operation {
    let unviewed = "Cancel only once nobody has viewed it for this many milliseconds.";
    let burn = json!({ "type": "string", "enum": ["burn"] });
    let text = "Cancels an execution. Changes nothing if it has ended.";
    Operation::new(
        ("POST", "/v1/executions/{id}/cancel"),
        "cancelExecution",
        TAG,
        text,
    )
    .query("ifUnviewedForMs", range(0, UNVIEWED_MS_MAX, unviewed))
    .query(
        "ifUnknown",
        described(
            burn,
            "Burn an unknown id: its `PUT` is refused for an hour.",
        ),
    )
    .viewer()
    .json(
        200,
        "The status of the execution, or the id that was burned.",
        json!({ "anyOf": [reference("Status"), reference("Burned")] }),
    )
    .problems(&[
        P::InvalidQuery,
        P::NotFound,
        P::WrongState,
        P::Deleted,
        P::QueueFull,
        P::SpoolUnwritable,
    ])
}

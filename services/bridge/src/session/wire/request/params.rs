//! The parameters of each JSON-RPC method, and the checks that they must pass (docs/protocol.md,
//! "Request parameters").

use protocol::access::ShareRequest;
use protocol::message::{
    AnswerParams, AttachParams, Control, ControlParams, DetachParams, EventsParams, ExecuteParams,
    InputParams, ListParams, PingParams, ShareParams, StatusParams,
};
use protocol::rpc::{OnDisconnect, OnSlow, RpcError, code, method};
use protocol::{Body, BodyError, ExecutionId, Limits, Page, ProblemType};
use serde::Deserialize;
use serde_json::{Map, Value};

/// A request of the client whose parameters are valid (docs/protocol.md, "Requests"). `None` in
/// place of an execution id means the oldest live execution of the session.
#[derive(Debug)]
pub enum Request {
    /// Starts an execution, which runs a prompt, and begins a view of it.
    Execute(Box<ExecuteRequest>),
    /// Pauses, resumes or cancels an execution.
    Control(Control, Option<ExecutionId>),
    /// Begins a view of an execution, which streams its statuses and output to the client.
    Attach(AttachParams),
    /// Ends the session's view of an execution. The execution continues.
    Detach(ExecutionId),
    /// Reads the status of an execution.
    Status(Option<ExecutionId>),
    /// Reads a page of the statuses of all executions.
    List(ListParams),
    /// Reads a part of an execution's events, which are the lines of its CLI's stdout.
    Events(EventsParams),
    /// Sends lines to the stdin of an execution's CLI.
    Input(InputParams),
    /// Creates a share, which opens one execution to somebody without a token.
    Share(ShareParams),
    /// Answers a question of an execution.
    Answer(Box<AnswerParams>),
    /// Checks that the session works. The bridge answers it without a call to claude-api.
    Ping,
}

/// The checked parameters of an `execute` request. The machine divides them into a
/// `PendingExecute`, which it keeps, and a `Handover`, which is sent to claude-api.
#[derive(Debug)]
pub struct ExecuteRequest {
    /// The id of the execution, chosen by the client or else made by the bridge.
    pub id: ExecutionId,
    /// Whether the bridge made the id. Then no other request can have used it.
    pub fresh: bool,
    /// The prompt and its settings, as the body of the HTTP PUT to claude-api.
    pub body: Body,
    /// Whether the execution is cancelled or continues when the client is gone.
    pub on_disconnect: OnDisconnect,
    /// Whether the view waits or skips output when the client reads more slowly than the output
    /// arrives.
    pub on_slow: OnSlow,
}

/// Returns the JSON-RPC error for invalid parameters (-32602, invalid params). `message` tells the
/// client what is wrong.
pub(super) fn params_error(message: impl Into<String>) -> RpcError {
    RpcError::new(code::INVALID_PARAMS, "invalid_params", message)
}

/// Checks the parameters of the method `name`, and returns the request. `limits` are the limits of
/// claude-api. While they are unknown (`None`), the lengths that they bound are not checked here,
/// and claude-api checks them.
///
/// # Errors
/// The JSON-RPC error for the client. -32601 (method not found) if there is no such method. -32602
/// (invalid params) or -32002 (not allowed) if a parameter is missing or invalid.
pub(super) fn read_request(
    name: &str,
    params: Map<String, Value>,
    limits: Option<&Limits>,
) -> Result<Request, RpcError> {
    match name {
        method::EXECUTE => read_execute(params, limits).map(|e| Request::Execute(Box::new(e))),
        method::CONTROL => {
            deserialize(params).map(|c: ControlParams| Request::Control(c.control, c.execution_id))
        }
        method::ATTACH => deserialize(params).map(Request::Attach),
        method::DETACH => {
            deserialize(params).map(|d: DetachParams| Request::Detach(d.execution_id))
        }
        method::STATUS => {
            deserialize(params).map(|s: StatusParams| Request::Status(s.execution_id))
        }
        method::LIST => {
            let list: ListParams = deserialize(params)?;
            if list
                .limit
                .is_some_and(|n| !(1..=Page::MAX_LIMIT).contains(&n))
            {
                let most = Page::MAX_LIMIT;
                return Err(params_error(format!("limit must be 1 to {most}")));
            }
            Ok(Request::List(list))
        }
        method::EVENTS => {
            let events: EventsParams = deserialize(params)?;
            let range = protocol::events::MIN_BYTES..=protocol::events::MAX_BYTES;
            if events.max_bytes.is_some_and(|n| !range.contains(&n)) {
                let (least, most) = range.into_inner();
                return Err(params_error(format!("maxBytes must be {least} to {most}")));
            }
            Ok(Request::Events(events))
        }
        method::INPUT => deserialize(params).map(Request::Input),
        method::SHARE => {
            let share: ShareParams = deserialize(params)?;
            let range = 1..=ShareRequest::MAX_SECONDS;
            if share.expires_seconds.is_some_and(|n| !range.contains(&n)) {
                let most = ShareRequest::MAX_SECONDS;
                return Err(params_error(format!("expiresSeconds must be 1 to {most}")));
            }
            Ok(Request::Share(share))
        }
        method::ANSWER => deserialize(params).map(|answer| Request::Answer(Box::new(answer))),
        method::PING => deserialize(params).map(|PingParams {}| Request::Ping),
        other => {
            let short: String = other.chars().take(64).collect();
            Err(RpcError::new(
                code::METHOD_NOT_FOUND,
                "unknown_method",
                format!("there is no method {short:?}"),
            ))
        }
    }
}

/// Decodes the parameters of a method. An error of serde becomes -32602 (invalid params).
fn deserialize<T: for<'de> Deserialize<'de>>(params: Map<String, Value>) -> Result<T, RpcError> {
    T::deserialize(Value::Object(params)).map_err(|e| params_error(shorten(&e.to_string())))
}

/// Returns the first 512 characters of an error message, because the message may quote a long
/// request.
fn shorten(text: &str) -> String {
    text.chars().take(512).collect()
}

/// Checks the parameters of an `execute` request. Makes a random execution id if the client names
/// none. Every error about a request with a valid id carries the id as `executionId`.
fn read_execute(
    mut params: Map<String, Value>,
    limits: Option<&Limits>,
) -> Result<ExecuteRequest, RpcError> {
    let given = params.remove("executionId").filter(|id| !id.is_null());
    let id = match &given {
        None => ExecutionId::random(),
        Some(given) => ExecutionId::deserialize(given).map_err(|e| {
            let short: String = given
                .as_str()
                .unwrap_or_default()
                .chars()
                .take(64)
                .collect();
            params_error(format!("executionId: {}", shorten(&e.to_string())))
                .with("executionId", short)
        })?,
    };
    let fresh = given.is_none();
    check_execute(id, fresh, params, limits).map_err(|e| e.with("executionId", id.to_string()))
}

fn check_execute(
    id: ExecutionId,
    fresh: bool,
    params: Map<String, Value>,
    limits: Option<&Limits>,
) -> Result<ExecuteRequest, RpcError> {
    let ExecuteParams {
        execution_id: _,
        body,
        on_disconnect,
        on_slow,
    } = ExecuteParams::from_members(params).map_err(|e| params_error(shorten(&e)))?;
    // While claude-api's limits are unknown, the bridge does not check the lengths that they bound.
    let unlimited = Limits {
        prompt_bytes: u64::MAX,
        system_prompt_bytes: u64::MAX,
        ..Limits::default()
    };
    body.check(limits.unwrap_or(&unlimited))
        .map_err(|e| body_error(&e))?;
    Ok(ExecuteRequest {
        id,
        fresh,
        body,
        on_disconnect,
        on_slow,
    })
}

/// Returns the JSON-RPC error for a body that breaks a rule of the protocol. The code is -32002
/// (not allowed) for a valid value that no client may use. For all other mistakes it is -32602
/// (invalid params).
fn body_error(error: &BodyError) -> RpcError {
    let (code, reason) = match error.kind() {
        ProblemType::NotAllowed => (code::NOT_ALLOWED, "not_allowed"),
        ProblemType::TooLarge => (code::INVALID_PARAMS, "too_large"),
        _ => (code::INVALID_PARAMS, "invalid_body"),
    };
    let rpc = RpcError::new(code, reason, shorten(&error.to_string()));
    match error {
        BodyError::TooLarge { limit, .. } => rpc.with("limit", *limit),
        _ => rpc,
    }
}

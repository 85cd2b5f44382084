//! The parameters of each method (docs/protocol.md, "Request parameters").

use protocol::rpc::{OnDisconnect, OnSlow, RpcError, code, method};
use protocol::{Body, BodyError, ExecutionId, Limits, ProblemType};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::control::Control;

/// A request that can be carried out (docs/protocol.md, "Requests").
#[derive(Debug)]
pub enum Request {
    /// Runs a prompt.
    Execute(Box<Execute>),
    /// Pauses, resumes or cancels an execution.
    Control(Control, Option<ExecutionId>),
    /// Begins a view of an execution.
    Attach(Attach),
    /// Ends a view.
    Detach(ExecutionId),
    /// Asks for the status of an execution.
    Status(Option<ExecutionId>),
    /// Asks for a page of statuses: the limit, and the execution before which the page begins.
    List(Option<u64>, Option<ExecutionId>),
    /// Asks for a part of the events.
    Events(Events),
    /// Sends lines to a CLI's stdin.
    Input(Input),
    /// Asks for a sign of life.
    Ping,
}

/// The parameters of an `execute`, checked.
#[derive(Debug)]
pub struct Execute {
    /// The id of the execution: the client's, or a fresh one.
    pub id: ExecutionId,
    /// Whether the bridge made the id.
    pub fresh: bool,
    /// The body for claude-api.
    pub body: Body,
    /// What happens to the execution when the session is gone.
    pub on_disconnect: OnDisconnect,
    /// What the view does when the client is slow.
    pub on_slow: OnSlow,
}

/// The parameters of an `attach`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[allow(missing_docs, reason = "docs/protocol.md describes them")]
pub struct Attach {
    pub execution_id: ExecutionId,
    #[serde(default)]
    pub offset: Option<u64>,
    #[serde(default)]
    pub on_slow: Option<OnSlow>,
}

/// The parameters of an `events` request.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Events {
    /// The execution.
    pub execution_id: ExecutionId,
    /// The first byte, in bytes of the CLI's stdout. None: the oldest kept byte.
    #[serde(default)]
    pub offset: Option<u64>,
    /// The most bytes of events in the answer. None: as many as a message holds.
    #[serde(default)]
    pub max_bytes: Option<usize>,
}

/// The parameters of an `input`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[allow(missing_docs, reason = "docs/protocol.md describes them")]
pub struct Input {
    #[serde(default)]
    pub execution_id: Option<ExecutionId>,
    /// Where `data` begins in all input, in bytes of UTF-8.
    pub offset: u64,
    pub data: String,
    #[serde(default)]
    pub eof: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ControlParams {
    #[serde(rename = "type")]
    control: Control,
    #[serde(default)]
    execution_id: Option<ExecutionId>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Detach {
    execution_id: ExecutionId,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct StatusOf {
    #[serde(default)]
    execution_id: Option<ExecutionId>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct List {
    #[serde(default)]
    limit: Option<u64>,
    #[serde(default)]
    before: Option<ExecutionId>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// -32602 with this message.
pub(super) fn params_error(message: impl Into<String>) -> RpcError {
    RpcError::new(code::INVALID_PARAMS, "invalid_params", message)
}

/// Reads the parameters of the method `name`.
///
/// # Errors
/// The error for the client.
pub(super) fn read(
    name: &str,
    params: Map<String, Value>,
    limits: Option<&Limits>,
) -> Result<Request, RpcError> {
    match name {
        method::EXECUTE => execute(params, limits).map(|e| Request::Execute(Box::new(e))),
        method::CONTROL => {
            typed(params).map(|c: ControlParams| Request::Control(c.control, c.execution_id))
        }
        method::ATTACH => typed(params).map(Request::Attach),
        method::DETACH => typed(params).map(|d: Detach| Request::Detach(d.execution_id)),
        method::STATUS => typed(params).map(|s: StatusOf| Request::Status(s.execution_id)),
        method::LIST => {
            let List { limit, before } = typed(params)?;
            if limit.is_some_and(|n| n == 0 || n > 1000) {
                return Err(params_error("limit must be 1 to 1000"));
            }
            Ok(Request::List(limit, before))
        }
        method::EVENTS => {
            let events: Events = typed(params)?;
            let range = protocol::events::MIN_BYTES..=protocol::events::MAX_BYTES;
            if events.max_bytes.is_some_and(|n| !range.contains(&n)) {
                let (least, most) = range.into_inner();
                return Err(params_error(format!("maxBytes must be {least} to {most}")));
            }
            Ok(Request::Events(events))
        }
        method::INPUT => typed(params).map(Request::Input),
        method::PING => typed(params).map(|Nothing {}| Request::Ping),
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

fn typed<T: for<'de> Deserialize<'de>>(params: Map<String, Value>) -> Result<T, RpcError> {
    T::deserialize(Value::Object(params)).map_err(|e| params_error(shorten(&e.to_string())))
}

/// Cuts a message that quotes the request, so that it stays short.
fn shorten(text: &str) -> String {
    text.chars().take(512).collect()
}

/// Takes a field of the bridge's own; null is the default.
fn own<T: for<'de> Deserialize<'de> + Default>(
    params: &mut Map<String, Value>,
    name: &str,
) -> Result<T, RpcError> {
    match params.remove(name) {
        None | Some(Value::Null) => Ok(T::default()),
        Some(value) => T::deserialize(value)
            .map_err(|e| params_error(format!("{name}: {}", shorten(&e.to_string())))),
    }
}

fn execute(mut params: Map<String, Value>, limits: Option<&Limits>) -> Result<Execute, RpcError> {
    let asked = params.remove("executionId").filter(|id| !id.is_null());
    let id = match &asked {
        None => ExecutionId::random(),
        Some(asked) => ExecutionId::deserialize(asked).map_err(|e| {
            let short: String = asked
                .as_str()
                .unwrap_or_default()
                .chars()
                .take(64)
                .collect();
            params_error(format!("executionId: {}", shorten(&e.to_string())))
                .with("executionId", short)
        })?,
    };
    let fresh = asked.is_none();
    checked(id, fresh, params, limits).map_err(|e| e.with("executionId", id.to_string()))
}

fn checked(
    id: ExecutionId,
    fresh: bool,
    mut params: Map<String, Value>,
    limits: Option<&Limits>,
) -> Result<Execute, RpcError> {
    let on_disconnect: OnDisconnect = own(&mut params, "onDisconnect")?;
    let on_slow: OnSlow = own(&mut params, "onSlow")?;
    let command = params.remove("command").filter(|c| !c.is_null());
    let prompt = params.get("prompt").filter(|p| !p.is_null());
    match (command, prompt) {
        (Some(_), Some(_)) => return Err(params_error("give prompt or command, not both")),
        (None, None) => return Err(params_error("give prompt (or command, which is the same)")),
        (Some(command), None) => {
            params.insert("prompt".to_owned(), command);
        }
        (None, Some(_)) => {}
    }
    let body: Body = typed(params)?;
    // While claude-api's limits are unknown only what no limit allows is refused here.
    let open = Limits {
        prompt_bytes: u64::MAX,
        system_prompt_bytes: u64::MAX,
        ..Limits::default()
    };
    body.check(limits.unwrap_or(&open))
        .map_err(|e| body_error(&e))?;
    Ok(Execute {
        id,
        fresh,
        body,
        on_disconnect,
        on_slow,
    })
}

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

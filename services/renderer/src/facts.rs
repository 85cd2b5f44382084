//! The results of rendering the CLI's events: text for the client, and facts for the status of the
//! execution.

use std::fmt;

use serde_json::Value;

/// The text and facts that [`Renderer::push`](crate::Renderer::push) has found in the CLI's events.
/// The renderer only appends; the caller takes both out.
#[derive(Debug, Default)]
pub struct Rendered {
    /// New text of the model's answer, to be appended to the output of the execution.
    pub text: String,
    /// New facts, such as retries and the result, in the order of the CLI's events.
    pub facts: Vec<Fact>,
}

/// A piece of information in the CLI's events besides the text of the answer, such as a retry or
/// the result of the run.
#[derive(Debug, Clone, PartialEq)]
pub enum Fact {
    /// The CLI has started (event `system/init`). A run with background work reports this more than
    /// once.
    Init {
        /// The CLI's own id of the conversation, with which a later execution can continue it;
        /// `None` if the event has none.
        session_id: Option<String>,
        /// The name of the model that the CLI uses; `None` if the event has none.
        model: Option<String>,
    },
    /// The CLI now does something else, for example writes text after thinking.
    Activity(Activity),
    /// The set of running tools has changed. This is the whole new set, including the tools of
    /// sub-agents.
    ToolsRunning(Vec<RunningTool>),
    /// A request of the CLI to the model's API has failed and will be retried (event
    /// `system/api_retry`).
    Retry {
        /// The number of this retry, from 1. 0 if the event does not say.
        attempt: u64,
        /// The number of retries after which the CLI gives up. 0 if the event does not say.
        max_retries: u64,
        /// The delay before the retry, in milliseconds. 0 if the event does not say.
        delay_ms: u64,
        /// The HTTP status of the failed request; `None` if the connection broke.
        status: Option<u16>,
    },
    /// The model's answer was broken off and has started again. Its text may differ from the text
    /// that was shown before.
    Restart,
    /// The CLI has written lines to stdout that are not JSON, and so not events.
    Noise {
        /// The number of such lines since the last call of the renderer.
        lines: u64,
    },
    /// An event could not be read because it was damaged or too long, so text of the answer may be
    /// missing. Its line also counts as noise.
    EventLost,
    /// The CLI has refused a tool call of the model (event `system/permission_denied`). The
    /// [`Outcome`] lists the same denial under the same `tool_use_id`.
    ToolDenied {
        /// The denial as a JSON object: `{tool_name, tool_use_id, message, reason}`. Members that
        /// the event lacks are null.
        denial: Value,
    },
    /// The CLI asks something of the program that started it, and waits for the answer on its stdin
    /// (event `control_request`).
    ControlRequested {
        /// The CLI's id of the request, which the answer repeats.
        request_id: String,
        /// The request, such as `{"subtype":"can_use_tool",...}`. `None` if it cannot be read as
        /// JSON with valid strings.
        request: Option<Value>,
    },
    /// The CLI does not need the answer to an earlier request any more (event
    /// `control_cancel_request`).
    ControlWithdrawn {
        /// The CLI's id of the request.
        request_id: String,
    },
    /// The state of the CLI's session has changed (event `system/session_state_changed`). The CLI
    /// reports it only if its environment asks for it.
    SessionState(SessionState),
    /// A hook, which is a program that the CLI's settings run at certain events, has failed.
    HookFailed {
        /// The name of the hook and its output, shortened to 1000 characters.
        message: String,
    },
    /// The state of a subscription's usage limit (event `rate_limit_event`). Sent only with a
    /// login, not with an API key.
    RateLimit {
        /// When the usage limit is reset, in Unix seconds; `None` if unknown.
        resets_at: Option<i64>,
        /// Whether requests are allowed: `allowed`, `allowed_warning` or `rejected`; `None` if
        /// unknown.
        status: Option<String>,
    },
    /// The CLI has reported the end of its run (event `result`). If there are several, the last one
    /// counts. A result with a lower `result_index` than an earlier one is dropped.
    Result(Box<Outcome>),
}

/// The state of the CLI's session between and within turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionState {
    /// No turn is under way, and none is owed: the CLI waits for a message on its stdin.
    Idle,
    /// A turn is under way.
    Running,
    /// A turn waits for the answer to a permission prompt.
    RequiresAction,
}

/// A tool that is running: the model has called it, and its result has not arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunningTool {
    /// The id of the tool call (`tool_use`) in the CLI's events.
    pub id: String,
    /// The name of the tool, such as `Bash`.
    pub name: String,
    /// The time limit that the model has requested for the call, in milliseconds (`timeout` in the
    /// input of Bash). `None` if it requested none.
    pub timeout_ms: Option<u64>,
}

/// What the CLI is doing now, for the status of the execution. `Display` writes it as clients see
/// it, such as `tool: Bash`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Activity {
    /// The CLI has started, and has not sent a request to the model yet.
    Starting,
    /// The model is thinking, or has not begun to answer the request.
    Thinking,
    /// The model is writing text.
    Writing,
    /// The tool with this name is being called or is running.
    Tool(String),
    /// A person must answer before the tool with this name runs.
    Waiting(String),
    /// A request to the model has failed, and the CLI waits before it retries. The value is the
    /// HTTP status; `None` if the connection broke.
    Retrying(Option<u16>),
}

impl fmt::Display for Activity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starting => f.write_str("starting"),
            Self::Thinking => f.write_str("thinking"),
            Self::Writing => f.write_str("writing"),
            Self::Tool(name) => write!(f, "tool: {name}"),
            Self::Waiting(name) => write!(f, "waiting: {name}"),
            Self::Retrying(Some(status)) => write!(f, "retrying: {status}"),
            Self::Retrying(None) => f.write_str("retrying"),
        }
    }
}

/// How the run of the CLI ended, as its `result` event says. The kind of an error and the time of a
/// limit's reset are taken from the error message before the result.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Outcome {
    /// Whether the run failed. It is computed from several members, because API errors have the
    /// `subtype` `success`.
    pub is_error: bool,
    /// The CLI's name for the kind of end: `success` (also of API errors), `error_max_turns`,
    /// `error_max_budget_usd`, `error_during_execution`. Empty if the event has none.
    pub subtype: String,
    /// The HTTP status of the API error that ended the run; `None` if no API error did.
    pub api_error_status: Option<u16>,
    /// The first 64 KiB of the result's text, which is the error message of a failed run; `None` if
    /// the result has no text.
    pub text: Option<String>,
    /// The error messages of a result that has no text, at most 16 of 2 KiB each.
    pub errors: Vec<String>,
    /// The token counts as the CLI reports them, unchanged; `None` if the event has none or they
    /// are longer than 16 KiB.
    pub usage: Option<Value>,
    /// The answer that follows the requested JSON schema, as the CLI reports it; `None` if the
    /// event has none or it is longer than 32 KiB.
    pub structured_output: Option<Value>,
    /// The cost of the run in US dollars, as the CLI computes it; `None` if it did not say.
    pub cost_usd: Option<f64>,
    /// Every tool call that the CLI refused, as `{tool_name, tool_use_id, tool_input}`. A denial
    /// over 1 KiB has no `tool_input`.
    pub permission_denials: Vec<Value>,
    /// The model that the CLI named when it last started; `None` if it named none.
    pub model: Option<String>,
    /// The number of turns in the run, as the CLI counts them; `None` if it did not say.
    pub num_turns: Option<u64>,
    /// The CLI's reason for the end: `completed`, `api_error`, `prompt_too_long`, `max_turns`,
    /// `budget_exhausted`, `image_error` and others. `None` if it gave none.
    pub terminal_reason: Option<String>,
    /// The model's reason to stop: `end_turn`, `refusal`, `stop_sequence` (errors) and others.
    /// `None` if it gave none.
    pub stop_reason: Option<String>,
    /// The kind of the error message that the CLI itself wrote just before this result:
    /// `authentication_failed`, `rate_limit`, `billing_error`, `invalid_request`, `server_error`,
    /// `max_output_tokens`, `unknown` and others. `None` if there was no such message.
    pub error_kind: Option<String>,
    /// When the usage limit that ended the run is reset, in Unix seconds. `None` if no limit ended
    /// it, and always with an API key, because only a login has such limits.
    pub resets_at: Option<i64>,
    /// The number of `result` events before this one in the same run; `None` if the CLI does not
    /// report it.
    pub result_index: Option<u64>,
}

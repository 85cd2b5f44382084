//! What the renderer finds in the CLI's events: text for the client, and facts for the status of
//! the execution.

use std::fmt;

use serde_json::Value;

/// The text and facts that [`Renderer::push`](crate::Renderer::push) found. The renderer appends to
/// both; the caller drains them.
#[derive(Debug, Default)]
pub struct Rendered {
    /// New text of the answer, to be appended to the output.
    pub text: String,
    /// New facts, such as retries and the result, in the order of the CLI's events.
    pub facts: Vec<Fact>,
}

/// Something that the CLI's events report besides text, such as a retry or the result.
#[derive(Debug, Clone, PartialEq)]
pub enum Fact {
    /// The CLI has started (`system/init`). A run with background work reports this more than once.
    Init {
        /// The CLI's own session id, by which a later execution can continue the conversation; None
        /// if absent.
        session_id: Option<String>,
        /// The name of the model that the CLI uses; None if absent.
        model: Option<String>,
    },
    /// What the CLI is doing has changed, such as from thinking to writing.
    Activity(Activity),
    /// The set of running tools changed; this is the whole new set, including the tools of
    /// sub-agents.
    ToolsRunning(Vec<RunningTool>),
    /// A request of the CLI to the model's API failed and will be retried (`system/api_retry`).
    Retry {
        /// The number of this retry, from 1.
        attempt: u64,
        /// The number of retries after which the CLI gives up.
        max_retries: u64,
        /// The delay before the retry, in milliseconds.
        delay_ms: u64,
        /// The HTTP status of the failure; None if the connection broke.
        status: Option<u16>,
    },
    /// The model's answer was broken off and started again, so text may differ from what was shown.
    Restart,
    /// Lines on stdout that are not JSON, and so no events.
    Noise {
        /// The number of such lines since the last push.
        lines: u64,
    },
    /// An event was lost because it was damaged or too long. Its line also counts as noise.
    EventLost,
    /// The CLI refused a tool call (`system/permission_denied`). The [`Outcome`] has the same
    /// denial with the same `tool_use_id`.
    ToolDenied {
        /// The denial, as a JSON object: `{tool_name, tool_use_id, message, reason}`.
        denial: Value,
    },
    /// A hook (a program that the CLI's settings run at certain events) failed.
    HookFailed {
        /// The hook's name and output.
        message: String,
    },
    /// The state of a subscription's usage limit (`rate_limit_event`, only with a login).
    RateLimit {
        /// When the limit is reset, in Unix seconds; None if unknown.
        resets_at: Option<i64>,
        /// `allowed`, `allowed_warning` or `rejected`.
        status: Option<String>,
    },
    /// The CLI reports the end of its run (`result`). If there are several, the last one counts;
    /// one with a lower `result_index` than an earlier one is dropped.
    Result(Box<Outcome>),
}

/// A tool that is running: its use was announced and its result has not arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunningTool {
    /// The id of the tool use in the CLI's events.
    pub id: String,
    /// The name of the tool, such as `Bash`.
    pub name: String,
    /// The time limit that the call requests (`timeout` in the input of Bash), in milliseconds;
    /// None if it requests none.
    pub timeout_ms: Option<u64>,
}

/// What the CLI is doing now, as shown to clients. `Display` gives the words of the status object,
/// such as `tool: Bash`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Activity {
    /// The CLI has started, and has not sent a request to the model yet.
    Starting,
    /// A request was sent to the model, or the model is thinking.
    Thinking,
    /// The model is writing text.
    Writing,
    /// A tool with this name is being called or is running.
    Tool(String),
    /// A request to the model failed, with this HTTP status if known; the CLI waits before its
    /// retry.
    Retrying(Option<u16>),
}

impl fmt::Display for Activity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starting => f.write_str("starting"),
            Self::Thinking => f.write_str("thinking"),
            Self::Writing => f.write_str("writing"),
            Self::Tool(name) => write!(f, "tool: {name}"),
            Self::Retrying(Some(status)) => write!(f, "retrying: {status}"),
            Self::Retrying(None) => f.write_str("retrying"),
        }
    }
}

/// How the CLI says that its run ended: the content of its `result` event, with facts that only the
/// preceding error message had.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Outcome {
    /// Whether the run failed. Do not rely on `subtype`: API errors have the subtype `success`.
    pub is_error: bool,
    /// The CLI's name for the kind of end: `success` (also of API errors), `error_max_turns`,
    /// `error_max_budget_usd`, `error_during_execution`.
    pub subtype: String,
    /// The HTTP status of the API error that ended the run; None if none did.
    pub api_error_status: Option<u16>,
    /// The first 64 KiB of the result's text; for an error, its message.
    pub text: Option<String>,
    /// The error messages of a result that has no text.
    pub errors: Vec<String>,
    /// The token counts, unchanged from the CLI; None if absent or over 16 KiB.
    pub usage: Option<Value>,
    /// The cost of the run in US dollars, as the CLI computes it.
    pub cost_usd: Option<f64>,
    /// Every tool call that the CLI refused: `{tool_name, tool_use_id, tool_input}`, without large
    /// inputs.
    pub permission_denials: Vec<Value>,
    /// The model that the CLI named when it last started; None if it named none.
    pub model: Option<String>,
    /// The number of turns, as the CLI counts them.
    pub num_turns: Option<u64>,
    /// The CLI's reason for the end: `completed`, `api_error`, `prompt_too_long`, `max_turns`,
    /// `budget_exhausted`, `image_error`, ...
    pub terminal_reason: Option<String>,
    /// The model's reason to stop: `end_turn`, `refusal`, `stop_sequence` (errors), ...
    pub stop_reason: Option<String>,
    /// The kind of the error message that the CLI created before this result:
    /// `authentication_failed`, `rate_limit`, `billing_error`, `invalid_request`, `server_error`,
    /// `max_output_tokens`, `unknown`, ... None on success.
    pub error_kind: Option<String>,
    /// When the usage limit that ended the execution is reset, in Unix seconds. Known only with a
    /// login, not with an API key.
    pub resets_at: Option<i64>,
    /// The number of earlier `result` events, if the CLI reports it.
    pub result_index: Option<u64>,
}

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
    /// New facts, in the order of the CLI's events.
    pub facts: Vec<Fact>,
}

/// Something that the CLI's events report besides text, such as a retry or the result.
#[derive(Debug, Clone, PartialEq)]
pub enum Fact {
    /// The CLI has started (`system/init`). Background work causes more than one of these.
    Init {
        /// The CLI's own session id.
        session_id: Option<String>,
        /// The model that the CLI uses.
        model: Option<String>,
    },
    /// The CLI's activity changed.
    Activity(Activity),
    /// The set of running tools changed: tool uses without a result, including those of sub-agents.
    ToolsRunning(Vec<RunningTool>),
    /// The upstream request failed and will be retried (`system/api_retry`).
    Retry {
        /// The number of this retry, from 1.
        attempt: u64,
        /// The maximum number of retries.
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
    /// A tool was denied (`system/permission_denied`): `{tool_name, tool_use_id, message, reason}`.
    /// The [`Outcome`] has the same denial with the same `tool_use_id`.
    ToolDenied {
        /// The denial.
        denial: Value,
    },
    /// A hook of the CLI failed.
    HookFailed {
        /// The hook's name and output.
        message: String,
    },
    /// The state of a subscription's limit (`rate_limit_event`, only with a login).
    RateLimit {
        /// The time at which the limit is reset, in Unix seconds.
        resets_at: Option<i64>,
        /// `allowed`, `allowed_warning` or `rejected`.
        status: Option<String>,
    },
    /// A `result` event. The last one counts; results with a lower `result_index` than an earlier
    /// one are dropped.
    Result(Box<Outcome>),
}

/// A tool that is running: its use was announced and its result has not arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunningTool {
    /// The id of the tool use.
    pub id: String,
    /// The name of the tool.
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
    /// The request failed, with this HTTP status if known, and waits for its retry.
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
    /// `success` (also of API errors), `error_max_turns`, `error_max_budget_usd`,
    /// `error_during_execution`.
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
    /// Every denied tool: `{tool_name, tool_use_id, tool_input}`, without large inputs.
    pub permission_denials: Vec<Value>,
    /// The model of the last `init`.
    pub model: Option<String>,
    /// The number of turns, as the CLI counts them.
    pub num_turns: Option<u64>,
    /// The CLI's reason for the end: `completed`, `api_error`, `prompt_too_long`, `max_turns`,
    /// `budget_exhausted`, `image_error`, ...
    pub terminal_reason: Option<String>,
    /// The model's reason to stop: `end_turn`, `refusal`, `stop_sequence` (errors), ...
    pub stop_reason: Option<String>,
    /// The word of the synthetic error message before this result: `authentication_failed`,
    /// `rate_limit`, `billing_error`, `invalid_request`, `server_error`, `max_output_tokens`,
    /// `unknown`, ... None on success.
    pub error_kind: Option<String>,
    /// The time at which the limit that ended the execution is reset, in Unix seconds. Known only
    /// with a login, not with an API key.
    pub resets_at: Option<i64>,
    /// The number of earlier `result` events, if the CLI reports it.
    pub result_index: Option<u64>,
}

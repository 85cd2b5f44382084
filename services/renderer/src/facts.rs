//! What the renderer tells its caller.

use std::fmt;

use serde_json::Value;

/// Where [`Renderer::push`](crate::Renderer::push) puts what it found. It is appended to; the
/// caller drains it.
#[derive(Debug, Default)]
pub struct Rendered {
    /// New text of the answer.
    pub text: String,
    /// New facts, in the order in which the CLI told them.
    pub facts: Vec<Fact>,
}

/// One thing that the CLI's events told.
#[derive(Debug, Clone, PartialEq)]
pub enum Fact {
    /// The CLI has started (`system/init`). Background work brings more than one.
    Init {
        /// The CLI's own session id.
        session_id: Option<String>,
        /// The model it asks.
        model: Option<String>,
    },
    /// What it does now; only when that changed.
    Activity(Activity),
    /// The tool uses, sub-agents' included, that have no result yet; only when these are others.
    ToolsRunning(Vec<RunningTool>),
    /// The upstream request failed and is tried again (`system/api_retry`).
    Retry {
        /// Which retry this is, from 1.
        attempt: u64,
        /// After how many it gives up.
        max_retries: u64,
        /// Milliseconds until it is made.
        delay_ms: u64,
        /// The HTTP status of the failure; none when the connection broke.
        status: Option<u16>,
    },
    /// An answer that had begun was broken off, and has begun again.
    Restart,
    /// Lines that are not JSON, since the last push.
    Noise {
        /// How many.
        lines: u64,
    },
    /// An event that was damaged, or was too long, and is lost. Its line is counted as noise too.
    EventLost,
    /// A tool was denied (`system/permission_denied`): `{tool_name, tool_use_id, message, reason}`.
    /// The same denial is in the [`Outcome`] again, with the same `tool_use_id`.
    ToolDenied {
        /// What the CLI said about it.
        denial: Value,
    },
    /// A hook of the CLI failed.
    HookFailed {
        /// Its name and what it wrote.
        message: String,
    },
    /// What is left of a subscription's limit (`rate_limit_event`, only with a login).
    RateLimit {
        /// When the limit is reset, in Unix seconds.
        resets_at: Option<i64>,
        /// `allowed`, `allowed_warning` or `rejected`.
        status: Option<String>,
    },
    /// A `result` event, unless one with a higher `result_index` came before. The last one counts.
    Result(Box<Outcome>),
}

/// A tool use that has no result yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunningTool {
    /// The tool use's id.
    pub id: String,
    /// The tool's name.
    pub name: String,
    /// The `timeout` of its input, if there is one: the time limit that a call of Bash asks for,
    /// milliseconds.
    pub timeout_ms: Option<u64>,
}

/// What the CLI does now. `Display` gives the words of the status object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Activity {
    /// It has started and not asked the model yet.
    Starting,
    /// The model was asked, or thinks.
    Thinking,
    /// The model writes text.
    Writing,
    /// A tool of this name is called or runs.
    Tool(String),
    /// The request failed, with this HTTP status if there was one, and waits to be made again.
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

/// What a `result` event says, with what its error message alone told before it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Outcome {
    /// True for every end that is not a success, whatever `subtype` says.
    pub is_error: bool,
    /// `success` (also of API errors), `error_max_turns`, `error_max_budget_usd`,
    /// `error_during_execution`.
    pub subtype: String,
    /// The HTTP status of a final API error.
    pub api_error_status: Option<u16>,
    /// The result's text, of an error its message; its first 64 KiB.
    pub text: Option<String>,
    /// The messages of ends that have no text.
    pub errors: Vec<String>,
    /// Token counts, as the CLI gives them.
    pub usage: Option<Value>,
    /// Dollars.
    pub cost_usd: Option<f64>,
    /// Every denied tool: `{tool_name, tool_use_id, tool_input}`; a large input is left out.
    pub permission_denials: Vec<Value>,
    /// The model of the last `init`.
    pub model: Option<String>,
    /// Turns made.
    pub num_turns: Option<u64>,
    /// `completed`, `api_error`, `prompt_too_long`, `max_turns`, `budget_exhausted`, `image_error`,
    /// ...
    pub terminal_reason: Option<String>,
    /// The model's reason to stop, `end_turn`, `refusal`, `stop_sequence` (errors), ...
    pub stop_reason: Option<String>,
    /// The word of the synthetic error message before this result: `authentication_failed`,
    /// `rate_limit`, `billing_error`, `invalid_request`, `server_error`, `max_output_tokens`,
    /// `unknown`, ... None on success.
    pub error_kind: Option<String>,
    /// When the limit that ended it is reset, in Unix seconds; told with a login, not with an API
    /// key.
    pub resets_at: Option<i64>,
    /// The count of `result` events before this one, if the CLI gives it.
    pub result_index: Option<u64>,
}

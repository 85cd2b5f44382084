//! The parameters of all JSON-RPC requests except `execute`, with one type for each method
//! (docs/protocol.md, "Request parameters").

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::ExecutionId;
use crate::access::ShareRole;
use crate::json::{integer, integer_or_null, or_default};
use crate::question::{Answer, Decision};
use crate::rpc::OnSlow;

/// An action of a client on an execution that has not ended (docs/protocol.md, "Controls").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Control {
    /// Suspends all processes of the execution (SIGSTOP) until a resume. Its timeouts do not
    /// advance meanwhile.
    Pause,
    /// Resumes the processes of a paused execution (SIGCONT).
    Resume,
    /// Ends the execution and kills all its processes.
    Cancel,
}

impl Control {
    /// Every action, in the order of the documentation.
    pub const ALL: [Self; 3] = [Self::Pause, Self::Resume, Self::Cancel];

    /// Returns the action as JSON has it, for example `PAUSE`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pause => "PAUSE",
            Self::Resume => "RESUME",
            Self::Cancel => "CANCEL",
        }
    }
}

/// The parameters of the request `control`, which pauses, resumes or cancels an execution.
/// Repeating the request has no further effect and is no error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ControlParams {
    /// The action on the execution, as the field `type`.
    #[serde(rename = "type")]
    pub control: Control,
    /// The id of the execution. `None` selects the default execution, which is the oldest one of
    /// this session that has not ended (docs/protocol.md, "Request parameters").
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_id: Option<ExecutionId>,
}

/// The parameters of the request `attach`, which streams the output and statuses of an existing
/// execution, whether it still runs or has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AttachParams {
    /// The id of the execution.
    pub execution_id: ExecutionId,
    /// The offset of the first byte to send, in bytes of the output. A client that reconnects gives
    /// the number of bytes that it has received. `None` starts at byte 0, and the bridge sends a
    /// `gap` first if byte 0 is no longer kept.
    #[serde(
        default,
        deserialize_with = "integer_or_null",
        skip_serializing_if = "Option::is_none"
    )]
    pub offset: Option<u64>,
    /// What the bridge does when this client reads the output more slowly than it is generated:
    /// send it later, or skip the oldest part.
    #[serde(default, deserialize_with = "or_default")]
    pub on_slow: OnSlow,
}

impl AttachParams {
    /// Creates parameters that request the output of an execution from its beginning. Output that
    /// is no longer kept is reported as a gap.
    #[must_use]
    pub fn from_start(execution_id: ExecutionId) -> Self {
        Self {
            execution_id,
            offset: None,
            on_slow: OnSlow::default(),
        }
    }
}

/// The parameters of the request `detach`, which stops the messages about one execution to this
/// client. No such message follows the answer. The execution continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DetachParams {
    /// The id of the execution.
    pub execution_id: ExecutionId,
}

/// The parameters of the request `status`, which returns the status object of one execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StatusParams {
    /// The id of the execution. `None` selects the default execution, which is the oldest one of
    /// this session that has not ended (docs/protocol.md, "Request parameters").
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_id: Option<ExecutionId>,
}

/// The parameters of the request `list`, which returns the status objects of executions in pages,
/// newest first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ListParams {
    /// The maximum number of executions on the page, 1 to 1000. `None` means 50. A page may have
    /// fewer executions although more follow, because the size of one message is limited.
    #[serde(
        default,
        deserialize_with = "integer_or_null",
        skip_serializing_if = "Option::is_none"
    )]
    pub limit: Option<u64>,
    /// The id after which the page begins, which is `next` of the previous page. `None` begins with
    /// the newest execution.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<ExecutionId>,
    /// The workspace of the executions on the page. Those of other workspaces are left out, but
    /// count for `limit`, so a page may be empty although more follow. `None` for every workspace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<String>,
}

/// The parameters of the request `events`, which returns a part of the stdout of an execution's
/// CLI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EventsParams {
    /// The id of the execution.
    pub execution_id: ExecutionId,
    /// The offset of the first byte to return, in bytes of the CLI's stdout. `None` begins with the
    /// oldest byte that claude-api still keeps.
    #[serde(
        default,
        deserialize_with = "integer_or_null",
        skip_serializing_if = "Option::is_none"
    )]
    pub offset: Option<u64>,
    /// The maximum number of bytes of stdout in the answer, 4 to 524,288. `None` means 524,288.
    #[serde(
        default,
        deserialize_with = "integer_or_null",
        skip_serializing_if = "Option::is_none"
    )]
    pub max_bytes: Option<usize>,
}

/// The parameters of the request `input`, which writes lines to the stdin of an execution's CLI.
/// The offset makes a retry safe, because bytes that were accepted before are not written again
/// (docs/protocol.md, "Input").
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InputParams {
    /// The id of the execution. `None` selects the default execution, which is the oldest one of
    /// this session that has not ended (docs/protocol.md, "Request parameters").
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_id: Option<ExecutionId>,
    /// The position of `data` in the whole input, which is the number of bytes that were accepted
    /// so far. A larger number would leave a hole and is refused.
    #[serde(deserialize_with = "integer")]
    pub offset: u64,
    /// JSON lines for the CLI, each with a line feed at its end. May be empty, if the request only
    /// closes stdin.
    pub data: String,
    /// Whether this is the last input. If true, the CLI's stdin is closed after `data`.
    #[serde(default, deserialize_with = "or_default")]
    pub eof: bool,
}

/// The parameters of the request `answer`, which answers a question of an execution. The same
/// answer again has no further effect and is no error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AnswerParams {
    /// The id of the execution.
    pub execution_id: ExecutionId,
    /// The id of the question, from `question` or from the status.
    pub question_id: Uuid,
    /// The decision: allow or deny.
    pub decision: Decision,
    /// The reason for a denial, as in [`Answer::message`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The changed input of the tool, as in [`Answer::updated_input`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_input: Option<Map<String, Value>>,
    /// The answers to a choice, as in [`Answer::answers`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answers: Option<BTreeMap<String, String>>,
    /// The rules to remember, as in [`Answer::remember`].
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub remember: Vec<String>,
    /// Whether the CLI also ends its present turn, as in [`Answer::interrupt`].
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub interrupt: bool,
}

impl AnswerParams {
    /// Creates the parameters that answer this question of this execution.
    #[must_use]
    pub fn new(execution_id: ExecutionId, question_id: Uuid, answer: Answer) -> Self {
        let Answer {
            decision,
            message,
            updated_input,
            answers,
            remember,
            interrupt,
        } = answer;
        Self {
            execution_id,
            question_id,
            decision,
            message,
            updated_input,
            answers,
            remember,
            interrupt,
        }
    }

    /// Returns the answer without the ids.
    #[must_use]
    pub fn answer(self) -> Answer {
        let Self {
            execution_id: _,
            question_id: _,
            decision,
            message,
            updated_input,
            answers,
            remember,
            interrupt,
        } = self;
        Answer {
            decision,
            message,
            updated_input,
            answers,
            remember,
            interrupt,
        }
    }
}

/// The parameters of the request `share`, which creates a token for one execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ShareParams {
    /// The id of the execution.
    pub execution_id: ExecutionId,
    /// What the share permits.
    #[serde(default, deserialize_with = "or_default")]
    pub role: ShareRole,
    /// For how long the share works, in seconds, at most 30 days. `None` means a day.
    #[serde(
        default,
        deserialize_with = "integer_or_null",
        skip_serializing_if = "Option::is_none"
    )]
    pub expires_seconds: Option<u64>,
}

/// The parameters of the request `ping`, with which a client checks that the bridge answers. There
/// are no parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PingParams {}

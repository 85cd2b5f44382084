//! The parameters of all requests except `execute`: docs/protocol.md, "Request parameters".

use serde::{Deserialize, Serialize};

use crate::ExecutionId;
use crate::json::or_default;
use crate::rpc::OnSlow;

/// A change to a running execution: docs/protocol.md, "Controls".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Control {
    /// Stops the whole process tree until a resume.
    Pause,
    /// Continues a paused process tree.
    Resume,
    /// Ends the execution.
    Cancel,
}

impl Control {
    /// Every control.
    pub const ALL: [Self; 3] = [Self::Pause, Self::Resume, Self::Cancel];

    /// Returns the control as a message writes it: `PAUSE`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pause => "PAUSE",
            Self::Resume => "RESUME",
            Self::Cancel => "CANCEL",
        }
    }
}

/// The parameters of `control`. Repeating the request changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ControlParams {
    /// The change.
    #[serde(rename = "type")]
    pub control: Control,
    /// The execution; absent for the default execution.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_id: Option<ExecutionId>,
}

/// The parameters of `attach`: a view of an execution, live or ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AttachParams {
    /// The execution.
    pub execution_id: ExecutionId,
    /// The offset where the view begins: the number of output bytes received so far. Absent: the
    /// view begins at 0, with a gap if byte 0 is not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// Behaviour of the view when its client does not keep up.
    #[serde(default, deserialize_with = "or_default")]
    pub on_slow: OnSlow,
}

impl AttachParams {
    /// Creates the parameters of a view from the beginning of the output.
    #[must_use]
    pub fn from_start(execution_id: ExecutionId) -> Self {
        Self {
            execution_id,
            offset: None,
            on_slow: OnSlow::default(),
        }
    }
}

/// The parameters of `detach`. No message of the view follows the answer; the execution continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DetachParams {
    /// The execution.
    pub execution_id: ExecutionId,
}

/// The parameters of `status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StatusParams {
    /// The execution; absent for the default execution.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_id: Option<ExecutionId>,
}

/// The parameters of `list`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ListParams {
    /// The maximum number of executions on the page, 1 to 1000; absent for 50. A page may have
    /// fewer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// `next` of the previous page; absent for the newest executions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<ExecutionId>,
}

/// The parameters of `events`: a part of the CLI's stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EventsParams {
    /// The execution.
    pub execution_id: ExecutionId,
    /// The first byte, in bytes of stdout; absent for the oldest kept byte.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// The maximum bytes of events in the answer, 4 to 524,288; absent for 524,288.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<usize>,
}

/// The parameters of `input`: lines for the CLI's stdin. A retry with the same offset and bytes is
/// safe: docs/protocol.md, "Input".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InputParams {
    /// The execution; absent for the default execution.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_id: Option<ExecutionId>,
    /// The total of bytes that were accepted so far.
    pub offset: u64,
    /// The lines; may be empty.
    pub data: String,
    /// Whether this is the last input, after which stdin is closed.
    #[serde(default, deserialize_with = "or_default")]
    pub eof: bool,
}

/// The parameters of `ping`: none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PingParams {}

//! The parameters of all requests except `execute`, one type for each method: docs/protocol.md,
//! "Request parameters".

use serde::{Deserialize, Serialize};

use crate::ExecutionId;
use crate::json::or_default;
use crate::rpc::OnSlow;

/// What a client can do to an execution that has not ended: docs/protocol.md, "Controls".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Control {
    /// Stops all processes of the execution until a resume. Its timeouts stop too.
    Pause,
    /// Lets a paused execution continue.
    Resume,
    /// Ends the execution and all its processes.
    Cancel,
}

impl Control {
    /// Every control, in the order of the protocol.
    pub const ALL: [Self; 3] = [Self::Pause, Self::Resume, Self::Cancel];

    /// Returns the control as a message writes it, for example `PAUSE`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pause => "PAUSE",
            Self::Resume => "RESUME",
            Self::Cancel => "CANCEL",
        }
    }
}

/// The parameters of `control`, which pauses, resumes or cancels an execution. A repeated request
/// changes nothing more and is no error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ControlParams {
    /// What to do to the execution.
    #[serde(rename = "type")]
    pub control: Control,
    /// The id of the execution. None: the default execution, the oldest one of this session that
    /// has not ended (docs/protocol.md, "Request parameters").
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_id: Option<ExecutionId>,
}

/// The parameters of `attach`, which sends the output and statuses of an existing execution, live
/// or ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AttachParams {
    /// The id of the execution.
    pub execution_id: ExecutionId,
    /// The offset of the first byte to send, in bytes of the output: the number of bytes received
    /// so far. None: 0, with a `gap` first if byte 0 is no longer kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// What the bridge does when this client reads the output more slowly than it is generated.
    #[serde(default, deserialize_with = "or_default")]
    pub on_slow: OnSlow,
}

impl AttachParams {
    /// Creates parameters that request all output that is kept, from offset 0.
    #[must_use]
    pub fn from_start(execution_id: ExecutionId) -> Self {
        Self {
            execution_id,
            offset: None,
            on_slow: OnSlow::default(),
        }
    }
}

/// The parameters of `detach`, which stops the messages about one execution. After the answer none
/// follows; the execution continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DetachParams {
    /// The id of the execution.
    pub execution_id: ExecutionId,
}

/// The parameters of `status`, which returns the status object of one execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StatusParams {
    /// The id of the execution. None: the default execution, the oldest one of this session that
    /// has not ended (docs/protocol.md, "Request parameters").
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_id: Option<ExecutionId>,
}

/// The parameters of `list`, which returns the statuses of executions, newest first, in pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ListParams {
    /// The maximum number of executions on the page, 1 to 1000; None for 50. A page may have fewer,
    /// because one message limits its size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// Where to continue: `next` of the previous page. None: at the newest execution.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<ExecutionId>,
}

/// The parameters of `events`, which returns a part of the stdout of the CLI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EventsParams {
    /// The id of the execution.
    pub execution_id: ExecutionId,
    /// The offset of the first byte to return, in bytes of stdout; None for the oldest byte that is
    /// kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// The maximum bytes of stdout in the answer, 4 to 524,288; None for 524,288.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<usize>,
}

/// The parameters of `input`, which writes lines to the CLI's stdin. The offset makes a retry safe:
/// bytes that were accepted before are not written again (docs/protocol.md, "Input").
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InputParams {
    /// The id of the execution. None: the default execution, the oldest one of this session that
    /// has not ended (docs/protocol.md, "Request parameters").
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_id: Option<ExecutionId>,
    /// The offset of `data` in the input: the total number of bytes that were accepted so far.
    pub offset: u64,
    /// JSON lines for the CLI, each ended by a line feed. May be empty, to only close stdin.
    pub data: String,
    /// Whether no more input follows, so that stdin is closed after this data.
    #[serde(default, deserialize_with = "or_default")]
    pub eof: bool,
}

/// The parameters of `ping`, by which a client checks that the bridge answers. There are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PingParams {}

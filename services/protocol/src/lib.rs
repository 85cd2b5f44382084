//! The contract of `claude-api` and `bridge` as types: states, statuses, bodies, problems, JSON-RPC
//! messages, limits and the Host/Origin guard. Nothing here does I/O.

pub mod body;
pub mod guard;
pub mod id;
pub mod limits;
pub mod problem;
pub mod rpc;
pub mod state;
pub mod status;
pub mod trailers;

pub use body::{Body, BodyError, Format, InputMode, OnInterrupt, OnUsageLimit, PromptMode};
pub use guard::Guard;
pub use id::ExecutionId;
pub use limits::Limits;
pub use problem::{Problem, ProblemType};
pub use state::{Reason, State};
pub use status::{Burned, ErrorInfo, Page, Status, Warning};

/// The version of the WebSocket protocol, told in `connected.protocol`.
pub const PROTOCOL: u32 = 1;

/// The most bytes of output that one `output` message carries (contract, section 3).
pub const OUTPUT_MESSAGE_BYTES: usize = 64 * 1024;

/// The most bytes of one server message, lists asked for aside (contract, section 3).
pub const SERVER_MESSAGE_BYTES: usize = 512 * 1024;

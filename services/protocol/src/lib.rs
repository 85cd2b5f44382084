//! The protocol of `claude-api` and `bridge` as types (`docs/protocol.md`): states, statuses,
//! bodies, problems, the messages of the WebSocket ([`message`]), limits and the Host/Origin guard.
//! Also [`Patch`], which the renderer writes and the spool stores. The crate does no I/O.
//!
//! Both services refuse JSON in which a member is given twice: with [`json::from_slice`], or with
//! [`json::refuse_repeated_members`] before another parser. Both write JSON lines with
//! [`json::to_vec`].

pub mod body;
pub mod events;
pub mod exposition;
pub mod guard;
pub mod id;
pub mod json;
pub mod limits;
pub mod message;
pub mod patch;
pub mod problem;
pub mod rpc;
pub mod state;
pub mod status;
pub mod trailers;

pub use body::{Body, BodyError, Format, InputMode, OnInterrupt, OnUsageLimit, PromptMode};
pub use events::Events;
pub use exposition::Exposition;
pub use guard::Guard;
pub use id::ExecutionId;
pub use limits::Limits;
pub use patch::Patch;
pub use problem::{Problem, ProblemType};
pub use state::{Reason, State};
pub use status::{Burned, ErrorInfo, Page, Status, Warning};

/// The version of the WebSocket protocol, which `connected.protocol` names.
pub const PROTOCOL_VERSION: u32 = 1;

/// The maximum bytes of output in one `output` message: docs/protocol.md, "Notifications".
pub const OUTPUT_MESSAGE_BYTES: usize = 64 * 1024;

/// The maximum bytes of one server message. A longer list continues on the page that `next` names.
pub const SERVER_MESSAGE_BYTES: usize = 512 * 1024;

//! The protocol of claude-api and the bridge as Rust types: states, statuses, bodies, errors,
//! limits and the messages of the WebSocket ([`message`]). docs/protocol.md describes it for
//! clients.
//!
//! The crate also has the check of `Host` and `Origin` ([`Guard`]), and [`Patch`], which the
//! renderer writes and the spool stores. It does no I/O.
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

/// The version of the WebSocket protocol. The bridge sends it in its first message, and a client
/// refuses another version.
pub const PROTOCOL_VERSION: u32 = 1;

/// The maximum output in one `output` message, in bytes of UTF-8 before the JSON escapes:
/// docs/protocol.md, "Notifications".
pub const OUTPUT_MESSAGE_BYTES: usize = 64 * 1024;

/// The maximum size of one message from the bridge, in bytes. A list that does not fit continues on
/// another page, which its member `next` names.
pub const SERVER_MESSAGE_BYTES: usize = 512 * 1024;

//! The protocol of cc-bridge as Rust types: execution states, status objects, bodies of requests,
//! errors, limits, and the JSON-RPC messages that clients and the bridge send over WebSocket
//! ([`message`]). docs/protocol.md describes the protocol for clients.
//!
//! The crate also has [`Guard`], the check of the HTTP headers `Host` and `Origin`, and [`Patch`],
//! which records where an output differs from the CLI's stdout. It does no I/O.
//!
//! Both services refuse JSON that has the same member name twice in one object: with
//! [`json::from_slice`], or with [`json::refuse_repeated_members`] before another parser. Both
//! write JSON lines with [`json::to_vec`].

pub mod access;
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
pub mod question;
pub mod rpc;
pub mod state;
pub mod status;
pub mod trace_context;
pub mod trailers;
pub mod webhook;

pub use access::{Me, Role, Secret, SecretHash, Token};
pub use body::{
    Body, BodyError, Format, InputMode, OnInterrupt, OnUsageLimit, PromptMode, Thinking,
};
pub use events::Events;
pub use exposition::Exposition;
pub use guard::Guard;
pub use id::ExecutionId;
pub use limits::Limits;
pub use patch::Patch;
pub use problem::{Problem, ProblemType};
pub use question::{Answer, PermissionPrompts, Question};
pub use state::{Reason, State};
pub use status::{Burned, ErrorInfo, Page, Status, Warning};
pub use trace_context::TraceContext;
pub use webhook::Webhook;

/// The version of the WebSocket protocol. The bridge sends it in its first message, `connected`. A
/// client disconnects if it does not know this version.
pub const PROTOCOL_VERSION: u32 = 1;

/// The maximum output in one `output` message, in bytes of UTF-8. JSON escapes make the message
/// itself longer (docs/protocol.md, "Notifications").
pub const OUTPUT_MESSAGE_BYTES: usize = 64 * 1024;

/// The maximum size of one WebSocket message from the bridge, in bytes. A list of executions that
/// does not fit continues on another page, whose position is in the member `next`.
pub const SERVER_MESSAGE_BYTES: usize = 512 * 1024;

//! The control connection between `claude-api` and `credentials`.
//!
//! `credentials` holds the credential of the model's API, and forwards requests to the API. The CLI
//! of an execution has a *grant* in the credential's place: a secret that only `credentials`
//! accepts, and only while the execution runs. claude-api makes the grants, and registers them over
//! one TCP connection that `credentials` opens to it:
//!
//! ```text
//!   CLI ── request with its grant ──▶ credentials ── request with the credential ──▶ Messages API
//!                                      │      ▲
//!               Report: answers, costs │      │ Order: grants, revocations, webhooks
//!                                      ▼      │
//!                                     claude-api
//! ```
//!
//! Both directions are lines of JSON, one message in each, of at most [`LINE_BYTES`] bytes. The
//! first line of each side is its `hello`. After it, claude-api sends every grant that is in force,
//! then [`Order::Synced`]. Each side sends [`Order::Beat`] or [`Report::Beat`] every 5 s, and drops
//! the connection after 15 s without a line ([`Timing`]).
//!
//! A grant lives only as long as the connection on which it was registered. Without a connection
//! that is synced, `credentials` answers 503, which the CLI retries by itself.
//!
//! Either service may hold the credential, in a file too: [`read_secret`] reads it for both.

mod grant;
mod line;
mod order;
mod report;
mod secret_file;
mod timing;

pub use grant::{Grant, GrantHash};
pub use line::{LineError, parse, to_line};
pub use order::{Delivery, Order, Registration};
pub use report::{Answer, CredentialKind, CredentialState, Delivered, Endpoint, Report, Usage};
pub use secret_file::{SecretError, read_secret};
pub use timing::Timing;

/// The version of these messages. Both services are released together; a different version on the
/// other side ends the connection, with an error in the log.
pub const VERSION: u32 = 1;
/// The maximum length of a line, in bytes, with its newline.
pub const LINE_BYTES: usize = 256 * 1024;

//! `bridge` is the WebSocket front of `claude-api`: it turns the requests of a client session into
//! HTTP calls, and streams statuses and output back (docs/protocol.md, "WebSocket of the bridge").
//! It is stateless: executions, their queue and their output live in `claude-api`.
//!
//! From the client to claude-api:
//! - [`server`]: the listener, the handshake, the guard, the health pages
//! - [`session`]: one WebSocket session, a pure machine with a task around it. Its documentation
//!   follows a message from the socket to claude-api, and the output on its way back.
//! - [`handover`]: executes in their order, and the cancels that the bridge owes
//! - [`viewer`]: the view of one execution in one session, a pure machine with a task around it
//! - [`upstream`]: the client for claude-api, with its retries
//! - [`budget`]: the memory that all sessions share

pub mod budget;
pub mod config;
pub mod handover;
pub mod metrics;
pub mod server;
pub mod session;
pub mod upstream;
pub mod viewer;

pub use config::Config;
pub use server::run;

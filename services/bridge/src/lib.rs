//! `bridge` is the WebSocket front of `claude-api`: it turns the requests of a client session into
//! HTTP calls, and streams statuses and output back (docs/protocol.md, "WebSocket of the bridge").
//! It is stateless: executions, their queue and their output live in `claude-api`.
//!
//! From the client to claude-api:
//! - [`server`]: the HTTP server with the WebSocket handshake, the access checks and the pages
//! - [`session`]: one WebSocket session, a pure machine with a task around it. Its documentation
//!   follows a message from the socket to claude-api, and the output on its way back.
//! - [`handover`]: executes in the order received, and cancels that no client waits for any more
//! - [`viewer`]: the view of one execution in one session, a pure machine with a task around it
//! - [`upstream`]: the client for claude-api, with its retries
//! - [`budget`]: the limits of the memory that all sessions use together

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

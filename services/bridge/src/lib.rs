//! `bridge` lets clients run the Claude CLI over WebSocket. It is the front of `claude-api`, the
//! service that starts the CLI processes. The bridge turns the JSON-RPC requests of a client
//! session into HTTP calls to claude-api, and streams statuses and output back (docs/protocol.md,
//! "WebSocket of the bridge"). The bridge is stateless: executions (runs of the CLI), their queue
//! and their output live in `claude-api`.
//!
//! From the client to claude-api:
//! - [`server`]: the HTTP server with the WebSocket handshake, the access checks and the pages
//! - [`session`]: one WebSocket session, a pure state machine with a task around it. Its
//!   documentation follows a message from the socket to claude-api, and the output on its way back.
//! - [`handover`]: sends new executions to claude-api in the order received, and retries cancels
//!   for which no client waits any more
//! - [`viewer`]: streams one execution to one session, a pure state machine with a task around it
//! - [`upstream`]: the HTTP client for claude-api, with its retries
//! - [`access`]: the credentials of clients, and claude-api's judgement of them
//! - [`budget`]: the limits of the memory that all sessions use together

pub mod access;
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

//! `claude-api`: the HTTP service that runs the Claude CLI. For each prompt that it accepts, it
//! starts one CLI in a process tree of its own, and streams the answer as plain text. One such run
//! is called an execution.
//!
//! ```text
//! http ──▶ service ──▶ execution (one owner task each) ──▶ runner ──▶ claude ──▶ tools
//!            │              │
//!            ▼              ▼
//!         registry      renderer ──▶ spool ──▶ readers (http)
//!  (ids, lanes, ends)
//! ```
//!
//! The modules form layers, and each uses only itself and the layers below it. From the top:
//!
//! - [`server`]: accepts connections.
//! - [`http`]: parses requests and writes responses.
//! - [`service`]: handles requests, and applies policies such as continuations.
//! - [`execution`]: runs one execution and returns its end.
//! - hooks (programs of the operator) and checks (of the CLI, the folders and the disks).
//! - [`engine`]: the resources that executions share.
//! - Modules that use none of these. Among them, only [`registry`] decides whether an execution
//!   exists, when it may start and how it ended.
//!
//! A test of the workspace (`structure`) finds import cycles, uses of a higher layer, and other
//! modules that hold the spool, which is the folder of all records on disk.

mod access;
mod boxed;
mod checks;
pub mod cli;
pub mod config;
pub mod conversations;
mod credentials;
pub mod engine;
pub mod execution;
pub mod health;
mod hooks;
pub mod http;
pub mod in_place;
mod inbound;
mod metrics;
mod net;
mod owner_shares;
mod reach;
pub mod readiness;
pub mod registry;
mod sandbox;
pub mod server;
pub mod service;
mod streams;
mod times;
mod webhooks;

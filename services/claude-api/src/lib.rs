//! `claude-api`: the service that runs the Claude CLI, in a process tree of its own, for each
//! prompt that it accepts over HTTP, and streams the answer as plain text.
//!
//! ```text
//! http ──▶ service ──▶ execution (one owner task each) ──▶ runner ──▶ claude ──▶ tools
//!            │              │
//!            ▼              ▼
//!         registry      renderer ──▶ spool ──▶ readers (http)
//!  (ids, lanes, ends)
//! ```
//!
//! Each layer uses only itself and the layers below it, from the top: [`server`]; [`http`];
//! [`service`], which handles requests and applies policies; [`execution`], which runs one
//! execution and returns its end; hooks and checks; [`engine`], the resources that executions
//! share; and modules that use none of these. In the lowest layer, only [`registry`] decides
//! whether an execution exists, when it may start and how it ended. A test of the workspace
//! (`structure`) finds import cycles, uses of a higher layer, and other holders of the spool.

mod boxed;
mod checks;
pub mod cli;
pub mod config;
pub mod conversations;
pub mod engine;
pub mod execution;
pub mod health;
mod hooks;
pub mod http;
pub mod in_place;
mod inbound;
mod metrics;
mod net;
mod reach;
pub mod readiness;
pub mod registry;
mod sandbox;
pub mod server;
pub mod service;
mod streams;
mod times;

//! `claude-api`: runs the Claude CLI in its own process tree and streams plain text over HTTP.
//!
//! ```text
//! http ──▶ service ──▶ execution (one owner task each) ──▶ runner ──▶ claude ──▶ tools
//!            │              │
//!            ▼              ▼
//!         registry      renderer ──▶ spool ──▶ readers (http)
//!  (ids, lanes, ends)
//! ```
//!
//! Layers, each of which uses only itself and those below: [`server`]; [`http`]; [`service`], which
//! takes requests and applies policies; [`execution`], which runs one and returns its end; hooks
//! and checks; [`engine`], the resources that executions share; and modules that know none of
//! these. Of the last, [`registry`] alone decides what exists, who may start and how an execution
//! ended. A test of the workspace (`structure`) finds circles, uses of a higher layer, and other
//! holders of the spool.

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

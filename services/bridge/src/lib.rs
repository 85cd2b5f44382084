//! `bridge` turns client WebSocket sessions into streaming HTTP calls to `claude-api` (contract,
//! section 3). It keeps no state that matters: executions, their queue and their output live there.
//!
//! - [`session`]: one WebSocket connection, a pure machine with a task around it
//! - `viewer`: one execution as one session sees it, a pure order with a task around it
//! - `upstream`: claude-api behind retries
//! - [`server`]: the listener, the guard, the health pages

pub mod config;
pub mod metrics;
pub mod server;
pub mod session;
pub mod upstream;
pub mod viewer;

pub use config::Config;
pub use server::run;

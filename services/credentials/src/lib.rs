//! The service `credentials`, which holds the credential of the model's API and forwards the
//! requests of executions to it.
//!
//! The sandbox of an execution has a *grant* in the credential's place. This service alone accepts
//! grants, and replaces each with the credential:
//!
//! ```text
//!  CLI ── request, grant ─▶ server ─▶ forward ─▶ upstream ── request, credential ─▶ Messages API
//!                             │         │
//!                           table    reports
//!                             ▲         ▼
//!                             └ control ┘ ◀── orders, reports ──▶ claude-api
//! ```
//!
//! - [`config`] has the settings, and [`secret`] the credential.
//! - [`server`] accepts one request on each connection. [`request`] decides which requests are
//!   forwarded, and [`table`] which grants are in force.
//! - [`forward`] passes a request and its answer on, piece by piece. [`usage`] and [`prices`] count
//!   what the answer costs.
//! - [`upstream`] keeps the connections to the API.
//! - [`control`] keeps the connection to claude-api, which takes the [`reports`]. [`webhooks`]
//!   signs and sends webhooks.
//! - [`check`] asks the API whether the credential still works.
//! - [`watch`] is the healthcheck of the container.

pub mod check;
pub mod config;
pub mod control;
pub mod forward;
pub mod json;
pub mod prices;
pub mod reports;
pub mod request;
pub mod secret;
pub mod server;
mod service;
pub mod table;
pub mod upstream;
pub mod usage;
pub mod watch;
pub mod webhooks;

pub use service::{BadUpstream, run};

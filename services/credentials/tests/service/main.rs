//! The service with a fake API and a fake claude-api, all over real sockets.

#![allow(
    clippy::unwrap_used,
    reason = "a panic fails the test, and the helpers are part of the tests"
)]

mod api_faults;
mod bodies;
mod connections;
mod control;
mod costs;
mod doubts;
mod forwarding;
mod grant_rules;
mod hostile;
mod process;
mod support;
mod tls;

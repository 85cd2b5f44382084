//! Tests of the client against a fake bridge with faults.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests; clippy.toml allows it only inside test functions"
)]

mod access;
mod connection;
mod fake;
mod front;
mod library;
mod tls;

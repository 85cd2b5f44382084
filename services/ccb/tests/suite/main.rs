//! Tests of `ccb` against the fake bridge of the client's tests.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests; clippy.toml allows it only inside test functions"
)]

mod access;
mod ccb;
mod claude;
#[allow(dead_code, reason = "the tests of the client use more of it")]
#[path = "../../../client/tests/suite/fake.rs"]
mod fake;
#[path = "../../../client/tests/suite/front.rs"]
mod front;
mod questions;
mod terminal;
mod token;
mod webhook;

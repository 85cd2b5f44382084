//! The composed stack with the real CLI and the scripted model, as `scripts/up --demo` starts it.
//! Its addresses are in the environment: `CCB_WS` (`ws://127.0.0.1:8003/ws`) and `CCB_HTTP`
//! (`http://127.0.0.1:8002`); both must be set. Run with
//! `cargo test -p cc-tests --features composed --test composed`.

mod access;
mod basic;
mod concurrent;
mod control;
mod counts;
mod credentials;
mod deployment;
mod hallucination;
mod questions;
mod resilience;
mod sandbox;
mod stress;
mod support;

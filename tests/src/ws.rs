//! A strict WebSocket client for the tests: every message is checked against the contract's rules of order
//! ([`checker`]), independently of the code under test. A violation fails the test with the transcript.

pub mod checker;
mod client;
pub(crate) mod closing;
pub mod raw;
mod reader;
pub mod status;
mod viewer;

pub use checker::Checker;
pub use client::{Client, Options};

//! A strict WebSocket client for the tests: every message is checked against the rules of
//! docs/protocol.md, "Order" ([`checker`]), independently of the code under test. A violation fails
//! the test with the transcript.

pub mod checker;
mod client;
pub(crate) mod closing;
mod reader;
pub mod status;
mod viewer;

pub use checker::Checker;
pub use client::{Client, Options};
pub use reader::Recorded;

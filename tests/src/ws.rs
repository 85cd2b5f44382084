//! A strict WebSocket client for the tests. It uses the low layer of the Rust client
//! (`client::Connection`), and its [`Checker`] compares every message with docs/protocol.md. A
//! violation fails the test with the transcript.

pub mod checker;
mod client;
pub(crate) mod closing;
mod questions;
pub mod raw;
mod reader;
pub mod status;
pub(crate) mod transcript;
mod viewer;

pub use self::client::{Client, ConnectError, Options};
pub use ::client::Message;
pub use checker::Checker;
pub use reader::Recorded;

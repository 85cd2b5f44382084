//! The results of `input`, `detach` and `ping`: docs/protocol.md, "Requests". The other methods
//! have the results of HTTP: a status, a page, events.

use serde::{Deserialize, Serialize};

/// The result of `input`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// The total of accepted bytes: the offset of the next input.
    pub accepted: u64,
}

/// The result of `detach` and `ping`: `{}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Empty {}

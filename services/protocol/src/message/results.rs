//! Results that are no type of `claude-api`'s HTTP: docs/protocol.md, "Requests".

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

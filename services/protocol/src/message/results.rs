//! The results of `input`, `detach` and `ping`: docs/protocol.md, "Requests". The other methods
//! return a [`Status`](crate::Status), a [`Page`](crate::Page) or [`Events`](crate::Events).

use serde::{Deserialize, Serialize};

/// The result of `input`: how much of the input claude-api has accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// The total number of accepted bytes since the first input, which is the offset of the next
    /// one.
    pub accepted: u64,
}

/// The result of `detach` and `ping`: an empty object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Empty {}

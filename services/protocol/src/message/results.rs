//! The results of the requests `input`, `detach` and `ping` (docs/protocol.md, "Requests"). The
//! other methods return a [`Status`](crate::Status), a [`Page`](crate::Page) or
//! [`Events`](crate::Events), or a
//! [`Share`](crate::access::Share).

use serde::{Deserialize, Serialize};

/// The result of the request `input`, which says how much of the input for the CLI claude-api has
/// accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// The total number of input bytes that were accepted since the start of the execution. The
    /// next `input` must use this number as its `offset`.
    pub accepted: u64,
}

/// The result of the requests `detach` and `ping`, an empty JSON object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Empty {}

//! Shares, which open one execution to somebody without a token.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Role;
use crate::json::integer;

/// The role of a share, which applies to one execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ShareRole {
    /// Reads the execution's status, output and events, and attaches to it.
    #[default]
    View,
    /// Also pauses, resumes and cancels the execution, and sends input to it.
    Control,
}

impl ShareRole {
    /// Returns the role of a token that has the same rights, about the one execution.
    #[must_use]
    pub fn role(self) -> Role {
        match self {
            Self::View => Role::View,
            Self::Control => Role::Control,
        }
    }
}

/// The body of `POST /v1/executions/{id}/share`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ShareRequest {
    /// What the share permits.
    #[serde(default)]
    pub role: ShareRole,
    /// The lifetime of the share, in seconds: at least 1, at most [`ShareRequest::MAX_SECONDS`].
    #[serde(default = "a_day", deserialize_with = "integer")]
    pub expires_seconds: u64,
}

impl ShareRequest {
    /// The lifetime of a share whose request names none, in seconds: one day.
    pub const DEFAULT_SECONDS: u64 = 24 * 3600;
    /// The longest lifetime of a share, in seconds: 30 days.
    pub const MAX_SECONDS: u64 = 30 * 24 * 3600;
}

fn a_day() -> u64 {
    ShareRequest::DEFAULT_SECONDS
}

/// A new share of one execution. claude-api keeps only the hash of its token, so the token cannot
/// be shown again.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Share {
    /// The id of the share, with which it can be ended early (DELETE).
    pub share_id: Uuid,
    /// The token that opens the execution.
    pub token: String,
    /// What the share permits.
    pub role: ShareRole,
    /// When the share stops working.
    pub expires: Timestamp,
}

impl std::fmt::Debug for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            share_id,
            token: _,
            role,
            expires,
        } = self;
        f.debug_struct("Share")
            .field("share_id", share_id)
            .field("role", role)
            .field("expires", expires)
            .finish()
    }
}

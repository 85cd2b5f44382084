//! The roles of tokens, which say what a token may do.

use serde::{Deserialize, Serialize};

/// The role of a token, which decides which requests it may send (docs/protocol.md, "Roles").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads the executions of its principal: status, output, events and the list.
    View,
    /// Also starts, controls, deletes and shares executions of its principal.
    Control,
    /// Does all of that with the executions of every principal, and reads the metrics.
    Admin,
    /// Reads the metrics of both services, and nothing else.
    Metrics,
}

impl Role {
    /// Every role, in the order of the documentation.
    pub const ALL: [Self; 4] = [Self::View, Self::Control, Self::Admin, Self::Metrics];

    /// Returns the role as JSON and the token file write it, for example `control`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::View => "view",
            Self::Control => "control",
            Self::Admin => "admin",
            Self::Metrics => "metrics",
        }
    }

    /// Returns whether the role may read executions.
    #[must_use]
    pub fn may_view(self) -> bool {
        matches!(self, Self::View | Self::Control | Self::Admin)
    }

    /// Returns whether the role may start, control, delete and share executions.
    #[must_use]
    pub fn may_control(self) -> bool {
        matches!(self, Self::Control | Self::Admin)
    }

    /// Returns whether the role may read the metrics of the services.
    #[must_use]
    pub fn may_read_metrics(self) -> bool {
        matches!(self, Self::Admin | Self::Metrics)
    }
}

impl std::str::FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|role| role.as_str() == text);
        found.ok_or_else(|| "give view, control, admin or metrics".to_owned())
    }
}

//! The permission modes of the CLI.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// The CLI's permission modes, which decide what happens when a tool needs a permission. Ordered
/// from the strictest to the one that permits everything.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, ValueEnum, Serialize, Deserialize,
)]
#[serde(rename_all = "camelCase")]
pub enum PermissionMode {
    /// The CLI only reads and plans
    #[value(name = "plan")]
    Plan,
    /// Tools that are not allowed are denied
    #[default]
    #[value(name = "dontAsk")]
    DontAsk,
    /// Tools that need a permission ask for it, and are denied if nobody can answer
    #[value(name = "default")]
    Default,
    /// Edits of files run without asking for permission
    #[value(name = "acceptEdits")]
    AcceptEdits,
    /// All tools run without asking for permission
    #[value(name = "bypassPermissions")]
    BypassPermissions,
}

impl PermissionMode {
    /// Returns the mode as the CLI's option `--permission-mode` spells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::DontAsk => "dontAsk",
            Self::Default => "default",
            Self::AcceptEdits => "acceptEdits",
            Self::BypassPermissions => "bypassPermissions",
        }
    }

    /// Parses a mode as the CLI spells it, such as `acceptEdits`. `None` for any other text; upper
    /// and lower case differ.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        <Self as ValueEnum>::from_str(text, false).ok()
    }
}

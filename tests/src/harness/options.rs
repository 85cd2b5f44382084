//! The options of a stack of services.

use std::path::PathBuf;

use super::{BridgeCount, Tokens};

/// How a [`super::Stack`] is set up.
#[derive(Debug, Clone, Default)]
pub struct StackOptions {
    /// More arguments of claude-api, e.g. `--kill-ms=500`.
    pub claude_api: Vec<String>,
    /// More arguments of each bridge.
    pub bridge: Vec<String>,
    /// More environment of claude-api.
    pub environment: Vec<(String, String)>,
    /// The CLI; the stand-in if `None`.
    pub claude_bin: Option<PathBuf>,
    /// The limit of claude-api's open descriptors: a low limit makes a leak fail soon.
    pub open_files: Option<u64>,
    /// How many bridges run in front of claude-api.
    pub bridges: BridgeCount,
    /// The token file of claude-api, which may have several principals; none by default.
    pub tokens: Option<Tokens>,
    /// Puts a fault proxy between the clients and the bridges. It gives connections to the bridges
    /// in turn.
    pub proxy_clients: bool,
    /// Puts a fault proxy between the bridges and claude-api.
    pub proxy_upstream: bool,
}

impl StackOptions {
    /// Adds an argument of claude-api.
    #[must_use]
    pub fn api(mut self, argument: impl Into<String>) -> Self {
        self.claude_api.push(argument.into());
        self
    }

    /// Adds an argument of the bridge.
    #[must_use]
    pub fn bridge(mut self, argument: impl Into<String>) -> Self {
        self.bridge.push(argument.into());
        self
    }

    /// Adds a variable to claude-api's environment.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// A token file with these tokens for claude-api.
    #[must_use]
    pub fn tokens(mut self, tokens: Tokens) -> Self {
        self.tokens = Some(tokens);
        self
    }

    /// One bridge in every run: the test examines the state of that bridge.
    #[must_use]
    pub fn one_bridge(mut self) -> Self {
        self.bridges = BridgeCount::One;
        self
    }

    /// Two bridges in every run.
    #[must_use]
    pub fn two_bridges(mut self) -> Self {
        self.bridges = BridgeCount::Two;
        self
    }

    /// A fault proxy on both hops.
    #[must_use]
    pub fn proxies(mut self) -> Self {
        self.proxy_clients = true;
        self.proxy_upstream = true;
        self
    }
}

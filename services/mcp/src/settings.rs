//! The settings that the MCP server has both over HTTP and over stdio.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use client::Options;

/// The settings that the MCP server has both over HTTP and over stdio. The defaults suit a bridge
/// on the same machine.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The `ws://` or `wss://` address of the bridge, like `ws://127.0.0.1:8003/ws`. Each call
    /// opens a connection to it.
    pub url: String,
    /// The token, root certificates, timeouts and reconnect delays of the WebSocket connections to
    /// the bridge.
    pub client: Options,
    /// The maximum number of concurrent calls that receive the output of an execution (`execute`,
    /// `wait`, `output`, a resource's output). All other calls together have a second limit of the
    /// same number. Further calls are refused.
    pub calls: usize,
    /// The maximum number of these calls of one principal, of either kind. Without tokens there is
    /// no such limit.
    pub calls_per_principal: usize,
    /// The maximum time between two progress notifications of one call. The default is 15 s,
    /// because some MCP clients abort a call after 60 s without progress.
    pub progress: Duration,
    /// The maximum size of an execution's output in one result, in bytes. Longer output is cut, and
    /// the result says where it continues.
    pub text_bytes: usize,
    /// A function that is called for every request that this server refuses by itself, so that the
    /// caller can count refusals.
    pub on_refusal: OnRefusal,
}

/// A function that is called whenever the MCP server refuses a request without asking the bridge,
/// with the reason (one of [`crate::REASONS`]). Refusals by the bridge are not reported, because
/// the bridge counts them. The default function does nothing.
#[derive(Clone)]
pub struct OnRefusal(Arc<dyn Fn(&'static str) + Send + Sync>);

impl OnRefusal {
    /// Creates a value that calls this function for every refusal. The function must not block,
    /// because it runs on an async task.
    pub fn new(function: impl Fn(&'static str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(function))
    }

    pub(crate) fn call(&self, reason: &'static str) {
        (self.0)(reason);
    }
}

impl Default for OnRefusal {
    fn default() -> Self {
        Self::new(|_| {})
    }
}

impl fmt::Debug for OnRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnRefusal").finish_non_exhaustive()
    }
}

impl Settings {
    /// The default maximum number of concurrent calls ([`Settings::calls`]).
    pub const CALLS: usize = 64;

    /// Creates the settings for the bridge at this `ws://` address, with the default of every other
    /// setting. The address is not checked; a wrong one fails each call.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            client: Options::default(),
            calls: Self::CALLS,
            calls_per_principal: Self::CALLS,
            // MCP clients abort a call without progress after 60 to 300 s.
            progress: Duration::from_secs(15),
            // The maximum size of a message of the bridge.
            text_bytes: protocol::SERVER_MESSAGE_BYTES,
            on_refusal: OnRefusal::default(),
        }
    }
}

//! The settings of the MCP server.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use client::Options;

/// The settings of the MCP server over HTTP and stdio. The defaults suit a bridge on the same
/// machine.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The bridge's WebSocket address, like `ws://127.0.0.1:8003/ws`.
    pub url: String,
    /// The timeouts and delays of the connections to the bridge.
    pub client: Options,
    /// The maximum number of concurrent calls that view an execution (`execute`, `wait`, `output`,
    /// a resource's output), and separately of all other calls. Further calls are refused.
    pub calls: usize,
    /// The maximum time between two progress notifications of one call.
    pub progress: Duration,
    /// The maximum output of an execution in one result, in bytes. Longer output is cut.
    pub text_bytes: usize,
    /// Called for every request that this server refuses by itself, for metrics.
    pub on_refusal: OnRefusal,
}

/// A function that is called with the reason, one of [`crate::REASONS`], whenever the MCP server
/// refuses a request by itself. Refusals by the bridge are not reported, because the bridge counts
/// them. The default does nothing.
#[derive(Clone)]
pub struct OnRefusal(Arc<dyn Fn(&'static str) + Send + Sync>);

impl OnRefusal {
    /// Creates a value that calls this function for every refusal. The function must not block.
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
    /// The default of [`Settings::calls`].
    pub const CALLS: usize = 64;

    /// Creates settings for the bridge at this `ws://` address, with defaults for the rest.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            client: Options::default(),
            calls: Self::CALLS,
            // MCP clients abort a call without progress after 60 to 300 s.
            progress: Duration::from_secs(15),
            // The maximum size of a message of the bridge.
            text_bytes: protocol::SERVER_MESSAGE_BYTES,
            on_refusal: OnRefusal::default(),
        }
    }
}

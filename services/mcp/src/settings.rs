//! The settings of the MCP server.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use client::Options;

/// The settings of the MCP server. The defaults suit a bridge on the same machine.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The bridge's WebSocket address, like `ws://127.0.0.1:8003/ws`.
    pub url: String,
    /// Timeouts of the WebSocket client.
    pub client: Options,
    /// The maximum number of concurrent calls that view an execution (`execute`, `wait`, `output`,
    /// a resource's output), and separately of all other calls. Further calls are refused.
    pub calls: usize,
    /// The maximum time between two progress notifications of one call.
    pub progress: Duration,
    /// The maximum output in one result, in bytes.
    pub text_bytes: usize,
    /// Receives the refusals of this server.
    pub on_refusal: OnRefusal,
}

/// A function that receives the reason of every refusal by the MCP server itself, one of
/// [`crate::REASONS`]. The bridge counts its own refusals. The default does nothing.
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

    /// Creates the defaults for the bridge at this address.
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

//! How patient a client is.

use std::time::Duration;

/// Times of a client. The defaults suit a bridge on this machine or nearby.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long one try to connect may take, the bridge's greeting included.
    pub connect_timeout: Duration,
    /// The first pause before a new connection; it doubles up to [`Options::max_delay`], with
    /// jitter.
    pub first_delay: Duration,
    /// The longest pause before a new connection.
    pub max_delay: Duration,
    /// After this time without any progress while disconnected the client gives up.
    pub give_up: Duration,
    /// How often the bridge is pinged. A peer of which nothing was heard for two such times is
    /// dead.
    pub ping: Duration,
    /// How long the answer to a request may take, reconnects included. `execute` and `attach` have
    /// no such limit.
    pub answer_timeout: Duration,
    /// Whether a run also yields each message of the bridge as it came ([`crate::Event::Message`]).
    pub raw: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            first_delay: Duration::from_millis(100),
            max_delay: Duration::from_secs(5),
            give_up: Duration::from_secs(120),
            // A little under the bridge's own 20 s, so that either side notices first.
            ping: Duration::from_secs(15),
            answer_timeout: Duration::from_secs(120),
            raw: false,
        }
    }
}

//! The settings of a client: its timeouts, its delays, and raw messages.

use std::time::Duration;

/// The settings of a client. The defaults suit a bridge on this machine or nearby.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long one attempt to connect may take, the bridge's greeting included.
    pub connect_timeout: Duration,
    /// The first delay before a reconnect. Delays double with jitter up to [`Options::max_delay`].
    pub first_delay: Duration,
    /// The longest delay before a reconnect.
    pub max_delay: Duration,
    /// The time after which a disconnected client without progress gives up.
    pub give_up: Duration,
    /// The interval of pings to the bridge. A bridge that is silent for two intervals is dead.
    pub ping: Duration,
    /// How long the answer to a request may take, reconnects included. `execute` and `attach` have
    /// no such limit.
    pub answer_timeout: Duration,
    /// Whether a run also yields the text of each message of the bridge
    /// ([`crate::Event::Message`]).
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

//! The settings of a client.

use std::time::Duration;

/// The settings of a client. The defaults suit a bridge on this machine or nearby.
#[derive(Debug, Clone)]
pub struct Options {
    /// The maximum time of one attempt to connect, the bridge's greeting included.
    pub connect_timeout: Duration,
    /// The first delay before a reconnect. Delays double with jitter up to [`Options::max_delay`].
    pub first_delay: Duration,
    /// The maximum delay before a reconnect.
    pub max_delay: Duration,
    /// The time without progress after which a disconnected client gives up.
    pub give_up: Duration,
    /// The interval of pings to the bridge. The client drops a connection that is silent for two
    /// intervals.
    pub ping: Duration,
    /// The maximum time to the answer to a request, reconnects included. `execute` and `attach`
    /// have no such limit.
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
            // Below the bridge's own interval of 20 s.
            ping: Duration::from_secs(15),
            answer_timeout: Duration::from_secs(120),
            raw: false,
        }
    }
}

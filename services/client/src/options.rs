//! The settings of a client.

use std::time::Duration;

/// The timeouts, reconnect delays and ping interval of a client. The defaults suit a bridge on this
/// machine or nearby.
#[derive(Debug, Clone)]
pub struct Options {
    /// The maximum time of one attempt to connect, including the bridge's first message.
    pub connect_timeout: Duration,
    /// The delay before the first reconnect. Each further delay is about twice as long, with
    /// jitter, up to [`Options::max_delay`].
    pub first_delay: Duration,
    /// The maximum delay before a reconnect.
    pub max_delay: Duration,
    /// The time for which a client tries to reconnect. Then its runs and requests end with
    /// [`Error::GaveUp`](crate::Error::GaveUp).
    pub give_up: Duration,
    /// The interval of pings to the bridge. A connection without any frame for two intervals counts
    /// as lost.
    pub ping: Duration,
    /// The maximum time until a request is answered, including reconnects. `execute` and `attach`
    /// have no such limit, because their runs report a lost connection.
    pub answer_timeout: Duration,
    /// Whether a run also yields the JSON text of each message of the bridge, as
    /// [`crate::Event::Message`].
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

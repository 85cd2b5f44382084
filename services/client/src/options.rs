//! The settings of a [`Client`](crate::Client), such as its token, timeouts and reconnect delays.

use std::time::Duration;

use protocol::Secret;

use crate::Roots;

/// The token, timeouts, reconnect delays and ping interval of a [`Client`](crate::Client). The
/// defaults suit a bridge without tokens on this machine or nearby.
#[derive(Debug, Clone)]
pub struct Options {
    /// The token that the client sends when it connects, for a bridge that checks tokens. `None`
    /// sends none.
    pub token: Option<Secret>,
    /// The root certificates that the client trusts for a `wss://` address.
    pub roots: Roots,
    /// The maximum time of one attempt to connect, until the bridge's greeting was read. The
    /// default is 10 s.
    pub connect_timeout: Duration,
    /// The delay before the first attempt to reconnect (default 100 ms). Each further delay is
    /// about twice as long, with random jitter, up to [`Options::max_delay`].
    pub first_delay: Duration,
    /// The maximum delay between two attempts to reconnect. The default is 5 s.
    pub max_delay: Duration,
    /// The time for which a client tries to reconnect (default 120 s). After it, all its runs and
    /// requests end with [`Error::GaveUp`](crate::Error::GaveUp).
    pub give_up: Duration,
    /// The interval of pings to the bridge (default 15 s). The connection counts as lost after two
    /// intervals without any frame from the bridge.
    pub ping: Duration,
    /// The maximum time until a request is answered, including reconnects (default 120 s).
    /// `execute` and `attach` have no such limit, because their runs report a lost connection.
    pub answer_timeout: Duration,
    /// Whether a run also yields the JSON text of each message of the bridge, as
    /// [`crate::Event::Message`]. Off by default.
    pub raw: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            token: None,
            roots: Roots::default(),
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

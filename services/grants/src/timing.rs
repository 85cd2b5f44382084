//! How both sides of the control connection notice that the other one is gone.

use std::time::Duration;

/// The timing of a control connection. Both services use the default; tests shorten it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// The time between two beats of one side.
    pub beat: Duration,
    /// The time without a line after which the other side counts as gone. It also limits each
    /// write: a side that reads nothing for that long is gone, too.
    pub silence: Duration,
}

impl Default for Timing {
    /// Beats every 5 s, and a limit of 15 s: two beats may be lost or late.
    fn default() -> Self {
        Self {
            beat: Duration::from_secs(5),
            silence: Duration::from_secs(15),
        }
    }
}

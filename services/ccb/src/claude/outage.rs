//! Messages about a lost connection. A short loss is not worth a message, because the client
//! library reconnects and nothing is lost.

use std::time::Duration;

use tokio::time::Instant;

/// The duration of a loss after which it is reported.
const REPORTED_AFTER: Duration = Duration::from_secs(5);

/// The present loss of the connection to the bridge, if there is one.
#[derive(Debug, Default)]
pub(super) struct Outage {
    since: Option<Instant>,
    reason: String,
    reported: bool,
}

impl Outage {
    /// Records that the connection is lost, or that another attempt to reconnect failed.
    pub(super) fn lost(&mut self, reason: String, now: Instant) {
        self.since.get_or_insert(now);
        self.reason = reason;
    }

    /// Returns the time at which the loss must be reported with [`Outage::report`].
    pub(super) fn report_at(&self) -> Option<Instant> {
        self.since
            .filter(|_| !self.reported)
            .map(|since| since + REPORTED_AFTER)
    }

    /// Returns the message about the loss, and marks the loss as reported.
    pub(super) fn report(&mut self) -> String {
        self.reported = true;
        format!(
            "lost the connection to the bridge: {}; reconnecting",
            self.reason
        )
    }

    /// Records that the bridge answers again. Returns a message if the loss was reported.
    pub(super) fn ended(&mut self) -> Option<&'static str> {
        let Self { reported, .. } = std::mem::take(self);
        reported.then_some("reconnected to the bridge")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_long_loss_and_its_end_are_reported() {
        let mut outage = Outage::default();
        let start = Instant::now();
        assert_eq!(outage.report_at(), None);
        outage.lost("cut".into(), start);
        outage.lost("refused".into(), start + Duration::from_secs(2));
        assert_eq!(outage.report_at(), Some(start + Duration::from_secs(5)));
        assert_eq!(outage.ended(), None, "a short loss");
        outage.lost("cut".into(), start);
        assert!(outage.report().contains("cut"));
        assert_eq!(outage.report_at(), None, "it is reported once");
        outage.lost("still".into(), start + Duration::from_secs(9));
        assert_eq!(outage.report_at(), None);
        assert_eq!(outage.ended(), Some("reconnected to the bridge"));
        assert_eq!(outage.ended(), None);
    }
}

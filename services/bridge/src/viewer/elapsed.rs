//! The time since the creation of an execution, which a `statusUpdate` shows as `elapsedMs`
//! (docs/protocol.md, "Notifications").

use jiff::Timestamp;
use protocol::Status;

/// Returns the milliseconds from the creation of an execution to its end, or to `now` if it has not
/// ended. Returns 0 if that time is negative, because a clock was set back.
#[must_use]
pub(super) fn elapsed_ms(status: &Status, now: Timestamp) -> u64 {
    let end = status.ended_at.unwrap_or(now);
    let elapsed = end.duration_since(status.created_at).as_millis();
    u64::try_from(elapsed).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use protocol::ExecutionId;

    use super::*;

    #[test]
    fn elapsed_time_stops_at_the_end_and_is_never_negative() {
        let created: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let now: Timestamp = "2026-01-01T00:00:01.5Z".parse().unwrap();
        let mut status = Status::queued(ExecutionId::random(), created, "default".into());
        assert_eq!(elapsed_ms(&status, now), 1500);
        status.ended_at = Some("2026-01-01T00:00:01Z".parse().unwrap());
        assert_eq!(elapsed_ms(&status, now), 1000);
        status.ended_at = None;
        assert_eq!(elapsed_ms(&status, Timestamp::UNIX_EPOCH), 0);
    }
}

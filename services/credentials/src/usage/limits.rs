//! The time at which a usage limit ends.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};

/// The header with the end of the account's usage limit, in seconds since 1970-01-01T00:00Z.
const UNIFIED_RESET: &str = "anthropic-ratelimit-unified-reset";

/// Returns when the limit that an answer reports ends, in milliseconds since 1970-01-01T00:00Z:
/// `anthropic-ratelimit-unified-reset`, else `retry-after` in seconds from `now`. `None` if the
/// answer is no 429 or names no time.
#[must_use]
pub fn resets_at_ms(status: StatusCode, headers: &HeaderMap, now: SystemTime) -> Option<u64> {
    if status != StatusCode::TOO_MANY_REQUESTS {
        return None;
    }
    let seconds = |name: &str| {
        let text = headers.get(name)?.to_str().ok()?;
        text.trim().parse::<u64>().ok()
    };
    if let Some(reset) = seconds(UNIFIED_RESET) {
        return reset.checked_mul(1000);
    }
    let pause = Duration::from_secs(seconds(RETRY_AFTER.as_str())?);
    let reset = now.duration_since(UNIX_EPOCH).ok()?.checked_add(pause)?;
    u64::try_from(reset.as_millis()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reset_of_the_account_wins_over_the_pause() {
        let now = UNIX_EPOCH + Duration::from_secs(1000);
        let at = |status: StatusCode, lines: &[(&'static str, &'static str)]| {
            let lines = lines.iter().map(|(name, value)| {
                let name = http::HeaderName::from_static(name);
                (name, http::HeaderValue::from_static(value))
            });
            resets_at_ms(status, &lines.collect(), now)
        };
        let reset = (UNIFIED_RESET, "2000");
        let pause = ("retry-after", "30");
        let limited = StatusCode::TOO_MANY_REQUESTS;
        assert_eq!(at(limited, &[reset, pause]), Some(2_000_000));
        assert_eq!(at(limited, &[pause]), Some(1_030_000));
        assert_eq!(at(limited, &[]), None);
        assert_eq!(at(limited, &[("retry-after", "soon")]), None);
        assert_eq!(
            at(limited, &[(UNIFIED_RESET, "18446744073709551615")]),
            None
        );
        assert_eq!(at(StatusCode::OK, &[reset, pause]), None);
    }
}

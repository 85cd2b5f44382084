//! The delays between attempts to reach claude-api, and the pause that claude-api asks for.

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::RETRY_AFTER;
use retries::Delays;

/// The delay after the first failure, before jitter (100 ms).
const FIRST_DELAY: Duration = Duration::from_millis(100);
/// The longest delay between two attempts to reach claude-api (5 s; docs/protocol.md, "Retries of
/// the bridge").
pub const LONGEST_DELAY: Duration = Duration::from_secs(5);

/// Returns the delays between the attempts of one request: 100 ms after the first failure, then
/// twice as long each time up to [`LONGEST_DELAY`].
#[must_use]
pub fn delays() -> Delays {
    Delays::new(FIRST_DELAY, LONGEST_DELAY)
}

/// Reads the pause that the HTTP header `Retry-After` asks for, in seconds or as a date (RFC 9110,
/// section 10.2.3). Returns `None` if the header is missing or malformed, and zero for a date in
/// the past.
#[must_use]
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?;
    let time = SystemTime::from(date.timestamp());
    Some(time.duration_since(SystemTime::now()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_honoured() {
        let mut headers = HeaderMap::new();
        assert_eq!(retry_after(&headers), None);
        headers.insert(RETRY_AFTER, "2".parse().unwrap());
        assert_eq!(retry_after(&headers), Some(Duration::from_secs(2)));
        assert!(delays().next_delay(retry_after(&headers)) >= Duration::from_secs(2));
        headers.insert(
            RETRY_AFTER,
            "Sun, 06 Nov 1994 08:49:37 GMT".parse().unwrap(),
        );
        assert_eq!(retry_after(&headers), Some(Duration::ZERO));
        headers.insert(RETRY_AFTER, "soon".parse().unwrap());
        assert_eq!(retry_after(&headers), None);
    }
}

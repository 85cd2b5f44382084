//! The parsers of values of command line options. Their errors are messages for the user.

use std::time::Duration;

use client::Address;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use protocol::Webhook;
use protocol::access::ShareRequest;
use protocol::webhook::WebhookEvent;

/// Parses `NAME=VALUE`, the value of options such as `--env`, into the name and the value. An error
/// says what form is expected.
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("give NAME=VALUE".to_owned()),
    }
}

/// Parses an HTTP header, `NAME: VALUE`, into the name and the value without blanks around it.
pub(crate) fn header(text: &str) -> Result<(String, String), String> {
    match text.split_once(':') {
        Some((name, value)) if !name.is_empty() && !name.contains(char::is_whitespace) => {
            Ok((name.to_owned(), value.trim().to_owned()))
        }
        _ => Err("give NAME: VALUE".to_owned()),
    }
}

/// Parses a webhook: the URL, and after a blank the events, separated by commas. A URL has no
/// blank, but may have any other sign.
pub(crate) fn webhook(text: &str) -> Result<Webhook, String> {
    let (url, events) = match text.trim().split_once(' ') {
        Some((url, events)) => (url, Some(events)),
        None => (text.trim(), None),
    };
    let mut webhook = Webhook::new(url);
    if let Some(events) = events {
        let event = |name: &str| {
            let mut all = WebhookEvent::ALL.into_iter();
            let found = all.find(|event| event.as_str() == name.trim());
            found.ok_or_else(|| format!("{name:?} is no event; give ended, question or stalled"))
        };
        webhook.events = events.split(',').map(event).collect::<Result<_, _>>()?;
    }
    let checked = webhook.check().map_err(|error| error.to_string());
    checked.map(|_| webhook)
}

/// Parses a duration such as `90` (seconds), `90s`, `15m`, `2h` or `1d`, and returns it in seconds.
/// An error for zero, a negative number, or any other text.
pub(crate) fn seconds(text: &str) -> Result<f64, String> {
    let (number, unit) = match text.char_indices().last() {
        Some((at, 's')) => (&text[..at], 1.0),
        Some((at, 'm')) => (&text[..at], 60.0),
        Some((at, 'h')) => (&text[..at], 3600.0),
        Some((at, 'd')) => (&text[..at], 24.0 * 3600.0),
        _ => (text, 1.0),
    };
    match number.parse::<f64>() {
        Ok(n) if n.is_finite() && n > 0.0 => Ok(n * unit),
        _ => Err("give seconds, or a number with s, m, h or d, like 90, 15m, 2h or 1d".to_owned()),
    }
}

/// Parses the time that a question waits as [`seconds`] does. `never` and `0` are 0, which is no
/// limit.
pub(crate) fn question_seconds(text: &str) -> Result<f64, String> {
    match text {
        "never" | "0" => Ok(0.0),
        text => seconds(text).map_err(|mistake| format!("{mistake}, or never")),
    }
}

/// Parses a JSON object, the value of `--input`.
pub(crate) fn json_object(
    text: &str,
) -> Result<serde_json::Map<String, serde_json::Value>, String> {
    serde_json::from_str(text).map_err(|error| format!("give a JSON object: {error}"))
}

/// Parses a duration as [`seconds`] does. More than ten years is read as ten years, because a
/// `Duration` cannot hold every number.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    const MAX_SECONDS: f64 = 10.0 * 366.0 * 24.0 * 3600.0;
    Ok(Duration::from_secs_f64(seconds(text)?.min(MAX_SECONDS)))
}

/// Parses the lifetime of a share as [`seconds`] does, and returns it in whole seconds. An error
/// for less than a second and for more than 30 days.
pub(crate) fn share_seconds(text: &str) -> Result<u64, String> {
    const MAX: f64 = ShareRequest::MAX_SECONDS as f64;
    let seconds = seconds(text)?;
    if !(1.0..=MAX).contains(&seconds) {
        return Err("give a time from 1s to 30d".to_owned());
    }
    Ok(seconds as u64)
}

/// Parses the name of a token or a principal.
pub(crate) fn name(text: &str) -> Result<String, String> {
    let is_good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if (1..=63).contains(&text.len()) && text.bytes().all(is_good) {
        return Ok(text.to_owned());
    }
    Err("give 1 to 63 of the characters a-z, 0-9 and -".to_owned())
}

/// Parses the glob of a workspace name: the characters of workspace names, and `*`.
pub(crate) fn glob(text: &str) -> Result<String, String> {
    let is_good = |b: u8| b.is_ascii_alphanumeric() || b"-_.*".contains(&b);
    if (1..=64).contains(&text.len()) && text.bytes().all(is_good) {
        return Ok(text.to_owned());
    }
    Err("give names of workspaces, in which * stands for any characters".to_owned())
}

/// Parses an amount of US dollars, which must be positive.
pub(crate) fn usd(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(amount) if amount.is_finite() && amount > 0.0 => Ok(amount),
        _ => Err("give an amount above 0, like 5 or 2.50".to_owned()),
    }
}

/// Parses a day that begins in the future, in UTC.
pub(crate) fn future_date(text: &str) -> Result<Date, String> {
    let day: Date = text
        .parse()
        .map_err(|_| "give a day like 2027-01-31".to_owned())?;
    let begin = day.to_zoned(TimeZone::UTC).map(|at| at.timestamp());
    match begin {
        Ok(begin) if begin > Timestamp::now() && day.year() <= 9999 => Ok(day),
        _ => Err("the day has begun already in UTC; give a later one".to_owned()),
    }
}

/// Parses the address of a bridge, the value of `--url`. An error says what is wrong with it.
pub(crate) fn address(text: &str) -> Result<Address, String> {
    text.parse().map_err(|e: client::Error| e.to_string())
}

/// Splits the values of a repeatable option at commas into tool names. A comma inside parentheses
/// belongs to the name, as in `Bash(cut -d, *)`. Returns `None` if the option was not given.
pub(crate) fn tools(lists: &[String]) -> Option<Vec<String>> {
    if lists.is_empty() {
        return None;
    }
    let mut names = Vec::new();
    for list in lists {
        let mut depth = 0_u32;
        let split = list.split(|c| {
            match c {
                '(' => depth += 1,
                ')' => depth = depth.saturating_sub(1),
                _ => {}
            }
            c == ',' && depth == 0
        });
        names.extend(
            split
                .map(str::trim)
                .filter(|n| !n.is_empty())
                .map(str::to_owned),
        );
    }
    Some(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_split_at_the_first_equals_sign() {
        assert_eq!(pair("A=b=c"), Ok(("A".into(), "b=c".into())));
        assert_eq!(pair("A="), Ok(("A".into(), String::new())));
        assert!(pair("A").is_err());
        assert!(pair("=b").is_err());
    }

    #[test]
    fn a_webhook_is_a_url_with_events() {
        let url = "https://a:1/b?c=d,e=f";
        assert_eq!(webhook(url), Ok(Webhook::new(url)));
        let events = webhook("https://a/ stalled,ended").unwrap().events;
        assert_eq!(events, [WebhookEvent::Stalled, WebhookEvent::Ended]);
        for bad in [
            "",
            "http://a/",
            "https://a/ started",
            "https://a/ ended,ended",
            "ended",
        ] {
            assert!(webhook(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_time_is_positive_and_may_have_a_unit() {
        assert_eq!(seconds("90"), Ok(90.0));
        assert_eq!(seconds("1.5s"), Ok(1.5));
        assert_eq!(seconds("15m"), Ok(900.0));
        assert_eq!(seconds("2h"), Ok(7200.0));
        assert_eq!(seconds("1d"), Ok(86_400.0));
        for bad in ["", "m", "-1", "0", "inf", "NaN", "5w", "5\u{20ac}"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
        assert!(duration("1e300").is_ok());
    }

    #[test]
    fn a_question_may_wait_without_a_limit() {
        assert_eq!(question_seconds("never"), Ok(0.0));
        assert_eq!(question_seconds("0"), Ok(0.0));
        assert_eq!(question_seconds("15m"), Ok(900.0));
        assert!(question_seconds("-1").is_err() && question_seconds("soon").is_err());
        assert!(json_object(r#"{"command": "ls"}"#).is_ok());
        assert!(json_object("[1]").is_err() && json_object("ls").is_err());
    }

    #[test]
    fn a_share_lives_from_a_second_to_30_days() {
        assert_eq!(share_seconds("1d"), Ok(86_400));
        assert_eq!(share_seconds("30d"), Ok(ShareRequest::MAX_SECONDS));
        for bad in ["0", "0.5", "31d", "1e300"] {
            assert!(share_seconds(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_values_of_a_new_token_are_checked() {
        assert_eq!(name("ci-2"), Ok("ci-2".to_owned()));
        for bad in ["", "a b", "Ci", "a.b", &"a".repeat(64)] {
            assert!(name(bad).is_err(), "{bad}");
        }
        assert!(glob("docs-*").is_ok() && glob("a/b").is_err() && glob("").is_err());
        assert!(usd("2.50").is_ok() && usd("0").is_err() && usd("inf").is_err());
        assert!(future_date("9999-01-31").is_ok());
        for bad in ["2020-01-01", "tomorrow", "2027-02-30"] {
            assert!(future_date(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_comma_in_parentheses_does_not_split_a_tool_list() {
        assert_eq!(tools(&[]), None);
        let given = ["Read, Bash(cut -d, *)".to_owned(), "Edit".to_owned()];
        let expected: Vec<String> = ["Read", "Bash(cut -d, *)", "Edit"].map(String::from).into();
        assert_eq!(tools(&given), Some(expected));
        assert_eq!(tools(&[String::new()]), Some(vec![]));
    }
}

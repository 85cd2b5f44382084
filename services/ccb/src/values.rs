//! The parsers of values of command line options. Their errors are messages for the user.

use std::time::Duration;

use client::Address;

/// Parses `NAME=VALUE`, the value of options such as `--env`, into the name and the value. An error
/// says what form is expected.
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("give NAME=VALUE".to_owned()),
    }
}

/// Parses a duration such as `90` (seconds), `90s`, `15m` or `2h`, and returns it in seconds. An
/// error for zero, a negative number, or any other text.
pub(crate) fn seconds(text: &str) -> Result<f64, String> {
    let (number, unit) = match text.char_indices().last() {
        Some((at, 's')) => (&text[..at], 1.0),
        Some((at, 'm')) => (&text[..at], 60.0),
        Some((at, 'h')) => (&text[..at], 3600.0),
        _ => (text, 1.0),
    };
    match number.parse::<f64>() {
        Ok(n) if n.is_finite() && n > 0.0 => Ok(n * unit),
        _ => Err("give seconds, or a number with s, m or h, like 90, 15m or 2h".to_owned()),
    }
}

/// Parses a duration as [`seconds`] does. More than ten years is read as ten years, because a
/// `Duration` cannot hold every number.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    const MAX_SECONDS: f64 = 10.0 * 366.0 * 24.0 * 3600.0;
    Ok(Duration::from_secs_f64(seconds(text)?.min(MAX_SECONDS)))
}

/// Parses the `ws://` address of a bridge, the value of `--url`. An error says what is wrong with
/// it.
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
    fn a_time_is_positive_and_may_have_a_unit() {
        assert_eq!(seconds("90"), Ok(90.0));
        assert_eq!(seconds("1.5s"), Ok(1.5));
        assert_eq!(seconds("15m"), Ok(900.0));
        assert_eq!(seconds("2h"), Ok(7200.0));
        for bad in ["", "m", "-1", "0", "inf", "NaN", "5d", "5\u{20ac}"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
        assert!(duration("1e300").is_ok());
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

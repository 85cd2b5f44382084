//! The values that differ from run to run, and the fixed values that replace them on the page.

use std::collections::BTreeMap;

use serde_json::Value;

/// Replaces every time.
const TIME: &str = "2026-01-01T00:00:00Z";
/// Replaces every duration, in milliseconds.
const MILLISECONDS: u64 = 1000;
/// The characters of a UUID in the hyphenated form.
const UUID: usize = 36;

/// The replaced values of one transcript, each with the value that the page shows.
#[derive(Debug, Default)]
pub(super) struct Names {
    uuids: BTreeMap<String, String>,
    executions: u8,
    sessions: u8,
    numbers: BTreeMap<u64, u64>,
    texts: Vec<(String, String)>,
}

impl Names {
    /// Shows this UUID as the next session: `aaaaaaaa-...`, `bbbbbbbb-...`.
    pub(super) fn session(&mut self, id: &str) {
        let letter = char::from(b'a' + self.sessions);
        self.sessions += 1;
        self.uuids.insert(id.to_owned(), uuid_of(letter));
    }

    /// Shows a number as another one in the whole transcript.
    pub(super) fn number(&mut self, real: u64, shown: u64) {
        self.numbers.insert(real, shown);
    }

    /// Shows a text as another one in the whole transcript.
    pub(super) fn text(&mut self, real: impl Into<String>, shown: impl Into<String>) {
        self.texts.push((real.into(), shown.into()));
    }

    /// Replaces ids, times, durations, numbers and texts in a message.
    pub(super) fn replace(&mut self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.replace_text(text),
            Value::Number(number) => {
                let shown = number.as_u64().and_then(|real| self.numbers.get(&real));
                if let Some(shown) = shown {
                    *value = (*shown).into();
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.replace(item)),
            Value::Object(members) => {
                for (name, member) in members.iter_mut() {
                    let is_duration = ["elapsedMs", "durationMs"].contains(&name.as_str());
                    if is_duration && member.is_u64() {
                        *member = MILLISECONDS.into();
                    } else {
                        self.replace(member);
                    }
                }
            }
            Value::Null | Value::Bool(_) => {}
        }
    }

    /// Replaces ids and texts in a text; a text that is a time is [`TIME`].
    pub(super) fn replace_text(&mut self, text: &str) -> String {
        if text.len() >= "0000-00-00T00:00:00Z".len() && text.parse::<jiff::Timestamp>().is_ok() {
            return TIME.to_owned();
        }
        let mut text = text.to_owned();
        for (real, shown) in &self.texts {
            text = text.replace(real.as_str(), shown);
        }
        let mut at = 0;
        while let Some(part) = text.get(at..) {
            if part.len() < UUID {
                break;
            }
            let id = part.get(..UUID).filter(|id| id.contains('-'));
            if let Some(id) = id.filter(|id| uuid::Uuid::try_parse(id).is_ok()) {
                let shown = self.uuid(id);
                text.replace_range(at..at + UUID, &shown);
                at += UUID;
            } else {
                at += part.chars().next().map_or(1, char::len_utf8);
            }
        }
        text
    }

    /// Returns the UUID that the page shows: `11111111-...` for the first one of the transcript.
    fn uuid(&mut self, id: &str) -> String {
        if let Some(shown) = self.uuids.get(id) {
            return shown.clone();
        }
        self.executions += 1;
        let digit = char::from(b'0' + self.executions);
        assert!(digit.is_ascii_digit(), "more than nine ids");
        let shown = uuid_of(digit);
        self.uuids.insert(id.to_owned(), shown.clone());
        shown
    }
}

/// Returns a UUID of version 4 whose other digits are all the same.
fn uuid_of(digit: char) -> String {
    let digits = |count: usize| digit.to_string().repeat(count);
    let [first, second, last] = [digits(8), digits(4), digits(12)];
    let three = digits(3);
    format!("{first}-{second}-4{three}-8{three}-{last}")
}

#[test]
fn ids_times_and_durations_have_names() {
    let mut names = Names::default();
    let [one, two] = [(); 2].map(|()| uuid::Uuid::new_v4().to_string());
    names.session(&two);
    names.number(4711, 1);
    let mut value = serde_json::json!({
        "a": format!("é /v1/{one}/x {two}"), "b": one, "at": "2026-03-04T05:06:07.8Z",
        "durationMs": 77, "n": [4711, 4712],
    });
    names.replace(&mut value);
    let (first, session) = (uuid_of('1'), uuid_of('a'));
    let expected = serde_json::json!({
        "a": format!("é /v1/{first}/x {session}"), "b": first, "at": TIME,
        "durationMs": MILLISECONDS, "n": [1, 4712],
    });
    assert_eq!(value, expected);
    assert!(uuid::Uuid::try_parse(&first).is_ok());
}

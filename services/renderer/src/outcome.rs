//! Reads a `result` event.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::denials;
use crate::facts::Outcome;
use crate::sanitise::without_lone_halves;
use crate::wtf8::Raw;

/// Of a result's text this much is in the outcome: enough for any message (64 KiB).
const LONGEST_TEXT_BYTES: usize = 64 << 10;

/// How many messages of `errors`, and how many bytes of each.
const MOST_ERRORS: usize = 16;
const LONGEST_ERROR_BYTES: usize = 2 << 10;

#[derive(Debug, Deserialize)]
pub(crate) struct ResultEvent<'a> {
    is_error: Option<bool>,
    #[serde(borrow)]
    subtype: Option<Raw<'a>>,
    api_error_status: Option<f64>,
    #[serde(borrow)]
    result: Option<Raw<'a>>,
    #[serde(borrow)]
    errors: Option<&'a RawValue>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    total_cost_usd: Option<f64>,
    #[serde(borrow)]
    permission_denials: Option<&'a RawValue>,
    num_turns: Option<f64>,
    #[serde(borrow)]
    terminal_reason: Option<Raw<'a>>,
    #[serde(borrow)]
    stop_reason: Option<Raw<'a>>,
    result_index: Option<f64>,
}

/// The outcome, and the result's whole text.
pub(crate) fn read(event: &ResultEvent<'_>) -> (Outcome, Option<String>) {
    let text = |raw: &Option<Raw<'_>>| raw.as_ref().map(Raw::text);
    let whole = text(&event.result);
    let subtype = text(&event.subtype).unwrap_or_default();
    let outcome = Outcome {
        // Without the word, only a plain success is one.
        is_error: event.is_error.unwrap_or(subtype != "success"),
        api_error_status: status(event.api_error_status),
        text: whole.as_deref().map(|text| cut(text, LONGEST_TEXT_BYTES)),
        errors: event.errors.map(messages).unwrap_or_default(),
        usage: event.usage.and_then(value),
        cost_usd: event.total_cost_usd,
        permission_denials: event
            .permission_denials
            .map(denials::from_result)
            .unwrap_or_default(),
        num_turns: event.num_turns.map(count),
        terminal_reason: text(&event.terminal_reason),
        stop_reason: text(&event.stop_reason),
        result_index: event.result_index.map(count),
        subtype,
        ..Outcome::default()
    };
    (outcome, whole)
}

/// An HTTP status, if it is one.
pub(crate) fn status(number: Option<f64>) -> Option<u16> {
    number
        .map(count)
        .and_then(|number| u16::try_from(number).ok())
}

/// A count that JSON may give as any number.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the cast saturates, which is right here"
)]
pub(crate) fn count(number: f64) -> u64 {
    number as u64
}

/// A time in Unix seconds that JSON may give as any number.
#[allow(
    clippy::cast_possible_truncation,
    reason = "the cast saturates, which is right here"
)]
pub(crate) fn seconds(number: f64) -> i64 {
    number as i64
}

/// A part of a line as a value; `None` if it nests too deep.
pub(crate) fn value(raw: &RawValue) -> Option<Value> {
    let again = || serde_json::from_str(&without_lone_halves(raw.get())?).ok();
    serde_json::from_str(raw.get()).ok().or_else(again)
}

fn messages(raw: &RawValue) -> Vec<String> {
    let list = match value(raw) {
        Some(Value::Array(list)) => list,
        Some(Value::Null) | None => Vec::new(),
        Some(one) => vec![one],
    };
    let message = |value: Value| match value {
        Value::String(text) => cut(&text, LONGEST_ERROR_BYTES),
        other => cut(&other.to_string(), LONGEST_ERROR_BYTES),
    };
    list.into_iter().take(MOST_ERRORS).map(message).collect()
}

fn cut(text: &str, bytes: usize) -> String {
    text[..text.floor_char_boundary(bytes)].to_owned()
}

//! Reads the CLI's `result` event, which says how its run ended: success or error, text, cost and
//! token counts.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::denials;
use crate::event::word;
use crate::facts::Outcome;
use crate::sanitise::value;
use crate::wtf8::{Literal, Raw};

/// The most bytes that are kept of a result's text (64 KiB). That is enough for any error message.
/// The whole text of a success is in the output.
const LONGEST_TEXT_BYTES: usize = 64 << 10;

/// The longest `usage` object (token counts) that is kept (16 KiB). A longer one is dropped,
/// because it would not fit into the status of the execution.
const LONGEST_USAGE_BYTES: usize = 16 << 10;

/// The longest structured output that is kept (32 KiB). A longer one is dropped, because it would
/// not fit into the status of the execution. The event has it.
const LONGEST_STRUCTURED_OUTPUT_BYTES: usize = 32 << 10;

/// The most error messages of a result that are kept, which bounds the memory. Further ones are
/// dropped.
const MOST_ERRORS: usize = 16;
/// The most bytes that are kept of each error message of a result (2 KiB).
const LONGEST_ERROR_BYTES: usize = 2 << 10;

/// The members of a `result` line that the renderer reads, borrowed from the line. Each may be
/// missing.
#[derive(Debug, Deserialize)]
pub(crate) struct ResultEvent<'a> {
    is_error: Option<bool>,
    #[serde(borrow)]
    subtype: Option<Raw<'a>>,
    api_error_status: Option<f64>,
    #[serde(borrow)]
    result: Option<Literal<'a>>,
    #[serde(borrow)]
    errors: Option<&'a RawValue>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    structured_output: Option<&'a RawValue>,
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

/// Returns what a `result` line says about the end of the run, and the whole text of the result.
/// The text is `None` if the line has none. In the outcome, long members are shortened or left out.
pub(crate) fn read<'a>(event: &ResultEvent<'a>) -> (Outcome, Option<Literal<'a>>) {
    let word = |raw: &Option<Raw<'_>>| word(raw.as_ref());
    let subtype = word(&event.subtype).unwrap_or_default();
    let beginning = event.result.map(|text| text.beginning(LONGEST_TEXT_BYTES));
    let api_error_status = status(event.api_error_status);
    let outcome = Outcome {
        is_error: is_error(event.is_error, &subtype, api_error_status),
        api_error_status,
        text: beginning.map(|text| cut(&text, LONGEST_TEXT_BYTES)),
        errors: event.errors.map(messages).unwrap_or_default(),
        usage: event
            .usage
            .filter(|usage| usage.get().len() <= LONGEST_USAGE_BYTES)
            .and_then(value),
        structured_output: event
            .structured_output
            .filter(|output| output.get().len() <= LONGEST_STRUCTURED_OUTPUT_BYTES)
            .and_then(value),
        cost_usd: event.total_cost_usd,
        permission_denials: event
            .permission_denials
            .map(denials::from_result)
            .unwrap_or_default(),
        num_turns: event.num_turns.map(count),
        terminal_reason: word(&event.terminal_reason),
        stop_reason: word(&event.stop_reason),
        result_index: event.result_index.map(count),
        subtype,
        ..Outcome::default()
    };
    (outcome, event.result)
}

/// Returns true if a result is an error. Each of the three members can show it: API errors have the
/// subtype `success`, and `is_error` may be false although the subtype names an error. If
/// `is_error` is missing, every subtype other than `success` is an error.
fn is_error(flag: Option<bool>, subtype: &str, api_error_status: Option<u16>) -> bool {
    flag.unwrap_or(subtype != "success")
        || subtype.starts_with("error")
        || api_error_status.is_some_and(|status| status >= 400)
}

/// Converts a JSON number to an HTTP status. Returns `None` if it is absent or over 65,535.
pub(crate) fn status(number: Option<f64>) -> Option<u16> {
    number
        .map(count)
        .and_then(|number| u16::try_from(number).ok())
}

/// Converts a JSON number to a whole count. A fraction is rounded down, and a negative number
/// becomes 0.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the cast saturates, which is right here"
)]
pub(crate) fn count(number: f64) -> u64 {
    number as u64
}

/// Converts a JSON number to a time in whole Unix seconds. A fraction is cut off.
#[allow(
    clippy::cast_possible_truncation,
    reason = "the cast saturates, which is right here"
)]
pub(crate) fn seconds(number: f64) -> i64 {
    number as i64
}

/// Returns the error messages in the member `errors` of a result, which may be a list or one value.
/// Returns at most [`MOST_ERRORS`], each shortened. A message that is not a string is returned as
/// JSON.
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

/// Returns the first `bytes` bytes of a text, or slightly fewer so that no character is cut.
fn cut(text: &str, bytes: usize) -> String {
    text[..text.floor_char_boundary(bytes)].to_owned()
}

//! The CLI of the bench: the stand-in, and writers of lines with an exact size or with their time.
//! The model's name selects one: nothing else reaches a process before its prompt.
//!
//! | model | prompt | writes |
//! |---|---|---|
//! | `bench-lines` | `BYTES TOTAL` | event lines of BYTES bytes each, TOTAL bytes, at full speed |
//! | `bench-stamps` | `RATE SECONDS` | RATE token lines a second, each with its time |
//! | `bench-paced` | `BYTES RATE TOTAL` | as `bench-lines`, but RATE bytes a second, with times |
//!
//! Times are monotonic, in nanoseconds.

use std::{
    io::{BufRead, Write},
    process::ExitCode,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

/// The name that the program is started by.
pub(super) const NAME: &str = "bench-claude";
const WRITE_BYTES: usize = 256 * 1024;

/// Returns whether this process was started as the CLI.
#[must_use]
pub fn is_cli(program: &str, first: Option<&str>) -> bool {
    program.ends_with(NAME) || matches!(first, Some("-p" | "--print" | "--version" | "__role"))
}

/// Runs as the CLI. `arguments`: those of the process, without its name.
#[must_use]
pub fn main(arguments: &[String]) -> ExitCode {
    let model = |name: &str| {
        let joined = format!("--model={name}");
        arguments
            .iter()
            .any(|argument| argument == name || *argument == joined)
    };
    let written = if model("bench-lines") {
        lines()
    } else if model("bench-stamps") {
        stamps()
    } else if model("bench-paced") {
        paced()
    } else {
        return crate::stand_in::main(arguments);
    };
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// The numbers of the prompt.
fn numbers<const N: usize>() -> std::io::Result<[u64; N]> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    let message: Value = serde_json::from_str(&line)?;
    let content = &message["message"]["content"];
    let text = content
        .as_str()
        .or_else(|| content[0]["text"].as_str())
        .unwrap_or_default();
    let words = text.split_whitespace().filter_map(|word| word.parse().ok());
    let numbers: Vec<u64> = words.take(N).collect();
    let lacks = |_| std::io::Error::other(format!("{N} numbers are needed"));
    numbers.try_into().map_err(lacks)
}

fn put(out: &mut impl Write, line: &Value) -> std::io::Result<()> {
    writeln!(out, "{line}")
}

fn result() -> Value {
    json!({
        "type": "result", "subtype": "success", "is_error": false, "result": "done",
        "num_turns": 1, "duration_ms": 1,
        "duration_api_ms": 1, "total_cost_usd": 0.0, "session_id": "bench", "usage": {},
        "permission_denials": [],
    })
}

fn init() -> Value {
    json!({"type": "system", "subtype": "init", "session_id": "bench", "model": "bench",
        "tools": []})
}

fn lines() -> std::io::Result<()> {
    let [bytes, total] = numbers()?;
    let bytes = usize::try_from(bytes).unwrap_or(80).max(40);
    let mut out = std::io::stdout().lock();
    put(&mut out, &init())?;
    let frame = r#"{"type":"bench","text":""}"#;
    let line = format!(
        "{{\"type\":\"bench\",\"text\":\"{}\"}}\n",
        "x".repeat(bytes - frame.len() - 1)
    );
    let chunk = line.repeat(WRITE_BYTES / line.len());
    let mut left = total;
    while left > 0 {
        out.write_all(chunk.as_bytes())?;
        left = left.saturating_sub(chunk.len() as u64);
    }
    put(&mut out, &result())
}

/// CLOCK_MONOTONIC in nanoseconds: the same for all processes of the machine (clock_gettime(2)).
pub(super) fn now() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

fn stamps() -> std::io::Result<()> {
    let [rate, seconds] = numbers()?;
    let mut out = std::io::stdout().lock();
    put(&mut out, &init())?;
    let event = |event: Value| {
        json!({"type": "stream_event", "event": event,
        "session_id": "bench", "parent_tool_use_id": null})
    };
    let start = json!({"type": "message_start", "message": {"id": "msg_1", "role": "assistant",
        "content": [], "model": "bench"}});
    put(&mut out, &event(start))?;
    let block = json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text",
        "text": ""}});
    put(&mut out, &event(block))?;
    let pace = Duration::from_secs(1) / u32::try_from(rate.max(1)).unwrap_or(1);
    let mut due = Instant::now();
    for _ in 0..rate * seconds {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        due += pace;
        let text = format!("{} ", now());
        let delta = json!({"type": "content_block_delta", "index": 0,
            "delta": {"type": "text_delta", "text": text}});
        put(&mut out, &event(delta))?;
    }
    put(
        &mut out,
        &event(json!({"type": "content_block_stop", "index": 0})),
    )?;
    put(&mut out, &event(json!({"type": "message_stop"})))?;
    put(&mut out, &result())
}

/// The text before the time in an event line within a message, where quotes are escaped.
const AT: &str = r#"\"at\":\""#;
/// The fixed number of digits of the time, so all lines have the same length.
const AT_DIGITS: usize = 20;

fn paced() -> std::io::Result<()> {
    let [bytes, rate, total] = numbers()?;
    let mut out = std::io::stdout().lock();
    put(&mut out, &init())?;
    let end = format!(r#"","at":"{:0AT_DIGITS$}"}}"#, 0).len();
    let begin = r#"{"type":"bench","text":""#;
    let filling = usize::try_from(bytes).unwrap_or(0);
    let filling = "x".repeat(filling.saturating_sub(begin.len() + end + 1));
    let lines = total.div_ceil(bytes.max(1));
    let pace = Duration::from_secs_f64(seconds(bytes, rate));
    let mut due = Instant::now();
    for _ in 0..lines {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        due += pace;
        let line = format!("{begin}{filling}\",\"at\":\"{:0AT_DIGITS$}\"}}\n", now());
        out.write_all(line.as_bytes())?;
    }
    put(&mut out, &result())
}

#[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
fn seconds(bytes: u64, rate: u64) -> f64 {
    bytes as f64 / rate.max(1) as f64
}

/// Returns the times at which the lines that end in this message were written.
pub(super) fn written_at(message: &str) -> impl Iterator<Item = u64> + '_ {
    let found = message.match_indices(AT);
    found.filter_map(|(at, _)| message.get(at + AT.len()..)?.get(..AT_DIGITS)?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_times_in_a_message_are_found_unless_cut() {
        let line = format!(r#"{{"type":"bench","text":"xx","at":"{:020}"}}"#, 77);
        let message = Value::from(format!("{line}\n{line}\n{}", &line[..line.len() - 5]));
        let found: Vec<u64> = written_at(&message.to_string()).collect();
        assert_eq!(found, [77, 77]);
    }
}

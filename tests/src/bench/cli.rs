//! The CLI of the bench: the stand-in, and two writers whose lines are of an exact size or carry the time at which they
//! were written. Chosen by the model's name, as nothing else reaches a process before its prompt.
//!
//! | model | prompt | writes |
//! |---|---|---|
//! | `bench-lines` | `BYTES TOTAL` | event lines of BYTES bytes each, TOTAL bytes of them, as fast as they are taken |
//! | `bench-stamps` | `RATE SECONDS` | RATE token lines a second, each text the monotonic time in nanoseconds |

use std::{
    io::{BufRead, Write},
    process::ExitCode,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

/// The name that the program is started by.
pub(super) const NAME: &str = "bench-claude";
const WRITE_BYTES: usize = 256 * 1024;

/// Whether this process was started as the CLI.
#[must_use]
pub fn is_cli(program: &str, first: Option<&str>) -> bool {
    program.ends_with(NAME) || matches!(first, Some("-p" | "--print" | "--version" | "__role"))
}

/// Lives as the CLI. `arguments`: those of the process, its name left out.
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
    } else {
        return crate::stand_in::main(arguments);
    };
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// The two numbers of the prompt.
fn numbers() -> std::io::Result<(u64, u64)> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    let message: Value = serde_json::from_str(&line)?;
    let content = &message["message"]["content"];
    let text = content
        .as_str()
        .or_else(|| content[0]["text"].as_str())
        .unwrap_or_default();
    let mut words = text.split_whitespace().filter_map(|word| word.parse().ok());
    match (words.next(), words.next()) {
        (Some(first), Some(second)) => Ok((first, second)),
        _ => Err(std::io::Error::other("two numbers are needed")),
    }
}

fn put(out: &mut impl Write, line: &Value) -> std::io::Result<()> {
    writeln!(out, "{line}")
}

fn result() -> Value {
    json!({
        "type": "result", "subtype": "success", "is_error": false, "result": "done", "num_turns": 1, "duration_ms": 1,
        "duration_api_ms": 1, "total_cost_usd": 0.0, "session_id": "bench", "usage": {}, "permission_denials": [],
    })
}

fn init() -> Value {
    json!({"type": "system", "subtype": "init", "session_id": "bench", "model": "bench", "tools": []})
}

fn lines() -> std::io::Result<()> {
    let (bytes, total) = numbers()?;
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
    let (rate, seconds) = numbers()?;
    let mut out = std::io::stdout().lock();
    put(&mut out, &init())?;
    let event = |event: Value| json!({"type": "stream_event", "event": event, "session_id": "bench", "parent_tool_use_id": null});
    let start = json!({"type": "message_start", "message": {"id": "msg_1", "role": "assistant", "content": [], "model": "bench"}});
    put(&mut out, &event(start))?;
    let block = json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}});
    put(&mut out, &event(block))?;
    let pace = Duration::from_secs(1) / u32::try_from(rate.max(1)).unwrap_or(1);
    let mut due = Instant::now();
    for _ in 0..rate * seconds {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        due += pace;
        let text = format!("{} ", now());
        let delta = json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}});
        put(&mut out, &event(delta))?;
    }
    put(
        &mut out,
        &event(json!({"type": "content_block_stop", "index": 0})),
    )?;
    put(&mut out, &event(json!({"type": "message_stop"})))?;
    put(&mut out, &result())
}

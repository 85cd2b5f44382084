//! Measures the speed of the renderer: `cargo run --release -p renderer --example rate`.

#![allow(clippy::print_stdout, reason = "the example prints its result")]

use std::time::Instant;

use renderer::{EventsOutput, Rendered, Renderer};

/// The size of one read of the CLI's pipe.
const CHUNK_BYTES: usize = 64 << 10;

const TOKENS: u32 = 500_000;

fn main() {
    let token = concat!(
        r#"{"type":"stream_event","event":{"type":"content_block_delta","index":0,"delta":{"#,
        r#""type":"text_delta","text":" token"}},"#,
        r#""session_id":"00000000-0000-4000-8000-000000000001","parent_tool_use_id":null,"#,
        r#""uuid":"00000000-0000-4000-8000-000000000002","#,
        r#""api_message_id":"msg_00000000000000000001"}"#
    );
    let tokens = format!("{token}\n").repeat(TOKENS as usize);
    let line = format!(
        r#"{{"type":"user","message":{{"content":"{}"}}}}"#,
        "é quoted \\\" output ".repeat(400)
    );
    let tools = format!("{line}\n").repeat(20_000);

    let other = format!("{{\"type\":\"bench\",\"text\":\"{}\"}}\n", "x".repeat(53));
    let others = other.repeat(TOKENS as usize);

    for (name, input, want_text) in [
        (
            "80-byte lines of another kind, format events",
            &others,
            false,
        ),
        ("token lines, format text", &tokens, true),
        ("token lines, format events", &tokens, false),
        ("8 KiB lines, format text", &tools, true),
        ("8 KiB lines, format events", &tools, false),
    ] {
        let mut renderer = Renderer::new(want_text);
        let mut out = Rendered::default();
        let start = Instant::now();
        for chunk in input.as_bytes().chunks(CHUNK_BYTES) {
            renderer.push(chunk, &mut out);
            out.text.clear();
            out.facts.clear();
        }
        report(name, input, start);
    }

    let (mut bytes, mut patches) = (Vec::new(), Vec::new());
    let mut events = EventsOutput::new();
    let start = Instant::now();
    for chunk in tokens.as_bytes().chunks(CHUNK_BYTES) {
        events.push(chunk, &mut bytes, &mut patches);
        bytes.clear();
    }
    report("EventsOutput", &tokens, start);
}

fn report(name: &str, input: &str, start: Instant) {
    let seconds = start.elapsed().as_secs_f64();
    let lines = memchr::memchr_iter(b'\n', input.as_bytes()).count() as f64;
    let (micros, rate) = (seconds * 1e6 / lines, input.len() as f64 / 1e6 / seconds);
    println!("{name}: {micros:.3} µs/line, {rate:.0} MB/s");
}

//! One run of the stand-in: flags, stdin, the turns, the end.

use std::{
    io::Write,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{
    ask,
    control::{Client, Control, Effect, SessionState},
    flags::Flags,
    lines::{self, Lines},
    output::Output,
    processes, requests,
    script::{self, ResultKind, Script, Step},
    session::{Refused, Session},
    stdin::{Messages, Read},
    turn::Turn,
};

/// The CLI's code after SIGTERM.
const TERMINATED: i32 = 143;
/// The length of a line that is longer than any pipe.
const LONG_LINE: u64 = 1_000_000;

/// Runs the stand-in. `arguments`: those of the process, without its name.
#[must_use]
pub fn main(arguments: &[String]) -> ExitCode {
    match arguments.first().map(String::as_str) {
        Some(processes::ROLE) => return processes::play(&arguments[1..]),
        Some("--version" | "-v") => {
            Output::default().line(super::VERSION);
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    let flags = match Flags::parse(arguments) {
        Ok(flags) => flags,
        Err(text) => return complain(&text),
    };
    if flags.get("model") == Some("never-read-stdin") {
        std::thread::sleep(Duration::from_secs(300));
        return ExitCode::SUCCESS;
    }
    let obeys_term = Arc::new(AtomicBool::new(true));
    let term = signal_hook::consts::SIGTERM;
    if let Err(error) =
        signal_hook::flag::register_conditional_shutdown(term, TERMINATED, Arc::clone(&obeys_term))
    {
        return complain(&format!("stand-in: no handler for SIGTERM: {error}"));
    }
    let session = match Session::open(&flags) {
        Ok(session) => session,
        Err(Refused::InUse(id)) => {
            return complain(&format!("Error: Session ID {id} is already in use."));
        }
        Err(Refused::Unknown(id)) => {
            let lines = Lines {
                session: id.clone(),
                model: "stand-in".into(),
            };
            let errors = [format!("No conversation found with session ID: {id}")];
            let ending =
                json!({"subtype": "error_during_execution", "is_error": true, "errors": errors});
            Output::default().line(&lines.result(0, ending));
            return ExitCode::FAILURE;
        }
    };
    let is_recorded = flags.get("model") == Some("recorded");
    let record = |name: &str| is_recorded.then(|| session.record(name)).flatten();
    let mut out = Output::default();
    out.record = record("stdout");
    let client = Client {
        messages: Messages::new(record("stdin")),
        control: Control::new(&flags),
    };
    let mut life = Life {
        arguments,
        flags: &flags,
        obeys_term,
        out,
        client,
        state: SessionState::from_environment(),
        results: 0,
    };
    life.live(&session)
}

fn complain(text: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "{text}");
    ExitCode::FAILURE
}

struct Life<'a> {
    arguments: &'a [String],
    flags: &'a Flags,
    obeys_term: Arc<AtomicBool>,
    out: Output,
    client: Client,
    state: SessionState,
    results: u64,
}

impl Life<'_> {
    fn live(&mut self, session: &Session) -> ExitCode {
        let model = self.flags.get("model").unwrap_or("stand-in").to_owned();
        let lines = Lines {
            session: session.id.clone(),
            model,
        };
        let mut code = 0;
        if self.flags.get("input-format") != Some("stream-json") {
            let mut text = self.flags.positional.join(" ");
            if text.is_empty()
                && std::io::read_to_string(std::io::stdin())
                    .map(|read| text = read)
                    .is_err()
            {
                return complain("Error: Input is not valid UTF-8");
            }
            return ExitCode::from(self.turn(session, &lines, &text, false));
        }
        loop {
            let message = match self.client.messages.next() {
                Read::Message(message) => message,
                Read::Malformed => return complain("Error parsing streaming input line"),
                Read::End => break,
            };
            match message["type"].as_str() {
                Some("user") => {
                    let prompt = text_of(&message["message"]["content"]);
                    code = self.turn(session, &lines, &prompt, message["client_composed"] == true);
                }
                Some("control_request") => {
                    let control = &mut self.client.control;
                    if control.answer(&mut self.out, &lines, &message) == Effect::EndSession {
                        break;
                    }
                }
                _ => {}
            }
        }
        ExitCode::from(code)
    }

    /// Answers one prompt; returns the exit code.
    fn turn(&mut self, session: &Session, lines: &Lines, prompt: &str, verbatim: bool) -> u8 {
        if prompt.trim().is_empty() {
            complain("Error: Input must be provided either through stdin or as a prompt argument");
            return 1;
        }
        let script = script::parse(prompt);
        self.obeys_term.store(!script.ignore_term, Ordering::SeqCst);
        self.out.split = script.split;
        self.out.crlf = script.crlf;
        self.out.no_final_newline = script.no_final_newline;
        if let Some(file) = &script.spawn_log {
            session.log_spawn_to(file);
        }
        let earlier = session.recall();
        session.remember(prompt);
        let cwd = std::env::current_dir()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        self.state.change(&mut self.out, lines, "running");
        self.out.line(&lines.init(&cwd, &self.client.control.mode));
        let context = Context {
            prompt,
            earlier,
            cwd,
            arguments: self.arguments,
            session: &session.id,
        };
        let mut turn = Turn::new(&mut self.out, lines, &mut self.state);
        if prompt.starts_with('/') && !verbatim {
            let command = prompt.split_whitespace().next().unwrap_or_default();
            turn.whole(&format!("local command: {command}"));
        } else if script.steps.is_empty() && script.verdict == ResultKind::Success {
            say(
                &mut turn,
                &format!("A stand-in's answer to a prompt of {} bytes.", prompt.len()),
            );
        }
        let mut is_interrupted = false;
        for step in &script.steps {
            let client = &mut self.client;
            is_interrupted = !match step {
                Step::Ask { name, inputs } => ask::ask(&mut turn, client, name, inputs),
                Step::Call {
                    is_hook,
                    name,
                    inputs,
                } => requests::call(&mut turn, client, *is_hook, name, inputs),
                Step::Listen(time) => requests::listen(&mut turn, client, *time),
                _ => {
                    perform(&mut turn, step, &context);
                    true
                }
            };
            if is_interrupted {
                break;
            }
        }
        turn.end_message("end_turn");
        let last = std::mem::take(&mut turn.last);
        if is_interrupted {
            let ending = json!({"subtype": "error_during_execution", "is_error": true,
                "terminal_reason": "aborted_tools"});
            self.out.line(&lines.result(self.results, ending));
            self.results += 1;
            self.report_idle(lines);
            return 1;
        }
        self.end(lines, &script, &last)
    }

    /// Reports that no turn is under way, unless the next message has arrived already.
    fn report_idle(&mut self, lines: &Lines) {
        if self.state.is_reported() && !self.client.messages.has_user_message() {
            self.state.change(&mut self.out, lines, "idle");
        }
    }

    fn end(&mut self, lines: &Lines, script: &Script, last: &str) -> u8 {
        let mut code = 0;
        if let Some((mut ending, synthetic)) = ending(&script.verdict) {
            if let Some(cost) = script.cost {
                ending["total_cost_usd"] = cost.into();
            }
            if let Some(structured) = &script.structured {
                ending["structured_output"] = structured.clone();
            }
            if let Some((text, error, status)) = synthetic {
                self.out.line(&lines.synthetic(text, error, status));
            }
            code = u8::from(ending["is_error"] == true);
            for _ in 0..script.results {
                // Not decoded: the text may hold half an emoji, which no string can.
                self.out.line(
                    &lines
                        .result(self.results, ending.clone())
                        .replace(TEXT, last),
                );
                self.results += 1;
            }
            self.report_idle(lines);
        }
        std::thread::sleep(script.linger);
        if let Some(signal) = script
            .signal
            .and_then(rustix::process::Signal::from_named_raw)
        {
            // The handler of SIGTERM would turn the death into an exit.
            let _ = rustix::process::kill_process(rustix::process::getpid(), signal);
            std::thread::sleep(Duration::from_secs(1));
        }
        script.exit.unwrap_or(code)
    }
}

/// The context of a step.
struct Context<'a> {
    prompt: &'a str,
    earlier: (usize, String),
    cwd: String,
    arguments: &'a [String],
    session: &'a str,
}

fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(blocks) => blocks
            .iter()
            .filter_map(|block| block["text"].as_str())
            .collect::<Vec<_>>()
            .join("\n"),
        _ => String::new(),
    }
}

fn say(turn: &mut Turn<'_>, text: &str) {
    text.split_inclusive(' ').for_each(|word| turn.text(word));
}

/// Stands for the last text, which is escaped already.
const TEXT: &str = "@the-last-text@";

type Synthetic = (&'static str, &'static str, Option<u16>);

/// Returns the result line's own fields, and the error text before it.
fn ending(verdict: &ResultKind) -> Option<(Value, Option<Synthetic>)> {
    let error = |text: &'static str, kind: &'static str, status: Option<u16>, reason: &str| {
        let ending = json!({
            "is_error": true, "result": text, "api_error_status": status, "terminal_reason": reason,
            "stop_reason": "stop_sequence",
        });
        Some((ending, Some((text, kind, status))))
    };
    match verdict {
        ResultKind::None => None,
        ResultKind::Success => Some((json!({"result": TEXT}), None)),
        ResultKind::Error => error("API Error: something failed", "unknown", None, "api_error"),
        ResultKind::TooLong => error(
            "Prompt is too long",
            "invalid_request",
            Some(400),
            "prompt_too_long",
        ),
        ResultKind::Status(401) => error(
            "Invalid API key · Fix external API key",
            "authentication_failed",
            Some(401),
            "api_error",
        ),
        ResultKind::Status(429) => error(
            "API Error: Request rejected (429)",
            "rate_limit",
            Some(429),
            "api_error",
        ),
        ResultKind::Status(status) => error(
            "API Error: the upstream failed",
            "unknown",
            Some(*status),
            "api_error",
        ),
        ResultKind::MaxTurns => Some((
            json!({"subtype": "error_max_turns", "is_error": true, "terminal_reason": "max_turns"}),
            None,
        )),
        ResultKind::ExecutionError => Some((
            json!({"subtype": "error_during_execution", "is_error": true}),
            None,
        )),
    }
}

fn perform(turn: &mut Turn<'_>, step: &Step, context: &Context<'_>) {
    match step {
        Step::Say(text) => say(turn, text),
        Step::Tokens(count) => (1..=*count).for_each(|number| turn.text(&format!("word{number} "))),
        Step::Volume { count, bytes, word } => turn.volume(*count, *bytes, word),
        Step::Long(megabytes) => turn.long(*megabytes),
        Step::Raw(text) => {
            turn.end_message("end_turn");
            turn.out.line(text);
        }
        Step::Rate(rate) => turn.rate(*rate),
        Step::Block(bytes) => turn.block_bytes = (*bytes).max(1),
        Step::Echo => turn.text(context.prompt),
        Step::EchoDigest => {
            let digest = ring::digest::digest(&ring::digest::SHA256, context.prompt.as_bytes());
            say(
                turn,
                &format!(
                    "bytes={} sha256={}",
                    context.prompt.len(),
                    crate::hex(digest.as_ref())
                ),
            );
        }
        Step::Argv => turn.text(&json!(context.arguments).to_string()),
        Step::Env => {
            let environment: serde_json::Map<String, Value> = std::env::vars_os()
                .map(|(name, value)| {
                    (
                        name.to_string_lossy().into_owned(),
                        value.to_string_lossy().into(),
                    )
                })
                .collect();
            turn.text(&Value::Object(environment).to_string());
        }
        Step::Cwd => turn.text(&context.cwd),
        Step::Recall => turn.text(&format!(
            "turns={} first={}",
            context.earlier.0, context.earlier.1
        )),
        Step::Surrogates => {
            for escaped in ["one \\ud83d", "\\ude00 two ", "lone \\ud83d", " end"] {
                turn.escaped(escaped);
            }
        }
        Step::InvalidUtf8 => turn.invalid(),
        Step::Think(time) => think(turn, *time),
        Step::Silence(time) => std::thread::sleep(*time),
        Step::Wait(file) => {
            while !std::path::Path::new(file).exists() {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        Step::Tool(time) => tool(turn, *time),
        Step::Cpu(time) => burn(*time),
        Step::Garbage(count) => garbage(turn, *count),
        Step::Unknown(count) => (0..*count).for_each(|number| {
            turn.out.line(
                &json!({"number": number, "type": "nobody_knows", "text": "not the answer"})
                    .to_string(),
            );
        }),
        Step::Stderr(bytes) => stderr(*bytes),
        // The code is for lives that cannot be lived.
        Step::Complain(text) => drop(complain(text)),
        Step::ApiRetry { count, status } => (1..=*count).for_each(|attempt| {
            turn.out
                .line(&turn.lines.api_retry(attempt, *count, Some(*status)));
        }),
        Step::Restart(kind) => restart(turn, kind),
        Step::Subagent(text) => subagent(turn, text),
        Step::Daemon(file) => processes::daemon(context.session, file.as_deref()),
        Step::Tree { count, file } => processes::tree(context.session, *count, file.as_deref()),
        Step::HoldStdout(time) => processes::hold_stdout(context.session, *time),
        // They need stdin, so the caller handles them.
        Step::Ask { .. } | Step::Call { .. } | Step::Listen(_) => {}
        Step::Touch(file) => {
            let opened = std::fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(file);
            // A test that waits for the file notices when the write fails.
            let _ = opened.and_then(|mut file| file.write_all(b"here\n"));
        }
    }
}

fn think(turn: &mut Turn<'_>, time: Duration) {
    let whole = json!({"type": "thinking", "thinking": "hm hm ", "signature": "stand-in"});
    turn.block(
        json!({"type": "thinking", "thinking": "", "signature": ""}),
        whole,
        |delta| {
            for _ in 0..2 {
                delta(json!({"type": "thinking_delta", "thinking": "hm "}));
                std::thread::sleep(time / 2);
            }
            delta(json!({"type": "signature_delta", "signature": "stand-in"}));
        },
    );
}

fn tool(turn: &mut Turn<'_>, time: Duration) {
    let id = format!("toolu_{}", uuid::Uuid::new_v4().simple());
    let input = json!({"command": format!("sleep {}", time.as_secs_f64()), "description": "Wait"});
    let block =
        |input: Value| json!({"type": "tool_use", "id": id, "name": "Bash", "input": input});
    let text = input.to_string();
    turn.block(block(json!({})), block(input), |delta| {
        delta(json!({"type": "input_json_delta", "partial_json": text}));
    });
    turn.end_message("tool_use");
    std::thread::sleep(time);
    let content =
        json!([{"tool_use_id": id, "type": "tool_result", "content": "", "is_error": false}]);
    let more = json!({"tool_use_result": {"stdout": "", "stderr": "", "interrupted": false}});
    turn.out.line(&turn.lines.user(content, more));
}

fn burn(time: Duration) {
    let end = Instant::now() + time;
    let mut number = 1_u64;
    while Instant::now() < end {
        number = std::hint::black_box(
            number
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1),
        );
    }
}

fn garbage(turn: &mut Turn<'_>, count: u64) {
    let kinds: [&[u8]; 6] = [
        b"plain noise",
        b"{\"type\":\"assistant\",",
        b"",
        b"\xff\xfe\xfd",
        b"[1,2",
        "\u{fffd} \u{1F600}".as_bytes(),
    ];
    for kind in kinds
        .iter()
        .cycle()
        .take(usize::try_from(count).unwrap_or(usize::MAX))
    {
        turn.out.bytes_line(kind);
    }
}

fn stderr(bytes: u64) {
    let mut stderr = std::io::stderr().lock();
    let mut left = bytes;
    let mut write = |length: u64| {
        let mut line = vec![b'e'; usize::try_from(length.saturating_sub(1)).unwrap_or(0)];
        line.push(b'\n');
        // A closed stdout has no reader.
        let _ = stderr.write_all(&line);
    };
    if left > LONG_LINE {
        write(LONG_LINE);
        left -= LONG_LINE;
    }
    while left > 0 {
        let length = left.min(100);
        write(length);
        left -= length;
    }
}

fn restart(turn: &mut Turn<'_>, kind: &str) {
    turn.end_message("end_turn");
    if kind == "resume" {
        say(turn, "kept block");
        turn.end_block();
        say(turn, "alpha beta ");
        turn.abandon();
        let text =
            "Your response above was cut off mid-stream. Resume directly from where it stops.";
        let content = json!([{"type": "text", "text": text}]);
        turn.out
            .line(&turn.lines.user(content, json!({"isSynthetic": true})));
        return say(turn, "alpha beta gamma delta");
    }
    say(turn, "alpha beta ");
    turn.abandon();
    turn.out.line(&turn.lines.api_retry(1, 2, None));
    match kind {
        "late" => turn.whole("alpha beta gamma delta"),
        "other" => say(turn, "quite other words"),
        _ => say(turn, "alpha beta gamma delta"),
    }
}

fn subagent(turn: &mut Turn<'_>, text: &str) {
    turn.end_message("tool_use");
    let parent = Some("toolu_parent");
    let message = format!("msg_{}", lines::uuid());
    let start = json!({"content_block": {"text": "", "type": "text"}, "index": 0,
        "type": "content_block_start"});
    let delta = json!({"delta": {"text": text, "type": "text_delta"}, "index": 0,
        "type": "content_block_delta"});
    let stop = json!({"index": 0, "type": "content_block_stop"});
    turn.out.line(&turn.lines.message_start(&message, parent));
    for event in [start, delta, stop, json!({"type": "message_stop"})] {
        turn.out.line(&turn.lines.stream(&message, event, parent));
    }
    turn.out.line(
        &turn
            .lines
            .assistant(&message, json!({"type": "text", "text": text}), parent),
    );
}

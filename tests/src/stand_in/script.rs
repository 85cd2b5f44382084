//! The directives of a prompt, one a line. Steps run in order; settings apply to the whole prompt.
//! Seconds may be fractions. A prompt with directives may have other lines, which are ignored.
//!
//! Steps that answer
//!
//! | line | does |
//! |---|---|
//! | `@say TEXT` | TEXT, a delta per word; `\n` in it is a newline |
//! | `@tokens N` | `word1 word2 ...`, a delta each |
//! | `@volume N L [WORD]` | N deltas of L bytes each (L at least 14), see below |
//! | `@megabytes M [L]` | deltas of L (default 8192) bytes with M million bytes of text in total |
//! | `@long M` | M million bytes as one text block, whole in `assistant` and in the result |
//! | `@rate R` | limits the following deltas to R a second (0: no limit, the default) |
//! | `@block BYTES` | ends text blocks after BYTES (default 1 MiB); a blank line joins blocks |
//! | `@echo` | the prompt |
//! | `@echo-digest` | `bytes=N sha256=HEX` of the prompt |
//! | `@argv` · `@env` · `@cwd` | its arguments (JSON list), environment (JSON object), directory |
//! | `@recall` | `turns=N first=LINE` of this conversation's earlier turns |
//! | `@surrogates` | an emoji whose halves are in two deltas, then a lone half |
//! | `@invalid-utf8` | a delta with the bytes ff fe in its text |
//!
//! A delta of `@volume` is a number of 12 digits, a space, filling, and a newline. The filling
//! repeats WORD as often as it fits, then `x` (without WORD only `x`).
//!
//! Other steps
//!
//! | line | does |
//! |---|---|
//! | `@think SECONDS` | a thinking block of that length |
//! | `@silence SECONDS` | nothing |
//! | `@wait FILE` | nothing, until FILE exists |
//! | `@tool SECONDS` | uses Bash: the event, silence (the tool runs), the result |
//! | `@cpu SECONDS` | burns a core, silent |
//! | `@garbage N` | N lines that are not JSON, including invalid UTF-8 and an empty line |
//! | `@raw TEXT` | ends the message, then TEXT as a line; `\e` in it is an escape, `\0` a NUL |
//! | `@unknown N` | N JSON lines of an unknown type |
//! | `@stderr BYTES` | that much to stderr, a line of 1 MB first if there is room |
//! | `@complain TEXT` | a line of TEXT to stderr |
//! | `@api-retry N [STATUS]` | N `api_retry` events (default status 529) |
//! | `@restart KIND` | an answer that breaks after `alpha beta `, see below |
//! | `@subagent TEXT` | a sub-agent's answer, which is not part of the output |
//! | `@daemon [FILE]` | leaves a daemon (own session, double fork, no environment), may count |
//! | `@tree N [FILE]` | leaves a tree of N processes, the first in its own session; one counts |
//! | `@hold-stdout SECONDS` | a grandchild keeps stdout open for that long |
//! | `@ask TOOL JSON` | uses TOOL with this input, or with each of a list; says the decision |
//! | `@hook EVENT JSON` | calls the client's hook with this input, or with each of a list; says the answer |
//! | `@mcp SERVER JSON` | sends this message to the client's MCP server; says the answer |
//! | `@listen SECONDS` | reads stdin for that long; an `interrupt` ends the turn |
//! | `@touch FILE` | appends a line to FILE, as a mark of progress |
//!
//! After its break, `@restart same` answers `alpha beta gamma delta`, `other` answers `quite other
//! words`, and `late` sends the whole text in `assistant` alone. With `resume` a whole block
//! survives, and the rest follows. The daemon of `@daemon`, and one process of `@tree`, count in
//! FILE.
//!
//! Settings
//!
//! | line | does |
//! |---|---|
//! | `@exit CODE` | ends with this code |
//! | `@signal N` | kills itself with this signal at the end of the turn |
//! | `@result KIND` | `none`, `error`, `max-turns`, `execution-error`, `too-long`, HTTP status |
//! | `@cost USD` | the cost in the result line (default 0.000136) |
//! | `@structured JSON` | `structured_output` in the result line |
//! | `@results N` | N result lines instead of one, as for background work |
//! | `@linger SECONDS` | stays after the last result |
//! | `@ignore-term` | SIGTERM has no effect |
//! | `@split` | splits writes inside each multi-byte character |
//! | `@crlf` | lines end with CR LF |
//! | `@no-final-newline` | the last line has no newline |
//! | `@spawn-log FILE` | the line of `spawns.log` also goes to FILE |

use std::time::Duration;

/// One step of a prompt.
#[derive(Debug, Clone, PartialEq)]
#[allow(
    missing_docs,
    reason = "the directives of the module's table, by the same names"
)]
pub enum Step {
    Say(String),
    Tokens(u64),
    Volume {
        count: u64,
        bytes: usize,
        word: String,
    },
    Long(u64),
    Raw(String),
    Rate(f64),
    Block(usize),
    Echo,
    EchoDigest,
    Argv,
    Env,
    Cwd,
    Recall,
    Surrogates,
    InvalidUtf8,
    Think(Duration),
    Silence(Duration),
    Wait(String),
    Tool(Duration),
    Cpu(Duration),
    Garbage(u64),
    Unknown(u64),
    Stderr(u64),
    Complain(String),
    ApiRetry {
        count: u64,
        status: u64,
    },
    Restart(String),
    Subagent(String),
    Daemon(Option<String>),
    Tree {
        count: u64,
        file: Option<String>,
    },
    HoldStdout(Duration),
    Ask {
        name: String,
        /// The inputs of uses at the same time.
        inputs: Vec<serde_json::Value>,
    },
    Call {
        is_hook: bool,
        name: String,
        /// The inputs of calls at the same time.
        inputs: Vec<serde_json::Value>,
    },
    Listen(Duration),
    Touch(String),
}

/// The kind of the last result.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[allow(
    missing_docs,
    reason = "the kinds of the module's table, by the same names"
)]
pub enum ResultKind {
    #[default]
    Success,
    None,
    Error,
    MaxTurns,
    ExecutionError,
    TooLong,
    Status(u16),
}

/// A parsed prompt.
#[derive(Debug, Clone, PartialEq, Default)]
#[allow(
    missing_docs,
    reason = "the settings of the module's table, by the same names"
)]
pub struct Script {
    pub steps: Vec<Step>,
    pub exit: Option<u8>,
    pub signal: Option<i32>,
    pub verdict: ResultKind,
    pub cost: Option<f64>,
    pub structured: Option<serde_json::Value>,
    pub results: u64,
    pub linger: Duration,
    pub ignore_term: bool,
    pub split: bool,
    pub crlf: bool,
    pub no_final_newline: bool,
    pub spawn_log: Option<String>,
}

/// Parses a prompt.
#[must_use]
pub fn parse(prompt: &str) -> Script {
    let mut script = Script {
        results: 1,
        ..Script::default()
    };
    for line in prompt.lines() {
        // Other lines are ignored.
        let _ = directive(line.trim_end(), &mut script);
    }
    script
}

fn directive(line: &str, script: &mut Script) -> Option<()> {
    let line = line.strip_prefix('@')?;
    let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
    let rest = rest.trim_start();
    let mut words = rest.split_whitespace();
    let first = words.next();
    let second = words.next();
    let number = |word: Option<&str>| word?.parse::<u64>().ok();
    let seconds = |word: Option<&str>| Duration::try_from_secs_f64(word?.parse().ok()?).ok();
    let file = |word: Option<&str>| word.map(str::to_owned);
    let step = match name {
        "say" => Step::Say(rest.replace("\\n", "\n")),
        "tokens" => Step::Tokens(number(first)?),
        "volume" => Step::Volume {
            count: number(first)?,
            bytes: usize::try_from(number(second)?).ok()?,
            word: words.next().unwrap_or_default().to_owned(),
        },
        "megabytes" => {
            let bytes = number(second).unwrap_or(8192).max(14);
            Step::Volume {
                count: (number(first)? * 1_000_000).div_ceil(bytes),
                bytes: usize::try_from(bytes).ok()?,
                word: String::new(),
            }
        }
        "long" => Step::Long(number(first)?),
        "raw" => Step::Raw(rest.replace("\\e", "\u{1b}").replace("\\0", "\0")),
        "rate" => Step::Rate(first?.parse().ok()?),
        "block" => Step::Block(usize::try_from(number(first)?).ok()?),
        "echo" => Step::Echo,
        "echo-digest" => Step::EchoDigest,
        "argv" => Step::Argv,
        "env" => Step::Env,
        "cwd" => Step::Cwd,
        "recall" => Step::Recall,
        "surrogates" => Step::Surrogates,
        "invalid-utf8" => Step::InvalidUtf8,
        "think" => Step::Think(seconds(first)?),
        "silence" => Step::Silence(seconds(first)?),
        "wait" => Step::Wait(first?.to_owned()),
        "tool" => Step::Tool(seconds(first)?),
        "cpu" => Step::Cpu(seconds(first)?),
        "garbage" => Step::Garbage(number(first).unwrap_or(1)),
        "unknown" => Step::Unknown(number(first).unwrap_or(1)),
        "stderr" => Step::Stderr(number(first)?),
        "complain" => Step::Complain(rest.to_owned()),
        "api-retry" => Step::ApiRetry {
            count: number(first).unwrap_or(1),
            status: number(second).unwrap_or(529),
        },
        "restart" => Step::Restart(first?.to_owned()),
        "subagent" => Step::Subagent(rest.to_owned()),
        "daemon" => Step::Daemon(file(first)),
        "tree" => Step::Tree {
            count: number(first)?,
            file: file(second),
        },
        "hold-stdout" => Step::HoldStdout(seconds(first)?),
        "ask" => {
            let (name, inputs) = call(rest)?;
            Step::Ask { name, inputs }
        }
        "hook" | "mcp" => {
            let is_hook = name == "hook";
            let (name, inputs) = call(rest)?;
            Step::Call {
                is_hook,
                name,
                inputs,
            }
        }
        "listen" => Step::Listen(seconds(first)?),
        "touch" => Step::Touch(first?.to_owned()),
        "structured" => {
            script.structured = Some(serde_json::from_str(rest).ok()?);
            return Some(());
        }
        _ => return setting(name, first, script),
    };
    script.steps.push(step);
    Some(())
}

/// Parses a name and its inputs, one or a list.
fn call(text: &str) -> Option<(String, Vec<serde_json::Value>)> {
    let (name, input) = text.split_once(' ')?;
    let inputs = match serde_json::from_str(input).ok()? {
        serde_json::Value::Array(inputs) => inputs,
        input => vec![input],
    };
    Some((name.to_owned(), inputs))
}

fn setting(name: &str, first: Option<&str>, script: &mut Script) -> Option<()> {
    match name {
        "exit" => script.exit = Some(first?.parse().ok()?),
        "signal" => script.signal = Some(first?.parse().ok()?),
        "result" => script.verdict = verdict(first?)?,
        "cost" => script.cost = Some(first?.parse().ok()?),
        "results" => script.results = first?.parse().ok()?,
        "linger" => script.linger = Duration::try_from_secs_f64(first?.parse().ok()?).ok()?,
        "ignore-term" => script.ignore_term = true,
        "split" => script.split = true,
        "crlf" => script.crlf = true,
        "no-final-newline" => script.no_final_newline = true,
        "spawn-log" => script.spawn_log = Some(first?.to_owned()),
        _ => return None,
    }
    Some(())
}

fn verdict(kind: &str) -> Option<ResultKind> {
    Some(match kind {
        "none" => ResultKind::None,
        "error" => ResultKind::Error,
        "max-turns" => ResultKind::MaxTurns,
        "execution-error" => ResultKind::ExecutionError,
        "too-long" => ResultKind::TooLong,
        status => ResultKind::Status(status.parse().ok()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_in_order_and_settings_anywhere() {
        let script = parse(
            "hello\n@exit 3\n@say a b\n@volume 10 100\n@silence 0.5\n@result 429\n@nonsense\n@ say",
        );
        assert_eq!(
            script.steps,
            [
                Step::Say("a b".into()),
                Step::Volume {
                    count: 10,
                    bytes: 100,
                    word: String::new()
                },
                Step::Silence(Duration::from_millis(500)),
            ]
        );
        assert_eq!(
            (script.exit, script.verdict),
            (Some(3), ResultKind::Status(429))
        );
    }

    #[test]
    fn megabytes_are_rounded_up() {
        assert_eq!(
            parse("@megabytes 1 3000").steps,
            [Step::Volume {
                count: 334,
                bytes: 3000,
                word: String::new()
            }]
        );
    }

    #[test]
    fn a_directive_that_lacks_its_number_is_none() {
        assert!(
            parse("@tokens\n@tokens x\n@silence -1\n@tree")
                .steps
                .is_empty()
        );
    }
}

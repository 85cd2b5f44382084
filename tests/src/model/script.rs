//! The directives of a prompt, one a line, which the model follows in order.
//!
//! | line | does |
//! |---|---|
//! | `@say TEXT` | answers TEXT, word by word. `\n` in it is a newline |
//! | `@tokens N [DELAY_MS]` | answers N words (`word1 word2 ...`), one per delta, DELAY_MS apart |
//! | `@think MS` | thinks for that long: a thinking block with a delta every 100 ms |
//! | `@bash COMMAND` | runs COMMAND in the CLI's Bash tool and answers with its output |
//! | `@python CODE` | the same with CODE (`\n` is a newline) as `python3 -c '...'` |
//! | `@tool NAME JSON` | uses the tool NAME with this input, and answers with its result |
//! | `@stall SECONDS` | sends nothing for that long, in the middle of the stream |
//! | `@fail STATUS [times N]` | answers the status, N times (default: always), then continues |
//! | `@cut N [times M]` | breaks the stream after N deltas, M times (default 1); only streams |
//! | `@usage-limit [SECONDS]` | 429, no retry, with the reset time (default in 3600 s) in headers |
//! | `@refuse` | 401, as for a key that is wrong |
//! | `@too-long` | 400, as for a prompt that is too long for the model |
//! | `@echo-length` | answers `bytes=N sha256=HEX` of the received prompt |
//! | `@images` | answers the type, the length and the SHA-256 of each image's base64 text, or `none` |
//! | `@marks` | answers the words `MARK-...` anywhere in the request, sorted, or `none` |
//!
//! Other lines are ignored in a prompt that has directives.

use std::time::Duration;

use super::python;

/// One step of an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Text, split into deltas at its spaces.
    Say(String),
    /// Numbered words, one a delta.
    Tokens {
        /// How many.
        count: u64,
        /// Between two of them; `None` is the server's default.
        delay: Option<Duration>,
    },
    /// A thinking block that takes this long.
    Think(Duration),
    /// Nothing at all for this long.
    Stall(Duration),
    /// A use of a tool; the following steps belong to the next request, after the tool's result.
    Tool {
        /// The tool's name.
        name: String,
        /// Its input.
        input: serde_json::Value,
    },
    /// The prompt's length and SHA-256.
    EchoLength,
    /// The type, the length and the digest of each image of the request.
    Images,
    /// The words `MARK-...` of the request.
    Marks,
}

/// A fault that a request gets instead of an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// An HTTP status.
    Status(u16),
    /// 429 for good; the limit ends in so many seconds.
    UsageLimit(u64),
    /// 401.
    Refuse,
    /// 400, prompt is too long.
    TooLong,
    /// A stream that breaks after so many deltas.
    Cut(u64),
}

/// A parsed prompt.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Script {
    /// In order; a [`Step::Tool`] ends one request.
    pub steps: Vec<Step>,
    /// The faults, each with the number of requests that get it, in order.
    pub faults: Vec<(Fault, u64)>,
}

/// A use of the Bash tool.
#[must_use]
pub fn bash(command: &str) -> Step {
    let input =
        serde_json::json!({ "command": command, "description": "Run the command of the prompt" });
    Step::Tool {
        name: "Bash".into(),
        input,
    }
}

/// Parses a prompt by the rules in the module `model`.
#[must_use]
pub fn parse(prompt: &str) -> Script {
    if let Some(command) = python::command(prompt) {
        return Script {
            steps: vec![bash(&command)],
            faults: Vec::new(),
        };
    }
    let mut script = Script::default();
    let mut any = false;
    for line in prompt.lines() {
        any |= directive(line.trim_end_matches('\r'), &mut script).is_some();
    }
    if !any {
        let text = format!("A scripted answer to a prompt of {} bytes.", prompt.len());
        script.steps.push(Step::Say(text));
    }
    script
}

/// Adds the directive of a line; `None` if the line is no directive.
fn directive(line: &str, script: &mut Script) -> Option<()> {
    let line = line.strip_prefix('@')?;
    let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
    let rest = rest.trim_start();
    let numbers: Vec<u64> = rest
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    let first = numbers.first().copied();
    let fault = |fault, default| (fault, times(rest).unwrap_or(default));
    match name {
        "say" => script.steps.push(Step::Say(rest.replace("\\n", "\n"))),
        "tokens" => {
            let delay = numbers.get(1).copied().map(Duration::from_millis);
            script.steps.push(Step::Tokens {
                count: first?,
                delay,
            });
        }
        "think" => script
            .steps
            .push(Step::Think(Duration::from_millis(first?))),
        "stall" => {
            let seconds = Duration::try_from_secs_f64(rest.trim().parse().ok()?).ok()?;
            script.steps.push(Step::Stall(seconds));
        }
        "bash" if !rest.is_empty() => script.steps.push(bash(rest)),
        "python" if !rest.is_empty() => {
            let code = rest.replace("\\n", "\n").replace('\'', r"'\''");
            script.steps.push(bash(&format!("python3 -c '{code}'")));
        }
        "tool" => {
            let (name, input) = rest.split_once(' ')?;
            script.steps.push(Step::Tool {
                name: name.into(),
                input: serde_json::from_str(input).ok()?,
            });
        }
        "echo-length" => script.steps.push(Step::EchoLength),
        "images" => script.steps.push(Step::Images),
        "marks" => script.steps.push(Step::Marks),
        "fail" => script
            .faults
            .push(fault(Fault::Status(u16::try_from(first?).ok()?), u64::MAX)),
        "cut" => script.faults.push(fault(Fault::Cut(first?), 1)),
        "usage-limit" => {
            let seconds = if rest.starts_with("times") {
                3600
            } else {
                first.unwrap_or(3600)
            };
            script
                .faults
                .push(fault(Fault::UsageLimit(seconds), u64::MAX));
        }
        "refuse" => script.faults.push(fault(Fault::Refuse, u64::MAX)),
        "too-long" => script.faults.push(fault(Fault::TooLong, u64::MAX)),
        _ => return None,
    }
    Some(())
}

fn times(rest: &str) -> Option<u64> {
    rest.split_once("times ")?
        .1
        .split_whitespace()
        .next()?
        .parse()
        .ok()
}

impl Script {
    /// Returns the steps of the request after this number of tool results, up to and including the
    /// next tool use.
    #[must_use]
    pub fn turn(&self, results: usize) -> Vec<Step> {
        let mut rest = self.steps.as_slice();
        for _ in 0..results {
            let end = rest
                .iter()
                .position(|step| matches!(step, Step::Tool { .. }));
            rest = &rest[end.map_or(rest.len(), |at| at + 1)..];
        }
        let end = rest
            .iter()
            .position(|step| matches!(step, Step::Tool { .. }));
        rest[..end.map_or(rest.len(), |at| at + 1)].to_vec()
    }

    /// Returns the fault of a request after this number of earlier requests. Only streaming
    /// requests get a cut.
    #[must_use]
    pub fn fault(&self, before: u64, stream: bool) -> Option<Fault> {
        let mut used = 0_u64;
        for (fault, count) in &self.faults {
            used = used.saturating_add(*count);
            if before < used {
                return (stream || !matches!(fault, Fault::Cut(_))).then(|| fault.clone());
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_in_order() {
        let script = parse(
            "marker 17\n@think 300\n@tokens 5 20\n@bash echo a b\n@say done\\nnow\n@stall 0.5",
        );
        assert_eq!(
            script.steps,
            [
                Step::Think(Duration::from_millis(300)),
                Step::Tokens {
                    count: 5,
                    delay: Some(Duration::from_millis(20))
                },
                bash("echo a b"),
                Step::Say("done\nnow".into()),
                Step::Stall(Duration::from_millis(500)),
            ]
        );
        assert_eq!(script.turn(0).len(), 3);
        assert_eq!(
            script.turn(1),
            [
                Step::Say("done\nnow".into()),
                Step::Stall(Duration::from_millis(500))
            ]
        );
        assert!(script.turn(2).is_empty());
    }

    #[test]
    fn faults_are_used_up_in_order() {
        let script = parse("@fail 529 times 2\n@cut 3\n@say ok");
        assert_eq!(script.fault(1, true), Some(Fault::Status(529)));
        assert_eq!(script.fault(2, true), Some(Fault::Cut(3)));
        assert_eq!(script.fault(2, false), None, "a cut needs a stream");
        assert_eq!(script.fault(3, true), None);
        assert_eq!(
            parse("@usage-limit 60").fault(99, true),
            Some(Fault::UsageLimit(60))
        );
        assert_eq!(parse("@usage-limit times 1").fault(1, true), None);
        assert_eq!(parse("@refuse").fault(5, false), Some(Fault::Refuse));
    }

    #[test]
    fn python_goes_before_directives_and_prose_is_answered() {
        assert_eq!(parse("print('''\n@say no\n''')").steps.len(), 1);
        assert!(matches!(
            parse("@/etc/passwd").steps.as_slice(),
            [Step::Say(text)] if text.contains("12 bytes")
        ));
        assert!(matches!(
            parse("hello @say x").steps.as_slice(),
            [Step::Say(_)]
        ));
    }
}

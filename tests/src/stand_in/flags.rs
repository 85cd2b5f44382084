//! The CLI's flags, with and without a value. Refuses any other flag as the CLI does.

use std::collections::HashMap;

const WITH_VALUE: [&str; 33] = [
    "input-format",
    "output-format",
    "setting-sources",
    "permission-mode",
    "permission-prompts",
    "permission-prompt-tool",
    "allowedTools",
    "allowed-tools",
    "disallowedTools",
    "disallowed-tools",
    "tools",
    "model",
    "fallback-model",
    "system-prompt",
    "append-system-prompt",
    "max-turns",
    "max-budget-usd",
    "session-id",
    "resume",
    "mcp-config",
    "settings",
    "add-dir",
    "agents",
    "betas",
    "effort",
    "thinking",
    "thinking-display",
    "max-thinking-tokens",
    "task-budget",
    "resume-session-at",
    "resume-drops-turn",
    "system-prompt-file",
    "append-system-prompt-file",
];
const PLAIN: [&str; 13] = [
    "print",
    "verbose",
    "include-partial-messages",
    "strict-mcp-config",
    "dangerously-skip-permissions",
    "continue",
    "fork-session",
    "bare",
    "no-session-persistence",
    "replay-user-messages",
    "include-hook-events",
    "session-mirror",
    "forward-subagent-text",
];

/// The parsed flags.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flags {
    values: HashMap<String, String>,
    /// Arguments that are neither a flag nor a flag's value.
    pub positional: Vec<String>,
}

impl Flags {
    /// Parses the arguments without the program's name.
    ///
    /// # Errors
    /// The CLI's own text for an unknown flag, or for a flag without its value.
    pub fn parse(arguments: &[String]) -> Result<Self, String> {
        let mut flags = Self::default();
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            if argument == "-p" {
                continue;
            }
            let Some(name) = argument.strip_prefix("--") else {
                if argument.starts_with('-') && argument.len() > 1 {
                    return Err(format!("error: unknown option '{argument}'"));
                }
                flags.positional.push(argument.clone());
                continue;
            };
            let (name, given) = match name.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (name, None),
            };
            if PLAIN.contains(&name) && given.is_none() {
                flags.values.insert(name.to_owned(), String::new());
            } else if WITH_VALUE.contains(&name) {
                let missing = || format!("error: option '--{name} <value>' argument missing");
                let value = given.or_else(|| rest.next().cloned()).ok_or_else(missing)?;
                flags.values.insert(name.to_owned(), value);
            } else {
                return Err(format!("error: unknown option '{argument}'"));
            }
        }
        Ok(flags)
    }

    /// Returns a flag's value, which is empty for a flag that takes none.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Flags, String> {
        Flags::parse(&line.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn both_ways_to_give_a_value() {
        let flags =
            parse("-p --input-format stream-json --allowedTools=Bash,Edit --verbose --model=--x")
                .expect("good");
        assert_eq!(flags.get("input-format"), Some("stream-json"));
        assert_eq!(flags.get("allowedTools"), Some("Bash,Edit"));
        assert_eq!(flags.get("model"), Some("--x"));
        assert!(flags.get("verbose").is_some() && flags.get("bare").is_none());
    }

    #[test]
    fn what_the_cli_does_not_know_is_refused() {
        assert_eq!(
            parse("-p --nonsense"),
            Err("error: unknown option '--nonsense'".into())
        );
        assert!(parse("-p --model").is_err());
        assert!(parse("--verbose=yes").is_err());
        assert!(parse("-x").is_err());
    }
}

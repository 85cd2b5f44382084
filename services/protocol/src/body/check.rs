//! Checks the values in the body of an execution, such as lengths, character sets and ranges
//! (docs/protocol.md, "Body").

mod cli_options;

use super::Body;
use super::error::BodyError;
use crate::Limits;
use crate::question::PermissionPrompts;
pub use cli_options::{CLI_OPTION_ENTRIES_MAX, SDK_ENV_NAMES};

/// The maximum size of `metadata`, in bytes of all names and values together.
pub const METADATA_BYTES: usize = 4 * 1024;
/// The maximum length of a lane, model or permission mode, in bytes.
pub const NAME_BYTES: usize = 256;
/// The maximum number of tools in `allowedTools`, and also in `disallowedTools`.
pub const TOOLS_MAX: usize = 256;
/// The maximum length of one tool in `allowedTools` or `disallowedTools`, in bytes.
pub const TOOL_BYTES: usize = 1024;
/// The maximum size of `env`, and of each tool list, in bytes of all entries together. The CLI
/// receives them as its environment and arguments, whose sum the kernel limits (`ARG_MAX`,
/// execve(2)).
pub const LIST_BYTES: usize = 64 * 1024;
/// The prefix of the names that the CLI gives to tools of MCP servers. A body without MCP servers
/// that allows such a tool is refused.
pub const MCP_PREFIX: &str = "mcp__";
/// The maximum of `idleTimeoutSeconds` and `deadlineSeconds`, in seconds (366 days).
pub const SECONDS_MAX: f64 = 366.0 * 24.0 * 3600.0;
/// The maximum of `maxBudgetUsd`, in dollars.
pub const BUDGET_USD_MAX: f64 = 1e9;
/// The maximum length of the name of a workspace, in characters.
pub const WORKSPACE_CHARS: usize = 64;

fn field(field: &'static str, mistake: impl Into<String>) -> BodyError {
    BodyError::Field {
        field,
        mistake: mistake.into(),
    }
}

/// Returns whether clients are forbidden to set this environment variable for the CLI, even if the
/// operator allows the name. Such a variable could redirect the CLI to another server, replace its
/// credential, or load foreign code. Upper and lower case are the same.
#[must_use]
pub fn env_name_is_forbidden(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    ["ANTHROPIC_", "CLAUDE_", "LD_"]
        .iter()
        .any(|prefix| upper.starts_with(prefix))
        || upper == "PATH"
        || upper == "NODE_OPTIONS"
}

impl Body {
    /// Checks that every value of the body follows docs/protocol.md, "Body", and is within the
    /// configured `limits`.
    ///
    /// # Errors
    /// The first mistake that is found, as [`BodyError::TooLarge`], [`BodyError::Field`] or
    /// [`BodyError::NotAllowed`]. Later mistakes are not reported.
    pub fn check(&self, limits: &Limits) -> Result<(), BodyError> {
        self.check_texts(limits)?;
        self.check_names()?;
        self.check_lists()?;
        self.check_numbers()?;
        self.check_cli_options()?;
        match &self.webhook {
            Some(webhook) => webhook.check().map(drop),
            None => Ok(()),
        }
    }

    fn check_texts(&self, limits: &Limits) -> Result<(), BodyError> {
        for (name, text, limit) in [
            ("prompt", Some(&self.prompt), limits.prompt_bytes),
            (
                "systemPrompt",
                self.system_prompt.as_ref(),
                limits.system_prompt_bytes,
            ),
            (
                "appendSystemPrompt",
                self.append_system_prompt.as_ref(),
                limits.system_prompt_bytes,
            ),
        ] {
            let bytes = text.map_or(0, String::len);
            if bytes as u64 > limit {
                return Err(BodyError::TooLarge {
                    field: name,
                    bytes,
                    limit,
                });
            }
        }
        // `char::is_whitespace` is Unicode's White_Space.
        let may_lack_prompt = self.permission_prompts == PermissionPrompts::Client;
        let lacks_prompt = self.prompt.is_empty() && may_lack_prompt;
        if !lacks_prompt && self.prompt.chars().all(char::is_whitespace) {
            return Err(field(
                "prompt",
                "is blank; give at least one character that is not white space",
            ));
        }
        for (name, text) in [
            ("systemPrompt", &self.system_prompt),
            ("appendSystemPrompt", &self.append_system_prompt),
        ] {
            if text.as_ref().is_some_and(|t| t.contains('\0')) {
                return Err(field(
                    name,
                    "has a NUL character; a command line argument cannot have one",
                ));
            }
        }
        Ok(())
    }

    fn check_names(&self) -> Result<(), BodyError> {
        for (name, value) in [
            ("lane", &self.lane),
            ("model", &self.model),
            ("permissionMode", &self.permission_mode),
        ] {
            let Some(value) = value else { continue };
            if value.is_empty() || value.len() > NAME_BYTES || value.chars().any(char::is_control) {
                return Err(field(
                    name,
                    format!("must have 1 to {NAME_BYTES} bytes and no control characters"),
                ));
            }
        }
        let mut bytes = self.workspace.bytes();
        let first = bytes.next().is_some_and(|b| b.is_ascii_alphanumeric());
        let rest = bytes.all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if !first || !rest || self.workspace.len() > WORKSPACE_CHARS {
            return Err(field(
                "workspace",
                format!(
                    "is a name, not a path: 1 to {WORKSPACE_CHARS} of A-Z a-z 0-9 . _ -, \
                     beginning with a letter or digit"
                ),
            ));
        }
        Ok(())
    }

    fn check_lists(&self) -> Result<(), BodyError> {
        for (name, list) in [
            ("allowedTools", &self.allowed_tools),
            ("disallowedTools", &self.disallowed_tools),
        ] {
            let list = list.as_deref().unwrap_or_default();
            let bad = |t: &String| {
                t.trim().is_empty() || t.len() > TOOL_BYTES || t.chars().any(char::is_control)
            };
            let total: usize = list.iter().map(String::len).sum();
            if list.len() > TOOLS_MAX || total > LIST_BYTES || list.iter().any(bad) {
                return Err(field(
                    name,
                    format!(
                        "must have at most {TOOLS_MAX} entries of 1 to {TOOL_BYTES} bytes \
                         ({LIST_BYTES} in total) without control characters"
                    ),
                ));
            }
        }
        let has_servers = self.mcp_servers.as_ref().is_some_and(|all| !all.is_empty());
        let mcp = |tool: &&String| tool.starts_with(MCP_PREFIX) && !has_servers;
        if let Some(tool) = self.allowed_tools.iter().flatten().find(mcp) {
            return Err(field(
                "allowedTools",
                format!(
                    "{tool:?} is a tool of an MCP server, and there are no MCP servers; remove it"
                ),
            ));
        }
        for (name, value) in &self.env {
            let mut chars = name.bytes();
            let good = chars
                .next()
                .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
                && chars.all(|b| b.is_ascii_alphanumeric() || b == b'_');
            if !good || value.contains('\0') {
                return Err(field(
                    "env",
                    format!("{name:?} is not a variable name, or its value has a NUL character"),
                ));
            }
            if env_name_is_forbidden(name) {
                return Err(BodyError::NotAllowed {
                    field: "env",
                    mistake: format!("no client may set {name}"),
                });
            }
        }
        if total(&self.env) > LIST_BYTES {
            return Err(field(
                "env",
                format!("must have at most {LIST_BYTES} bytes"),
            ));
        }
        if total(&self.metadata) > METADATA_BYTES {
            return Err(field(
                "metadata",
                format!("must have at most {METADATA_BYTES} bytes"),
            ));
        }
        Ok(())
    }

    fn check_numbers(&self) -> Result<(), BodyError> {
        for (name, value, max) in [
            ("idleTimeoutSeconds", self.idle_timeout_seconds, SECONDS_MAX),
            ("deadlineSeconds", self.deadline_seconds, SECONDS_MAX),
            ("maxBudgetUsd", self.max_budget_usd, BUDGET_USD_MAX),
        ] {
            if value.is_some_and(|v| !(v > 0.0 && v <= max)) {
                return Err(field(
                    name,
                    format!("must be more than 0 and at most {max}"),
                ));
            }
        }
        if let Some(seconds) = self.question_timeout_seconds {
            if !(0.0..=SECONDS_MAX).contains(&seconds) {
                return Err(field(
                    "questionTimeoutSeconds",
                    format!("must be 0 (no limit) to {SECONDS_MAX}"),
                ));
            }
            if self.permission_prompts != PermissionPrompts::Ask {
                return Err(field(
                    "questionTimeoutSeconds",
                    "needs \"permissionPrompts\": \"ask\"; without it there are no questions",
                ));
            }
        }
        let asks = self.permission_prompts == PermissionPrompts::Ask;
        if let Some(mode @ ("dontAsk" | "bypassPermissions")) = self.permission_mode.as_deref()
            && asks
        {
            return Err(field(
                "permissionMode",
                format!("{mode} asks nobody; leave it out with \"permissionPrompts\": \"ask\""),
            ));
        }
        if self.max_turns == Some(0) {
            return Err(field("maxTurns", "must be at least 1"));
        }
        if self.continues.is_some() && self.conversation.is_some() {
            return Err(field(
                "continues",
                "already determines the conversation; omit `conversation`",
            ));
        }
        Ok(())
    }
}

fn total(map: &std::collections::BTreeMap<String, String>) -> usize {
    map.iter().map(|(k, v)| k.len() + v.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ProblemType;
    use crate::webhook::Webhook;

    fn check(change: impl FnOnce(&mut Body)) -> Result<(), BodyError> {
        let mut body = Body::new("hello");
        change(&mut body);
        body.check(&Limits::default())
    }

    #[test]
    fn valid_bodies_pass() {
        assert_eq!(check(|_| ()), Ok(()));
        assert_eq!(check(|b| b.prompt = "--help".into()), Ok(()));
        assert_eq!(
            check(|b| b.prompt = "\u{200b}".into()),
            Ok(()),
            "a zero width space is not White_Space"
        );
        assert_eq!(check(|b| b.workspace = "a".repeat(64)), Ok(()));
        assert_eq!(check(|b| b.prompt = "x".repeat(4 << 20)), Ok(()));
        assert_eq!(
            check(|b| b.webhook = Some(Webhook::new("https://a:1/b?c"))),
            Ok(())
        );
    }

    #[test]
    fn each_mistake_has_its_problem_type() {
        type Change = fn(&mut Body);
        let changes: [(Change, ProblemType); 21] = [
            (|b| b.prompt = String::new(), ProblemType::InvalidBody),
            (
                |b| b.prompt = " \n\t\u{a0}\u{3000}".into(),
                ProblemType::InvalidBody,
            ),
            (
                |b| b.prompt = "x".repeat((4 << 20) + 1),
                ProblemType::TooLarge,
            ),
            (
                |b| b.system_prompt = Some("x".repeat((64 << 10) + 1)),
                ProblemType::TooLarge,
            ),
            (
                |b| b.system_prompt = Some("a\0b".into()),
                ProblemType::InvalidBody,
            ),
            (|b| b.workspace = "../x".into(), ProblemType::InvalidBody),
            (|b| b.workspace = "a/b".into(), ProblemType::InvalidBody),
            (|b| b.workspace = ".".into(), ProblemType::InvalidBody),
            (|b| b.workspace = "a".repeat(65), ProblemType::InvalidBody),
            (|b| b.workspace = String::new(), ProblemType::InvalidBody),
            (|b| b.model = Some("a\nb".into()), ProblemType::InvalidBody),
            (|b| b.deadline_seconds = Some(0.0), ProblemType::InvalidBody),
            (
                |b| b.allowed_tools = Some(vec!["Bash".into(), "mcp__x__y".into()]),
                ProblemType::InvalidBody,
            ),
            (
                |b| b.idle_timeout_seconds = Some(f64::NAN),
                ProblemType::InvalidBody,
            ),
            (|b| b.max_turns = Some(0), ProblemType::InvalidBody),
            (
                |b| b.webhook = Some(Webhook::new("http://a/")),
                ProblemType::InvalidBody,
            ),
            (
                |b| b.webhook = Some(Webhook::new("https://user@a/")),
                ProblemType::InvalidBody,
            ),
            (
                |b| {
                    b.env.insert("LD_PRELOAD".into(), "x".into());
                },
                ProblemType::NotAllowed,
            ),
            (
                |b| {
                    b.env.insert("anthropic_base_url".into(), "x".into());
                },
                ProblemType::NotAllowed,
            ),
            (
                |b| {
                    b.env.insert("A=B".into(), "x".into());
                },
                ProblemType::InvalidBody,
            ),
            (
                |b| {
                    b.metadata.insert("a".into(), "x".repeat(5000));
                },
                ProblemType::InvalidBody,
            ),
        ];
        for (n, (change, kind)) in changes.into_iter().enumerate() {
            assert_eq!(check(change).map_err(|e| e.kind()), Err(kind), "change {n}");
        }
    }
}

//! How the Claude CLI is started: its command-line arguments, its environment and its first
//! message. Only this module builds them. No text of a client reaches a shell. In the arguments,
//! such a text is only ever the value of a flag that this module chose.

mod environment;
mod repository;
mod shell;

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use protocol::body::DEFAULT_WORKSPACE;
use protocol::{Body, InputMode, PromptMode};
use serde_json::{Map, Value, json};

use crate::config::{AnswerCeiling, Permissions};
pub use environment::{Credential, Environment, Granted};
pub use repository::{repository_arguments, repository_settings, repository_variables};
pub use shell::shell_settings;

/// Whether a start of the CLI begins a conversation (a session of the CLI) or continues one. A
/// wrong choice makes the CLI fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conversation {
    /// A conversation without a transcript. The CLI gets its id with `--session-id`.
    New,
    /// A conversation with a transcript on disk. The CLI gets its id with `--resume`.
    Continued,
    /// A copy of a conversation with a transcript on disk. The CLI gets the id of that one with
    /// `--resume`, and its own with `--session-id`.
    Forked,
}

/// Returns the CLI's command-line arguments for one execution, without the program's name. Each
/// value from a client is part of one `--flag=value` argument, so no value can become a flag of its
/// own. `conversation` is the id of the conversation, and `kind` says whether it is begun or
/// resumed. `source` is the conversation that a fork copies.
///
/// Texts that other executions must not read are added by the caller ([`private_options`]).
#[must_use]
pub fn arguments(
    body: &Body,
    permissions: &Permissions,
    conversation: &str,
    kind: Conversation,
    source: Option<&str>,
) -> Vec<String> {
    let mut args: Vec<String> = [
        "-p",
        "--input-format=stream-json",
        "--output-format=stream-json",
        "--verbose",
        "--strict-mcp-config",
    ]
    .map(str::to_owned)
    .to_vec();
    let mut flag = |name: &str, value: &str| args.push(format!("--{name}={value}"));
    match &permissions.answers {
        None => flag("permission-prompts", "none"),
        Some(_) => flag("permission-prompt-tool", "stdio"),
    }
    let offered = permissions.answers.as_ref();
    let offered = offered.and_then(AnswerCeiling::offered_tools);
    // The body's own are among those that may be offered.
    if let Some(tools) = body.tools.as_ref().or(offered.as_ref()) {
        flag("tools", &tools.join(","));
    }
    flag("permission-mode", &permissions.mode);
    match kind {
        Conversation::New => flag("session-id", conversation),
        Conversation::Continued => flag("resume", conversation),
        Conversation::Forked => {
            flag("resume", source.unwrap_or(conversation));
            flag("session-id", conversation);
        }
    }
    for (name, tools) in [
        ("allowedTools", &permissions.allowed),
        ("disallowedTools", &permissions.disallowed),
    ] {
        if !tools.is_empty() {
            flag(name, &tools.join(","));
        }
    }
    for (name, value) in [
        ("model", &body.model),
        ("system-prompt", &body.system_prompt),
        ("append-system-prompt", &body.append_system_prompt),
        ("fallback-model", &body.fallback_model),
        ("effort", &body.effort),
        ("thinking-display", &body.thinking_display),
    ] {
        if let Some(value) = value {
            flag(name, value);
        }
    }
    if kind != Conversation::New {
        for (name, value) in [
            ("resume-session-at", &body.resume_at),
            ("resume-drops-turn", &body.resume_drops_turn),
        ] {
            if let Some(value) = value {
                flag(name, value);
            }
        }
    }
    for (name, number) in [
        ("max-turns", body.max_turns.map(|n| n.to_string())),
        ("max-budget-usd", body.max_budget_usd.map(|n| n.to_string())),
        (
            "max-thinking-tokens",
            body.max_thinking_tokens.map(|n| n.to_string()),
        ),
        ("task-budget", body.task_budget.map(|n| n.to_string())),
        (
            "thinking",
            body.thinking.map(|thinking| thinking.as_str().to_owned()),
        ),
        ("betas", body.betas.as_ref().map(|betas| betas.join(","))),
    ] {
        if let Some(value) = number {
            flag(name, &value);
        }
    }
    for (name, is_set) in [
        ("include-partial-messages", body.include_partial_messages),
        ("include-hook-events", body.include_hook_events),
        ("replay-user-messages", body.replay_user_messages),
        ("session-mirror", body.session_mirror),
        ("fork-session", kind == Conversation::Forked),
    ] {
        if is_set {
            args.push(format!("--{name}"));
        }
    }
    args
}

/// Takes out of the body the texts that other executions must not read, each with the name of the
/// CLI's option and of a form of it that names a file. As arguments, `ps` would show them.
/// `operator_settings` are added to the client's settings, and override them.
pub fn private_options(
    body: &mut Body,
    operator_settings: impl Iterator<Item = Map<String, Value>>,
) -> Vec<PrivateOption> {
    let option = |name: &'static str, file_option: &'static str, text: Option<String>| {
        text.map(|text| PrivateOption {
            name,
            file_option,
            text,
        })
    };
    let json = |object: Option<Map<String, Value>>| {
        object.map(|object| String::from_utf8_lossy(&json_bytes(&object)).into_owned())
    };
    let mut settings = body.settings.take();
    for more in operator_settings {
        settings.get_or_insert_default().extend(more);
    }
    let servers = body.mcp_servers.take();
    let servers =
        servers.map(|servers| Map::from_iter([("mcpServers".to_owned(), json!(servers))]));
    [
        option(
            "system-prompt",
            "system-prompt-file",
            body.system_prompt.take(),
        ),
        option(
            "append-system-prompt",
            "append-system-prompt-file",
            body.append_system_prompt.take(),
        ),
        option("agents", "agents", json(body.agents.take())),
        option("settings", "settings", json(settings)),
        option("mcp-config", "mcp-config", json(servers)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// An option of the CLI whose value other executions must not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrivateOption {
    /// The name of the option that takes the value itself.
    pub name: &'static str,
    /// The name of the option that takes the path of a file with the value.
    pub file_option: &'static str,
    /// The value.
    pub text: String,
}

fn json_bytes(object: &Map<String, Value>) -> Vec<u8> {
    protocol::json::to_vec(object).unwrap_or_default()
}

/// Returns the lines that claude-api writes to the CLI's stdin first: the JSON schema of the
/// answer, which has no option that names a file, and the prompt. Empty without both.
#[must_use]
pub fn first_lines(body: &Body, conversation: &str) -> Vec<u8> {
    let mut lines = Vec::new();
    if let Some(schema) = &body.json_schema {
        let request = json!({ "subtype": "initialize", "jsonSchema": schema });
        let line = json!({
            "type": "control_request", "request_id": "cc-bridge-schema", "request": request,
        });
        lines.extend(protocol::json::to_vec(&line).unwrap_or_default());
        lines.push(b'\n');
    }
    if !body.prompt.is_empty() {
        lines.extend(first_message(body, conversation));
    }
    lines
}

/// Returns the prompt as one line of stream-json (a user message as JSON, with its newline), to be
/// written to the CLI's stdin. With the prompt mode `verbatim`, the message has `client_composed`,
/// so that the CLI does not interpret the prompt, for example as a slash command.
#[must_use]
pub fn first_message(body: &Body, conversation: &str) -> Vec<u8> {
    let mut message = json!({
        "type": "user",
        "message": { "role": "user", "content": body.prompt },
        "parent_tool_use_id": null,
        "session_id": conversation,
    });
    if body.prompt_mode == PromptMode::Verbatim {
        message["client_composed"] = json!(true);
    }
    // Node's readline also splits lines at U+2028, so `to_vec` escapes that character.
    let mut line = protocol::json::to_vec(&message).unwrap_or_default();
    line.push(b'\n');
    line
}

/// Returns the environment variables for an execution that takes input: those of the client's SDK,
/// and the one with which the CLI reports the begin and the end of its work. An SDK that reads
/// these reports itself has asked for them, in a form that it hides from its program.
#[must_use]
pub fn input_variables(body: &Body) -> Vec<(String, String)> {
    const READS: &str = "CLAUDE_CODE_SDK_READS_SESSION_STATE";
    let mut variables: Vec<_> = body.sdk_env.clone().into_iter().collect();
    let is_read = body.sdk_env.get(READS).is_some_and(|value| value == "1");
    if takes_input(body) && !is_read {
        let name = "CLAUDE_CODE_EMIT_SESSION_STATE_EVENTS".to_owned();
        variables.push((name, "1".to_owned()));
    }
    variables
}

/// Returns the environment variables for an execution that asks. Without this one, the CLI offers
/// the tool `ExitPlanMode` only after a search for it (seen with 2.1.329).
#[must_use]
pub fn question_variables(permissions: &Permissions) -> Option<(String, String)> {
    let asks = permissions.answers.is_some();
    asks.then(|| ("ENABLE_TOOL_SEARCH".to_owned(), "false".to_owned()))
}

/// Returns whether clients may send more messages after the prompt.
#[must_use]
pub fn takes_input(body: &Body) -> bool {
    body.input == InputMode::Stream
}

/// Creates a folder and its missing parents with mode 0700, because executions write private data
/// there. An existing folder is left as it is, with its mode.
///
/// # Errors
/// The folder cannot be created.
pub(crate) fn create_private(dir: &Path) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Returns the path of a workspace's folder, which may not exist yet. This is `root` joined with
/// the name, or `default_folder` for the workspace `default` if the operator has set one.
#[must_use]
pub fn workspace_folder(
    root: &Path,
    default_folder: Option<&Path>,
    name: &str,
) -> std::path::PathBuf {
    match (default_folder, name) {
        (Some(folder), DEFAULT_WORKSPACE) => folder.to_owned(),
        _ => root.join(name),
    }
}

/// Returns the real path of a workspace's folder, with links resolved. A missing folder is created
/// with mode 0700. `default_folder` is the operator's folder for the workspace `default`, if one is
/// set; it is never created here.
///
/// # Errors
/// The folder cannot be created, or is a symbolic link to a place outside the workspace root, or
/// the operator's folder does not exist.
pub fn workspace(
    root: &Path,
    default_folder: Option<&Path>,
    name: &str,
) -> std::io::Result<std::path::PathBuf> {
    let path = workspace_folder(root, default_folder, name);
    if default_folder.is_some() && name == DEFAULT_WORKSPACE {
        return path.canonicalize();
    }
    match DirBuilder::new().mode(0o700).create(&path) {
        Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => return Err(e),
        _ => {}
    }
    let real = path.canonicalize()?;
    if !real.starts_with(root.canonicalize()?) {
        return Err(std::io::Error::other(format!(
            "workspace {name} is a link to {}, outside the workspace root",
            real.display()
        )));
    }
    Ok(real)
}

/// The pause before a start is tried again that failed because processes, memory or file
/// descriptors were short (see [`is_shortage`]).
pub(crate) const SHORTAGE_RETRY: std::time::Duration = std::time::Duration::from_millis(250);

/// Returns whether a process could not be started because file descriptors, processes or memory
/// were short (EMFILE, ENFILE, EAGAIN, ENOMEM or ETOOMANYREFS). Such a shortage may pass, so the
/// caller retries. False for every other error.
pub(crate) fn is_shortage(error: &std::io::Error) -> bool {
    use rustix::io::Errno;
    // TOOMANYREFS: too many descriptors of this user are in flight through sockets (unix(7)).
    [
        Errno::MFILE,
        Errno::NFILE,
        Errno::AGAIN,
        Errno::NOMEM,
        Errno::TOOMANYREFS,
    ]
    .contains(&Errno::from_io_error(error).unwrap_or(Errno::INVAL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_errors_that_may_pass_are_a_shortage() {
        use rustix::io::Errno;
        for errno in [
            Errno::AGAIN,
            Errno::MFILE,
            Errno::NFILE,
            Errno::NOMEM,
            Errno::TOOMANYREFS,
        ] {
            assert!(is_shortage(&errno.into()), "{errno}");
        }
        assert!(!is_shortage(&Errno::NOENT.into()));
    }

    #[test]
    fn a_value_never_becomes_a_flag() {
        let value = "--dangerously-skip-permissions";
        let body = Body {
            model: Some(value.into()),
            system_prompt: Some("-p\n; rm -rf / $(x)".into()),
            append_system_prompt: Some(value.into()),
            ..Body::new(value)
        };
        let args = arguments(&body, &Permissions::default(), "c", Conversation::New, None);
        assert!(args.iter().all(|a| a != value));
        assert!(args.contains(&format!("--model={value}")));
        assert!(args.contains(&"--system-prompt=-p\n; rm -rf / $(x)".to_owned()));
        assert!(args.iter().all(|a| !a.contains("prompt text")));
    }

    #[test]
    fn the_prompt_is_one_line_and_verbatim() {
        let body = Body::new("/cost\n@file \u{2028} \"x\" \u{1f600}");
        let line = first_message(&body, "c");
        assert_eq!(line.iter().filter(|b| **b == b'\n').count(), 1);
        let back: serde_json::Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(back["message"]["content"], body.prompt);
        assert_eq!(back["client_composed"], true);
        let commands = Body {
            prompt_mode: PromptMode::Commands,
            ..body
        };
        let back: serde_json::Value =
            serde_json::from_slice(&first_message(&commands, "c")).unwrap();
        assert!(back.get("client_composed").is_none());
    }

    #[test]
    fn workspaces_stay_below_the_root() {
        let root = tempfile::tempdir().unwrap();
        assert!(workspace(root.path(), None, "a").unwrap().ends_with("a"));
        assert!(workspace(root.path(), None, "a").is_ok());
        std::os::unix::fs::symlink("/", root.path().join("out")).unwrap();
        assert!(workspace(root.path(), None, "out").is_err());
        // The operator's own folder for `default` may be anywhere, and changes no other.
        let own = tempfile::tempdir().unwrap();
        let at = |name: &str| workspace(root.path(), Some(own.path()), name).unwrap();
        assert_eq!(at("default"), own.path().canonicalize().unwrap());
        assert!(at("a").starts_with(root.path().canonicalize().unwrap()));
        let missing = Some(Path::new("/nonexistent"));
        assert!(workspace(root.path(), missing, "default").is_err());
    }
}

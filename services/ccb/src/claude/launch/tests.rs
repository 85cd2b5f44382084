use std::ffi::OsString;
use std::path::PathBuf;

use serde_json::{Map, json};

use super::super::arguments::parse;
use super::*;

const ID: &str = "018f4e2a-7b3c-7def-8123-456789abcdef";
const FORMATS: [&str; 4] = [
    "--output-format",
    "stream-json",
    "--input-format",
    "stream-json",
];

fn environment(variables: &[(&str, &str)]) -> Environment {
    let variable = |name: &str| {
        let pair = variables.iter().find(|(of, _)| *of == name)?;
        Some(OsString::from(pair.1))
    };
    Environment::read(variable, PathBuf::from("/nonexistent/src")).unwrap()
}

fn launch_in(environment: &Environment, words: &[&str]) -> Result<Launch, String> {
    let words = FORMATS.iter().chain(words).map(|word| (*word).to_owned());
    Launch::new(&parse(words)?, environment)
}

fn launch(words: &[&str]) -> Result<Launch, String> {
    launch_in(&environment(&[]), words)
}

/// Returns the members of the body that these arguments change. A member is null if it is absent
/// only with the arguments, and so has its default value.
fn changed(words: &[&str]) -> Map<String, Value> {
    let members = |launch: Launch| match serde_json::to_value(launch.execute.body) {
        Ok(Value::Object(mut members)) => {
            members["metadata"]["start"] = Value::Null;
            members
        }
        other => panic!("{other:?}"),
    };
    let plain = members(launch(&[]).unwrap());
    let mut changed = members(launch(words).unwrap_or_else(|e| panic!("{words:?}: {e}")));
    for name in plain.keys() {
        changed.entry(name.clone()).or_insert(Value::Null);
    }
    changed.retain(|name, value| plain.get(name) != Some(value));
    changed
}

#[test]
fn without_further_flags_the_client_answers_prompts_in_the_default_workspace() {
    let mut execute = launch(&["--verbose", "-p", "--debug"]).unwrap().execute;
    let start = execute.body.metadata.remove("start").unwrap();
    let another = launch(&[]).unwrap().execute.body.metadata["start"].clone();
    assert_ne!(start, another, "each process has its own");
    let mut body = Body::new("");
    body.prompt_mode = PromptMode::Commands;
    body.format = Format::Events;
    body.input = InputMode::Stream;
    body.permission_prompts = PermissionPrompts::Client;
    body.include_partial_messages = false;
    body.metadata.insert("client".into(), "ccb-claude".into());
    assert_eq!(execute.body, body);
    assert_eq!(execute.on_disconnect, OnDisconnect::Cancel);
}

#[test]
fn each_flag_sets_its_field() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let prompt = file("prompt", "from a file\n");
    let settings = file("settings", r#"{"model": "s"}"#);
    let servers = file(
        "servers",
        r#"{"mcpServers": {"b": {"type": "http", "url": "u"}}}"#,
    );
    let inline = r#"{"mcpServers": {"a": {"type": "sdk"}}}"#;
    let long = "x".repeat(100_000);
    let cases: Vec<(Vec<&str>, Value)> = vec![
        (vec!["--system-prompt", ""], json!({"systemPrompt": ""})),
        (vec!["--system-prompt", "s"], json!({"systemPrompt": "s"})),
        (
            vec!["--system-prompt", &long],
            json!({"systemPrompt": long}),
        ),
        (
            vec!["--system-prompt-file", &prompt],
            json!({"systemPrompt": "from a file\n"}),
        ),
        (
            vec!["--append-system-prompt", "a"],
            json!({"appendSystemPrompt": "a"}),
        ),
        (
            vec!["--append-system-prompt-file", &prompt],
            json!({"appendSystemPrompt": "from a file\n"}),
        ),
        (vec!["--model", "m"], json!({"model": "m"})),
        (vec!["--fallback-model", "f"], json!({"fallbackModel": "f"})),
        (
            vec!["--betas", "a,b", "c"],
            json!({"betas": ["a", "b", "c"]}),
        ),
        (vec!["--effort", "high"], json!({"effort": "high"})),
        (
            vec!["--thinking", "adaptive"],
            json!({"thinking": "adaptive"}),
        ),
        (
            vec!["--thinking", "disabled"],
            json!({"thinking": "disabled"}),
        ),
        (
            vec!["--thinking-display", "summarized"],
            json!({"thinkingDisplay": "summarized"}),
        ),
        (
            vec!["--max-thinking-tokens", "0"],
            json!({"maxThinkingTokens": 0}),
        ),
        (vec!["--max-turns", "3"], json!({"maxTurns": 3})),
        (
            vec!["--max-budget-usd", "0.5"],
            json!({"maxBudgetUsd": 0.5}),
        ),
        (
            vec!["--task-budget", "7000000000"],
            json!({"taskBudget": 7_000_000_000_u64}),
        ),
        (
            vec!["--json-schema", r#"{"type": "object"}"#],
            json!({"jsonSchema": {"type": "object"}}),
        ),
        (
            vec!["--include-partial-messages"],
            // true, the default of a body
            json!({"includePartialMessages": null}),
        ),
        (
            vec!["--replay-user-messages"],
            json!({"replayUserMessages": true}),
        ),
        (
            vec!["--include-hook-events"],
            json!({"includeHookEvents": true}),
        ),
        (vec!["--session-mirror"], json!({"sessionMirror": true})),
        (vec!["--tools", ""], json!({"tools": []})),
        (vec!["--tools", "default"], json!({})),
        (
            vec!["--tools", "Read,Grep"],
            json!({"tools": ["Read", "Grep"]}),
        ),
        (
            vec!["--allowedTools", "Read,Bash(git log:*)"],
            json!({"allowedTools": ["Read", "Bash(git log:*)"]}),
        ),
        (
            vec!["--allowed-tools", "A", "B"],
            json!({"allowedTools": ["A", "B"]}),
        ),
        (
            vec!["--disallowedTools", "A B"],
            json!({"disallowedTools": ["A", "B"]}),
        ),
        (
            vec!["--disallowed-tools", "A"],
            json!({"disallowedTools": ["A"]}),
        ),
        (
            vec!["--permission-mode", "plan"],
            json!({"permissionMode": "plan"}),
        ),
        (vec!["--permission-prompt-tool", "stdio"], json!({})),
        (
            vec!["--dangerously-skip-permissions"],
            json!({"permissionMode": BYPASS}),
        ),
        (
            vec!["--agents", r#"{"a": {}}"#],
            json!({"agents": {"a": {}}}),
        ),
        (
            vec!["--settings", r#"{"model": "x"}"#],
            json!({"settings": {"model": "x"}}),
        ),
        (
            vec!["--settings", &settings],
            json!({"settings": {"model": "s"}}),
        ),
        (
            vec!["--mcp-config", inline],
            json!({"mcpServers": {"a": {"type": "sdk"}}}),
        ),
        (
            vec!["--mcp-config", inline, &servers, "--strict-mcp-config"],
            json!({"mcpServers": {"a": {"type": "sdk"}, "b": {"type": "http", "url": "u"}}}),
        ),
        (vec!["--resume", ID], json!({"conversation": ID})),
        (vec!["--session-id", ID], json!({})),
        (
            vec!["--resume", ID, "--fork-session"],
            json!({"conversation": ID, "forkConversation": true}),
        ),
        (
            vec!["--resume", ID, "--resume-session-at", "m"],
            json!({"conversation": ID, "resumeAt": "m"}),
        ),
        (
            vec!["--resume", ID, "--resume-drops-turn", "t"],
            json!({"conversation": ID, "resumeDropsTurn": "t"}),
        ),
        (vec!["--setting-sources", "user"], json!({})),
        (vec!["--add-dir", "."], json!({})),
    ];
    for (words, expected) in cases {
        assert_eq!(Value::Object(changed(&words)), expected, "{words:?}");
        // The same with `=` between the flag and its value.
        if let [flag, value] = words[..] {
            let joined = format!("{flag}={value}");
            assert_eq!(Value::Object(changed(&[&joined])), expected, "{joined}");
        }
    }
}

#[test]
fn a_session_id_is_the_id_of_the_execution() {
    let execute = launch(&["--session-id", ID]).unwrap().execute;
    assert_eq!(execute.execution_id, Some(ID.parse().unwrap()));
}

#[test]
fn a_wrong_value_is_one_sentence_that_names_the_flag() {
    for (words, part) in [
        (
            &["--permission-prompt-tool", "mcp__x__y"][..],
            "give --permission-prompt-tool stdio",
        ),
        (&["--thinking", "much"], "adaptive or disabled"),
        (&["--max-turns", "many"], "not a valid number"),
        (&["--max-turns", "-1"], "not a valid number"),
        (&["--max-thinking-tokens", "1.5"], "not a valid number"),
        (&["--max-budget-usd", "free"], "not a valid number"),
        (&["--task-budget", "-1"], "not a valid number"),
        (&["--json-schema", "{"], "not a JSON object"),
        (&["--settings", "/nonexistent"], "cannot be read"),
        (&["--agents", "[]"], "cannot be read"),
        (&["--system-prompt-file", "/nonexistent"], "cannot be read"),
        (&["--mcp-config", "{}"], "mcpServers"),
        (&["--resume", "my title"], "not a UUID"),
        (&["--resume"], "not a UUID"),
        (&["--session-id", "7"], "not a UUID"),
        (&["--plugin-dir", "/p"], "cannot load plugins"),
        (&["--add-dir", "/nonexistent"], "only one workspace"),
        (&["--output-format", "text"], "ccb exec"),
        (&["--input-format", "text"], "ccb exec"),
        (&["--fork-session"], "--resume"),
        (&["--resume-session-at", "m"], "--resume"),
        (&["--resume-drops-turn", "t"], "--resume"),
        (&["--continue", "--resume", ID], "exclude each other"),
    ] {
        let error = launch(words).unwrap_err();
        assert!(
            error.contains(words[0]) && error.contains(part),
            "{words:?}: {error}"
        );
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    let error = launch(&["--model", ""]).unwrap_err();
    assert!(error.contains("model"), "{error}");
}

#[test]
fn both_formats_are_required() {
    let parsed = |words: &[&str]| {
        let words = words.iter().map(|word| (*word).to_owned());
        Launch::new(&parse(words).unwrap(), &environment(&[])).unwrap_err()
    };
    assert!(parsed(&FORMATS[..2]).contains("--input-format stream-json is missing"));
    assert!(parsed(&FORMATS[2..]).contains("--output-format stream-json is missing"));
}

#[test]
fn setting_sources_other_than_user_are_a_warning() {
    for (sources, expected) in [("", 0), ("user", 0), ("user,project", 1), ("local", 1)] {
        let warnings = launch(&["--setting-sources", sources]).unwrap().warnings;
        assert_eq!(warnings.len(), expected, "{sources}: {warnings:?}");
    }
}

#[test]
fn continue_waits_for_the_newest_conversation() {
    let mut launch = launch(&["--continue", "--fork-session"]).unwrap();
    assert!(launch.continues_newest);
    assert!(launch.check().unwrap_err().contains("--fork-session"));
    launch.execute.body.conversation = Some(ID.parse().unwrap());
    assert_eq!(launch.check(), Ok(()));
}

#[test]
fn only_the_mapped_workspace_and_known_variables_leave_the_machine() {
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let mapped = environment(&[
        ("CCB_MAP", "/nonexistent/src=shop:/nonexistent/more=shop"),
        ("CCB_KEEP", "1"),
        ("CLAUDE_CODE_ENTRYPOINT", "sdk-py"),
        ("ANTHROPIC_API_KEY", "secret-value"),
        ("HOME", "/home/me"),
        ("TRACEPARENT", trace),
    ]);
    let launch = launch_in(&mapped, &["--add-dir", "/nonexistent/more/x"]).unwrap();
    assert_eq!(launch.execute.on_disconnect, OnDisconnect::Continue);
    let json = serde_json::to_value(&launch.execute).unwrap();
    assert_eq!(json["workspace"], "shop");
    assert_eq!(json["sdkEnv"], json!({"CLAUDE_CODE_ENTRYPOINT": "sdk-py"}));
    assert_eq!(json["traceparent"], trace);
    let text = json.to_string();
    for private in ["secret-value", "/home/me", "/nonexistent"] {
        assert!(!text.contains(private), "{text}");
    }
    let unmapped = environment(&[("CCB_MAP", "/other=shop")]);
    let error = launch_in(&unmapped, &[]).unwrap_err();
    assert!(error.contains("CCB_MAP"), "{error}");
}

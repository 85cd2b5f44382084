//! Fields of the body, each of which becomes an option or a variable of the CLI.

use serde_json::{Value, json};

use super::attempt::{Attempt, MAKE, MAKE_OUTSIDE, attempt};
use super::table::{Table, operator};
use super::{grants, reply};

pub(super) fn table() -> Table {
    Table {
        operator: operator(&[grants::CEILING]),
        controls: vec![(grants::allowed("an allowed command"), "allowed")],
        attempts: [settings(), tools(), servers(), places(), arguments()]
            .into_iter()
            .flatten()
            .collect(),
    }
}

fn body(name: &'static str, body: Value) -> Attempt {
    attempt(name, MAKE).body(body).reply(reply::allow())
}

fn settings() -> Vec<Attempt> {
    let command =
        json!([{"matcher": "*", "hooks": [{"type": "command", "command": MAKE_OUTSIDE}]}]);
    let settings = [
        (
            "settings that allow a tool",
            json!({"permissions": {"allow": ["Bash"]}}),
        ),
        (
            "settings with a mode",
            json!({"permissions": {"defaultMode": "acceptEdits"}}),
        ),
        (
            "settings with a folder",
            json!({"permissions": {"additionalDirectories": ["$OUT"]}}),
        ),
        (
            "settings with hooks",
            json!({"hooks": {"PreToolUse": command, "Stop": command}}),
        ),
        (
            "settings with variables",
            json!({"env": {"ANTHROPIC_BASE_URL": "http://127.0.0.1:9"}}),
        ),
        (
            "settings with a helper",
            json!({"apiKeyHelper": MAKE_OUTSIDE}),
        ),
        (
            "settings with a program for file names",
            json!({"fileSuggestion": {"type": "command", "command": MAKE_OUTSIDE}}),
        ),
        (
            "settings with a status line",
            json!({"statusLine": {"type": "command", "command": MAKE_OUTSIDE}}),
        ),
        (
            "settings with all MCP servers",
            json!({"enableAllProjectMcpServers": true}),
        ),
        (
            "settings with plugins",
            json!({"enabledPlugins": {"evil@evil": true}}),
        ),
        (
            "settings with no hooks disabled",
            json!({"disableAllHooks": false}),
        ),
    ];
    let refused = settings.map(|(name, settings)| {
        body(name, json!({"settings": settings})).refused("setting-not-allowed")
    });
    refused.into()
}

fn tools() -> Vec<Attempt> {
    let calc = json!({"calc": {"type": "sdk"}});
    let with_calc = |tools: Value| json!({"mcpServers": calc, "allowedTools": tools});
    let mut attempts = Vec::new();
    for (name, fields) in [
        ("the whole tool", json!({"allowedTools": ["Bash"]})),
        ("every tool", json!({"allowedTools": ["*"]})),
        ("another rule", json!({"allowedTools": ["Bash(touch:*)"]})),
        (
            "two tools in one entry",
            json!({"allowedTools": ["Bash(touch allowed),Bash"]}),
        ),
        (
            "a second tool behind a rule",
            json!({"allowedTools": ["Bash(touch allowed) Bash"]}),
        ),
        (
            "a tool behind one of the client",
            with_calc(json!(["mcp__calc__add,Bash"])),
        ),
        (
            "a tool behind one of the client and a blank",
            with_calc(json!(["mcp__calc__add Bash"])),
        ),
        (
            "a rule behind a tool of the client",
            with_calc(json!(["mcp__calc,Bash(touch:*)"])),
        ),
        ("another tool offered", json!({"tools": ["Write"]})),
        ("all tools offered", json!({"tools": ["default"]})),
        ("every tool offered", json!({"tools": ["*"]})),
        ("a rule offered", json!({"tools": ["Bash(touch:*)"]})),
        (
            "the mode acceptEdits",
            json!({"permissionMode": "acceptEdits"}),
        ),
        ("the mode auto", json!({"permissionMode": "auto"})),
        (
            "the mode bypassPermissions",
            json!({"permissionMode": "bypassPermissions"}),
        ),
        (
            "variables of the model",
            json!({"env": {"ANTHROPIC_BASE_URL": "http://127.0.0.1:9"}}),
        ),
        ("the variable PATH", json!({"env": {"PATH": "$OUT"}})),
        (
            "a variable that is not listed",
            json!({"env": {"BASH_ENV": "$OUT/secret"}}),
        ),
    ] {
        attempts.push(body(name, fields).refused("not-allowed"));
    }
    attempts
}

fn servers() -> Vec<Attempt> {
    let program = json!({"command": "sh", "args": ["-c", MAKE_OUTSIDE]});
    let mut stdio = program.clone();
    stdio["type"] = json!("stdio");
    let mut sdk = program.clone();
    sdk["type"] = json!("sdk");
    let mut attempts = vec![
        // The unknown members are left out.
        body(
            "a program of an sdk server",
            json!({"mcpServers": {"evil": sdk}}),
        ),
        body(
            "a server with a name of two parts",
            json!({"mcpServers": {"a__b": {"type": "sdk"}}}),
        )
        .refused("invalid-body"),
    ];
    let http = json!({"type": "http", "url": "http://127.0.0.1:9/mcp"});
    let sse = json!({"type": "sse", "url": "http://127.0.0.1:9/mcp"});
    for (name, server) in [
        ("a program as a server", stdio),
        ("a program without a type", program),
        ("a server that is not listed", http),
        ("a server of another type", sse),
    ] {
        attempts.push(body(name, json!({"mcpServers": {"evil": server}})).refused("not-allowed"));
    }
    attempts
}

/// Paths and variables where the body has names.
fn places() -> Vec<Attempt> {
    let bodies = [
        (
            "a path as a conversation",
            json!({"conversation": "$OUT/secret"}),
        ),
        (
            "a path as an execution",
            json!({"continues": "$OUT/secret"}),
        ),
        ("a path as a workspace", json!({"workspaces": "../outside"})),
        (
            "the variable PATH of the SDK",
            json!({"sdkEnv": {"PATH": "$OUT"}}),
        ),
        (
            "the address of the model for the SDK",
            json!({"sdkEnv": {"ANTHROPIC_BASE_URL": "http://127.0.0.1:9"}}),
        ),
        (
            "a library for the SDK",
            json!({"sdkEnv": {"LD_PRELOAD": "$OUT/secret"}}),
        ),
        ("an option of the CLI", json!({"addDir": ["$OUT"]})),
        (
            "the tool for prompts",
            json!({"permissionPromptTool": "mcp__calc__add"}),
        ),
    ];
    bodies
        .map(|(name, fields)| body(name, fields).refused("invalid-body"))
        .into()
}

/// Values that look like options. Each is a value to the CLI.
fn arguments() -> Vec<Attempt> {
    let skip = "--dangerously-skip-permissions";
    vec![
        body(
            "options as values",
            json!({"model": skip, "effort": "--allowedTools=Bash", "fallbackModel": skip,
                "systemPrompt": "--permission-mode=acceptEdits",
                "appendSystemPrompt": skip, "betas": [skip]}),
        ),
        body(
            "two values in one",
            json!({"model": "m --allowedTools Bash"}),
        ),
        body(
            "a list of betas in one",
            json!({"betas": ["a,--allowedTools=Bash"]}),
        )
        .refused("invalid-body"),
        body(
            "a style of output outside",
            json!({"settings": {"outputStyle": "$OUT/secret"}}),
        ),
    ]
}

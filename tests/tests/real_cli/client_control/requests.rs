//! Control requests of a client that the CLI would obey.

use serde_json::{Value, json};

use super::attempt::{Attempt, MAKE, MAKE_OUTSIDE, attempt};
use super::table::{Table, operator};
use super::{grants, reply};

/// The problem type of a control request beyond the ceiling.
const REFUSED: &str = "control-request-not-allowed";

pub(super) fn table() -> Table {
    Table {
        operator: operator(&[grants::CEILING]),
        controls: vec![(grants::allowed("an allowed command"), "allowed")],
        attempts: [refused(), rebuilt()].into_iter().flatten().collect(),
    }
}

/// Requests that no client may send.
fn refused() -> Vec<Attempt> {
    let program = json!({"evil": {"type": "stdio", "command": "sh", "args": ["-c", MAKE_OUTSIDE]}});
    let settings = json!({"permissions": {"allow": ["Bash"], "defaultMode": "acceptEdits"},
        "hooks": {"PreToolUse": [{"hooks": [{"type": "command", "command": MAKE_OUTSIDE}]}]}});
    let mode = |mode: Value| json!({"subtype": "set_permission_mode", "mode": mode});
    let requests = [
        (
            "MCP servers",
            json!({"subtype": "mcp_set_servers", "servers": program}),
        ),
        (
            "settings of flags",
            json!({"subtype": "apply_flag_settings", "settings": settings}),
        ),
        (
            "settings",
            json!({"subtype": "update_settings", "source": "userSettings", "settings": settings}),
        ),
        (
            "a command",
            json!({"subtype": "start_shell_task", "command": "touch", "args": ["broken"]}),
        ),
        (
            "another folder",
            json!({"subtype": "set_cwd", "path": "$OUT", "trust_accepted": true}),
        ),
        (
            "one more folder",
            json!({"subtype": "add_directory", "path": "$OUT"}),
        ),
        (
            "a repository",
            json!({"subtype": "register_repo_root", "directory": "$OUT"}),
        ),
        (
            "a file",
            json!({"subtype": "read_file", "path": "$OUT/secret"}),
        ),
        (
            "a folder's files",
            json!({"subtype": "list_directory", "path": "$OUT"}),
        ),
        (
            "a state of files",
            json!({"subtype": "seed_read_state", "path": "$OUT/secret"}),
        ),
        (
            "a call of a tool",
            json!({"subtype": "mcp_call", "tool": "mcp__calc__add", "arguments": {}}),
        ),
        (
            "a mode of an MCP server",
            json!({"subtype": "set_mcp_permission_mode_override", "serverName": "calc",
                "mode": "bypassPermissions"}),
        ),
        (
            "an unknown MCP server",
            json!({"subtype": "mcp_reconnect", "serverName": "evil"}),
        ),
        (
            "an MCP server turned on",
            json!({"subtype": "mcp_toggle", "serverName": "evil", "enabled": true}),
        ),
        (
            "plugins",
            json!({"subtype": "reload_plugins", "add_plugins": ["$OUT"]}),
        ),
        (
            "hooks of the device",
            json!({"subtype": "register_device_hooks", "hooks": settings}),
        ),
        (
            "remote control",
            json!({"subtype": "remote_control", "enabled": true}),
        ),
        (
            "the settings of the CLI",
            json!({"subtype": "get_settings"}),
        ),
        (
            "a hook of the CLI",
            json!({"subtype": "hook_callback", "callback_id": "h"}),
        ),
        (
            "a prompt of the CLI",
            json!({"subtype": "can_use_tool", "tool_name": "Bash"}),
        ),
        (
            "another case of initialize",
            json!({"subtype": "Initialize", "settings": settings}),
        ),
        ("the mode acceptEdits", mode(json!("acceptEdits"))),
        ("the mode auto", mode(json!("auto"))),
        (
            "the mode bypassPermissions",
            mode(json!("bypassPermissions")),
        ),
        ("another case of a mode", mode(json!("AcceptEdits"))),
        ("an unknown mode", mode(json!("yolo"))),
    ];
    let ask = |(name, request): (&'static str, Value)| {
        attempt(name, MAKE)
            .request(request)
            .refused(REFUSED)
            .reply(reply::allow())
    };
    let mut attempts: Vec<_> = requests.into_iter().map(ask).collect();
    for (name, mode) in [
        ("a list as a mode", mode(json!(["acceptEdits"]))),
        ("a list as a request", json!(["set_permission_mode"])),
        (
            "a list as a subtype",
            json!({"subtype": ["apply_flag_settings"]}),
        ),
    ] {
        attempts.push(
            attempt(name, MAKE)
                .request(mode)
                .refused("invalid-body")
                .reply(reply::allow()),
        );
    }
    attempts
}

/// Requests that pass with known members only.
fn rebuilt() -> Vec<Attempt> {
    let sent = |name, request: Value| attempt(name, MAKE).request(request).reply(reply::allow());
    vec![
        sent(
            "a mode with more members",
            json!({"subtype": "set_permission_mode", "mode": "default", "ultraplan": true,
                "from_settings": true, "permissions": {"allow": ["Bash"]}}),
        ),
        sent(
            "a model with more members",
            json!({"subtype": "set_model", "model": "m", "settings": {"permissions":
                {"allow": ["Bash"]}}}),
        ),
        sent(
            "an unknown task",
            json!({"subtype": "stop_task", "task_id": "t"}),
        ),
        sent(
            "files of an unknown message",
            json!({"subtype": "rewind_files", "user_message_id": "$OUT/secret"}),
        ),
    ]
}

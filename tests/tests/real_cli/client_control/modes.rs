//! Attempts to widen the permission mode. The operator allows the tools, but somebody must allow
//! each use, or nobody may in the mode `plan`.

use serde_json::{Value, json};

use super::attempt::{Attempt, MAKE, attempt};
use super::driver::Reply;
use super::table::{Table, operator};
use super::{reply, rules::task};

const TOOLS: (&str, &str) = ("CLAUDE_API_TOOLS_CEILING", "Bash,Edit,Read,Write");
const WRITE: &str = "@tool Write {\"file_path\":\"broken\",\"content\":\"x\"}";
const WRITE_WITHIN: &str = "@tool Write {\"file_path\":\"within\",\"content\":\"x\"}";

/// The ceiling is the mode `default`, and the client denies what it is asked.
pub(super) fn asked() -> Table {
    let control = attempt("an allowed file", WRITE).reply(reply::allow());
    let mut attempts = hooks(reply::hook);
    attempts.extend(updates());
    for mode in ["acceptEdits", "auto", "bypassPermissions"] {
        attempts.push(
            attempt("a wider mode in the body", WRITE)
                .body(json!({"permissionMode": mode}))
                .refused("not-allowed"),
        );
        attempts.push(
            attempt("a wider mode later", "@say one")
                .request(json!({"subtype": "set_permission_mode", "mode": mode}))
                .refused("control-request-not-allowed")
                .then(WRITE),
        );
    }
    attempts.push(attempt("a file of a sub-agent", task(WRITE)));
    attempts.push(
        attempt("an accepted plan, then a file", plan(WRITE))
            .body(json!({"permissionMode": "plan"}))
            .reply(reply::client(reply::allow_plans_only, json!({}))),
    );
    Table {
        operator: operator(&[TOOLS, ("CLAUDE_API_PERMISSION_CEILING", "default")]),
        controls: vec![(control, "broken")],
        attempts,
    }
}

/// The ceiling is the mode `plan`, and the client allows what it is asked.
pub(super) fn planned() -> Table {
    let mut attempts = hooks(reply::hook_and_allow);
    let within = |name, prompt: &str| attempt(name, prompt).reply(reply::allow());
    let rule = json!([{"type": "addRules", "rules": [{"toolName": "Write"}], "behavior": "allow",
        "destination": "session"}]);
    attempts.extend([
        within("a file allowed from the start", WRITE).body(json!({"allowedTools": ["Write"]})),
        within("a command allowed from the start", MAKE).body(json!({"allowedTools": ["Bash"]})),
        attempt(
            "a rule for files",
            format!("@tool Read {{\"file_path\":\"$OUT/victim\"}}\n{WRITE}"),
        )
        .reply(reply::allow_with(json!({"updatedPermissions": rule}))),
        within("a file in the mode plan", WRITE),
        within("a command in the mode plan", MAKE),
        within("a file of a sub-agent in the mode plan", &task(WRITE)),
        within("an accepted plan, then a file", &plan(WRITE)),
        within("the mode default in the body", WRITE)
            .body(json!({"permissionMode": "default"}))
            .refused("not-allowed"),
        within("the mode default later", WRITE)
            .request(json!({"subtype": "set_permission_mode", "mode": "default"}))
            .refused("control-request-not-allowed"),
        within("the mode dontAsk later", WRITE)
            .request(json!({"subtype": "set_permission_mode", "mode": "dontAsk"}))
            .refused("control-request-not-allowed"),
    ]);
    let plan = [
        TOOLS,
        ("CLAUDE_API_PERMISSION_CEILING", "plan"),
        ("CLAUDE_API_PERMISSION_MODE", "plan"),
    ];
    Table {
        operator: operator(&plan),
        controls: Vec::new(),
        attempts,
    }
}

/// Returns a prompt that has a plan accepted, and then does more.
fn plan(prompt: &str) -> String {
    format!("@tool ExitPlanMode {{\"plan\":\"p\"}}\n{prompt}")
}

/// Hooks that grant the use of a tool.
fn hooks(answer: impl Fn(Value) -> Reply) -> Vec<Attempt> {
    let hooked = |name, event: &str, output: Value| {
        attempt(name, WRITE)
            .initialize(json!({"hooks": {event: [{"hookCallbackIds": ["h"]}]}}))
            .reply(answer(output))
    };
    let pre = |decision: &str| {
        json!({"hookSpecificOutput":
            {"hookEventName": "PreToolUse", "permissionDecision": decision}})
    };
    let permit = |decision: Value| {
        json!({"hookSpecificOutput":
            {"hookEventName": "PermissionRequest", "decision": decision}})
    };
    let permitting = |name, decision: Value| {
        hooked(name, "PermissionRequest", json!({})).reply(reply::hook_first(permit(decision)))
    };
    let mode = json!([{"type": "setMode", "mode": "acceptEdits", "destination": "session"}]);
    vec![
        hooked("a hook that allows a file", "PreToolUse", pre("allow")),
        hooked("a hook that asks about a file", "PreToolUse", pre("ask")),
        hooked("a hook that defers a file", "PreToolUse", pre("defer")),
        hooked(
            "a hook that approves a file",
            "PreToolUse",
            json!({"decision": "approve"}),
        ),
        permitting("a hook that permits a file", json!({"behavior": "allow"})),
        permitting(
            "a hook that sets the mode",
            json!({"behavior": "allow", "updatedPermissions": mode}),
        ),
    ]
}

/// Changes of the permissions in the answer to the first prompt.
fn updates() -> Vec<Attempt> {
    let mode = |mode: &str, destination: &str| {
        let update = json!({"type": "setMode", "mode": mode, "destination": destination});
        json!([update])
    };
    let updates = [
        ("the mode acceptEdits", mode("acceptEdits", "session")),
        (
            "the mode acceptEdits in settings",
            mode("acceptEdits", "userSettings"),
        ),
        ("the mode auto", mode("auto", "session")),
        (
            "the mode bypassPermissions",
            mode("bypassPermissions", "session"),
        ),
        (
            "a folder",
            json!([{"type": "addDirectories", "directories": ["$OUT"], "destination": "session"}]),
        ),
    ];
    let mut attempts: Vec<_> = updates
        .into_iter()
        .map(|(name, updates)| {
            attempt(name, format!("{WRITE_WITHIN}\n{WRITE}")).reply(reply::allow_within_with(
                move |_| json!({"updatedPermissions": updates}),
            ))
        })
        .collect();
    attempts.push(
        attempt("all suggestions", format!("{WRITE_WITHIN}\n{WRITE}")).reply(
            reply::allow_within_with(
                |request| json!({"updatedPermissions": request["permission_suggestions"]}),
            ),
        ),
    );
    attempts
}

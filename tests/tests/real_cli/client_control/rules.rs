//! Attempts against an operator who allows Bash, but never `rm`.

use serde_json::{Value, json};

use super::attempt::{Attempt, MAKE, attempt};
use super::driver::Reply;
use super::reply;
use super::table::{Table, operator};

/// A command that needs a permission, because it writes a file.
const WITHIN: &str = "@bash echo 1 > within";
/// The command of the operator's rule.
const DELETE: &str = "@bash rm victim";

pub(super) fn table() -> Table {
    Table {
        operator: operator(&[
            ("CLAUDE_API_TOOLS_CEILING", "Bash"),
            ("CLAUDE_API_DISALLOWED_TOOLS", "Bash(rm:*)"),
        ]),
        controls: vec![
            (
                attempt("an allowed command", MAKE).reply(reply::allow()),
                "broken",
            ),
            (
                attempt("an allowed command that deletes", "@bash unlink victim")
                    .reply(reply::allow()),
                "deleted",
            ),
        ],
        attempts: [inputs(), updates(), responses()]
            .into_iter()
            .flatten()
            .collect(),
    }
}

/// Allows a prompt with another command.
fn other(command: &str) -> Reply {
    reply::allow_with(json!({"updatedInput": {"command": command, "description": "d"}}))
}

fn inputs() -> Vec<Attempt> {
    let pre = |more: Value| {
        let mut output = json!({"hookEventName": "PreToolUse",
            "updatedInput": {"command": "rm victim", "description": "d"}});
        super::driver::extend(&mut output, &more);
        json!({"hookSpecificOutput": output})
    };
    let on = |event: &str| json!({"hooks": {event: [{"hookCallbackIds": ["h"]}]}});
    let hooked = |name, output: Value| {
        attempt(name, WITHIN)
            .initialize(on("PreToolUse"))
            .reply(reply::hook_and_allow(output))
    };
    let permit = json!({"hookEventName": "PermissionRequest", "decision":
        {"behavior": "allow", "updatedInput": {"command": "rm victim", "description": "d"}}});
    vec![
        attempt("a denied command", DELETE).reply(reply::allow()),
        attempt("a denied command as updatedInput", WITHIN).reply(other("rm victim")),
        attempt("a denied command in a list as updatedInput", WITHIN)
            .reply(other("echo 1; rm victim")),
        attempt("a denied command in a shell as updatedInput", WITHIN)
            .reply(other("sh -c 'rm victim'")),
        attempt("any other command as updatedInput", WITHIN).reply(other("touch broken")),
        hooked(
            "a hook that allows a denied command",
            pre(json!({"permissionDecision": "allow"})),
        ),
        hooked(
            "a hook that asks about a denied command",
            pre(json!({"permissionDecision": "ask"})),
        ),
        hooked("a hook that only changes the command", pre(json!({}))),
        attempt("a PermissionRequest hook with a denied command", WITHIN)
            .initialize(on("PermissionRequest"))
            .reply(reply::hook_first(json!({"hookSpecificOutput": permit}))),
        attempt("a denied command of a sub-agent", task(DELETE)).reply(reply::allow()),
        attempt("a denied command as the input of a choice", WITHIN).reply(reply::allow_with(
            json!({"updatedInput": {"questions": [], "answers": {}, "command": "rm victim"}}),
        )),
    ]
}

/// Returns a prompt that starts a sub-agent with another prompt.
pub(super) fn task(prompt: &str) -> String {
    let input = json!({"description": "d", "prompt": prompt, "subagent_type": "general-purpose"});
    format!("@tool Task {input}")
}

/// Changes of the permissions in the answer to the first prompt.
fn updates() -> Vec<Attempt> {
    let update = |name, update: Value, prompt: &str| {
        attempt(name, format!("{WITHIN}\n{prompt}")).reply(reply::allow_within_with(
            move |_| json!({"updatedPermissions": [update]}),
        ))
    };
    let rules = |kind: &str, rule: Value, behavior: &str, destination: &str| {
        let rules = json!([rule]);
        json!({"type": kind, "rules": rules, "behavior": behavior, "destination": destination})
    };
    let bash = json!({"toolName": "Bash"});
    let touch = json!({"toolName": "Bash", "ruleContent": "touch:*"});
    let rm = json!({"toolName": "Bash", "ruleContent": "rm:*"});
    let mode = |mode: &str| json!({"type": "setMode", "mode": mode, "destination": "session"});
    let folder = json!({"type": "addDirectories", "directories": ["$OUT"],
        "destination": "session"});
    vec![
        attempt("all suggestions", format!("{WITHIN}\n{MAKE}")).reply(reply::allow_within_with(
            |request| json!({"updatedPermissions": request["permission_suggestions"]}),
        )),
        update(
            "a rule for the tool",
            rules("addRules", bash.clone(), "allow", "session"),
            MAKE,
        ),
        update(
            "a rule in the user's settings",
            rules("addRules", bash.clone(), "allow", "userSettings"),
            MAKE,
        ),
        update(
            "a rule in the settings of the workspace",
            rules("addRules", touch, "allow", "localSettings"),
            MAKE,
        ),
        update("the mode acceptEdits", mode("acceptEdits"), MAKE),
        update(
            "the mode bypassPermissions",
            mode("bypassPermissions"),
            MAKE,
        ),
        update("the mode auto", mode("auto"), MAKE),
        update(
            "another folder",
            folder,
            "@tool Read {\"file_path\":\"$OUT/secret\"}",
        ),
        update(
            "the operator's rule removed",
            rules("removeRules", rm.clone(), "deny", "cliArg"),
            DELETE,
        ),
        attempt(
            "the operator's rule removed, all allowed",
            format!("{WITHIN}\n{DELETE}"),
        )
        .reply(reply::allow_with(json!({"updatedPermissions":
                [rules("removeRules", rm, "deny", "cliArg")]}))),
        attempt(
            "the operator's rules replaced, all allowed",
            format!("{WITHIN}\n{DELETE}"),
        )
        .reply(reply::allow_with(json!({"updatedPermissions":
                [{"type": "replaceRules", "rules": [], "behavior": "deny",
                    "destination": "cliArg"}]}))),
    ]
}

/// Responses that the protocol does not have.
fn responses() -> Vec<Attempt> {
    let answer = |line: &Value, response: Value| reply::success(line, &response);
    let odd = |name, response: Value| {
        attempt(name, MAKE).reply(Box::new(move |line| vec![reply::success(line, &response)]))
    };
    let unknown = json!({"request_id": "unknown"});
    vec![
        odd("a list as behavior", json!({"behavior": ["allow"]})),
        odd("another case of behavior", json!({"behavior": "Allow"})),
        odd("a text as response", json!("allow")),
        odd("the response of a hook", json!({"decision": "approve"})),
        odd("no response", Value::Null),
        attempt("an allow after a deny", MAKE).reply(Box::new(move |line| {
            vec![
                answer(line, json!({"behavior": "deny", "message": "no"})),
                answer(line, json!({"behavior": "allow"})),
            ]
        })),
        attempt("a second allow with a denied command", WITHIN).reply(Box::new(move |line| {
            let input = json!({"command": "rm victim"});
            vec![
                answer(line, json!({"behavior": "allow"})),
                answer(line, json!({"behavior": "allow", "updatedInput": input})),
            ]
        })),
        attempt("a response to an unknown request", MAKE)
            .line(reply::success(&unknown, &json!({"behavior": "allow"}))),
        attempt("a response without a request", MAKE)
            .line(json!({"type": "control_response", "response": {"behavior": "allow"}}))
            .refused("invalid-body"),
    ]
}

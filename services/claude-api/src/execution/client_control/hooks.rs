//! The output of a hook that runs in the client.
//!
//! A hook can grant a permission (measured with 2.1.329). An allow of a `PreToolUse` hook runs the
//! tool without a prompt, even in the mode `dontAsk`. An allow of a `PermissionRequest` hook can
//! add permanent rules. So the output is built anew, and an allow becomes a prompt. A changed input
//! needs no check: the CLI applies its rules to the new input.

use serde_json::{Value, json};

use super::lines::known_members;

/// The members of an output that pass unchanged.
const MEMBERS: [&str; 7] = [
    "async",
    "asyncTimeout",
    "continue",
    "reason",
    "stopReason",
    "suppressOutput",
    "systemMessage",
];

/// The members of `hookSpecificOutput` that pass unchanged.
const SPECIFIC_MEMBERS: [&str; 13] = [
    "action",
    "additionalContext",
    "content",
    "displayContent",
    "hookEventName",
    "initialUserMessage",
    "permissionDecisionReason",
    "reason",
    "sessionTitle",
    "suppressOriginalPrompt",
    "updatedInput",
    "updatedMCPToolOutput",
    "updatedToolOutput",
];

/// Returns the output of a hook without any grant. An output that is not an object becomes an empty
/// object, which decides nothing.
pub(super) fn restrict(output: &Value) -> Value {
    let mut restricted = known_members(output, &MEMBERS);
    // The only other value is "approve", a grant.
    if output
        .get("decision")
        .is_some_and(|decision| decision == "block")
    {
        restricted.insert("decision".to_owned(), json!("block"));
    }
    if let Some(specific) = output.get("hookSpecificOutput").filter(|o| o.is_object()) {
        restricted.insert("hookSpecificOutput".to_owned(), restrict_specific(specific));
    }
    Value::Object(restricted)
}

fn restrict_specific(specific: &Value) -> Value {
    let mut restricted = known_members(specific, &SPECIFIC_MEMBERS);
    let decision = match specific.get("permissionDecision").and_then(Value::as_str) {
        Some("allow" | "ask") => Some("ask"),
        Some("deny") => Some("deny"),
        Some("defer") => Some("defer"),
        _ => None,
    };
    if let Some(decision) = decision {
        restricted.insert("permissionDecision".to_owned(), json!(decision));
    }
    // A `PermissionRequest` hook decides here. An allow is left out, because the client answers the
    // prompt as well.
    let denial = specific.get("decision").filter(|decision| {
        decision
            .get("behavior")
            .is_some_and(|behavior| behavior == "deny")
    });
    if let Some(denial) = denial {
        let members = known_members(denial, &["behavior", "message", "interrupt"]);
        restricted.insert("decision".to_owned(), Value::Object(members));
    }
    Value::Object(restricted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn specific(output: Value) -> Value {
        restrict(&json!({ "hookSpecificOutput": output }))["hookSpecificOutput"].clone()
    }

    #[test]
    fn an_allow_of_a_hook_becomes_a_prompt() {
        let allow = json!({"hookEventName": "PreToolUse", "permissionDecision": "allow",
            "permissionDecisionReason": "fine", "updatedInput": {"command": "ls"}});
        let mut ask = allow.clone();
        ask["permissionDecision"] = json!("ask");
        assert_eq!(specific(allow), ask);
        assert_eq!(specific(ask.clone()), ask);
    }

    #[test]
    fn a_denial_and_a_block_pass() {
        for decision in ["deny", "defer"] {
            let output = json!({"hookEventName": "PreToolUse", "permissionDecision": decision});
            assert_eq!(specific(output.clone()), output);
        }
        let block = json!({"decision": "block", "reason": "no", "continue": false});
        assert_eq!(restrict(&block), block);
        let deny = json!({"hookEventName": "PermissionRequest",
            "decision": {"behavior": "deny", "message": "no", "interrupt": true}});
        assert_eq!(specific(deny.clone()), deny);
    }

    #[test]
    fn every_other_grant_is_left_out() {
        for output in [
            json!({"decision": "approve"}),
            json!({"decision": {"behavior": "allow"}}),
            json!({"permissionDecision": "allow"}),
            json!({"terminalSequence": "\u{1b}]"}),
            json!("allow"),
            json!([{"decision": "approve"}]),
            json!(null),
        ] {
            assert_eq!(restrict(&output), json!({}), "{output}");
        }
        for output in [
            json!({"decision": {"behavior": "allow", "updatedPermissions": []}}),
            json!({"decision": "allow"}),
            json!({"retry": true}),
            json!({"worktreePath": "/"}),
            json!({"watchPaths": ["/"]}),
            json!({"reloadSkills": true}),
            json!({"permissionDecision": ["allow"]}),
            json!({"permissionDecision": "ALLOW"}),
        ] {
            assert_eq!(specific(output.clone()), json!({}), "{output}");
        }
    }
}

use serde_json::json;

use super::*;
use crate::config::PermissionMode;

fn control(tools: &[&str], denied: &[&str]) -> ClientControl {
    let list = |entries: &[&str]| entries.iter().map(ToString::to_string).collect();
    ClientControl::new(AnswerCeiling {
        tools: list(tools),
        denied: list(denied),
        accepts_plans: true,
        ..AnswerCeiling::default()
    })
}

fn prompt(tool: &str) -> Value {
    json!({"subtype": "can_use_tool", "tool_name": tool, "input": {"command": "ls"}})
}

/// Answers the open request `r`, and returns the `response` for the CLI.
fn answer(control: &ClientControl, response: Value) -> Option<Value> {
    let line = json!({"type": "control_response", "response": {"subtype": "success",
        "request_id": "r", "response": response}});
    let checked = control.check_response(&line).unwrap();
    let again = control.check_response(&line).unwrap();
    assert_eq!(checked, again, "a check changes nothing");
    control.accept(&checked);
    assert!(control.snapshot().since.is_none());
    Some(checked.line?["response"]["response"].clone())
}

#[test]
fn a_prompt_is_answered_once() {
    let control = control(&["Bash"], &[]);
    assert_eq!(
        control.requested("r", Some(&prompt("Bash")), Duration::ZERO),
        None
    );
    assert_eq!(control.snapshot().tool.as_deref(), Some("Bash"));
    let allow = json!({"behavior": "allow", "updatedInput": {"command": "pwd"}, "x": 1});
    let response = answer(&control, allow.clone()).unwrap();
    assert_eq!(response["updatedInput"]["command"], "pwd");
    assert_eq!(response.get("x"), None);
    assert_eq!(answer(&control, allow), None, "a late answer has no line");
    assert_eq!(control.snapshot().tool, None);
}

#[test]
fn a_withdrawn_prompt_is_not_answered() {
    let control = control(&["Bash"], &[]);
    control.requested("r", Some(&prompt("Bash")), Duration::ZERO);
    control.withdrawn("r");
    assert_eq!(answer(&control, json!({"behavior": "allow"})), None);
}

#[test]
fn a_prompt_beyond_the_ceiling_is_denied_at_once() {
    for (tools, denied, tool) in [
        (&["Edit"][..], &[][..], "Bash"),
        (&["Bash(ls)"], &[], "Bash"),
        (&["*"], &["Bash"], "Bash"),
        (&[], &[], "Write"),
    ] {
        let control = control(tools, denied);
        let answer = control
            .requested("r", Some(&prompt(tool)), Duration::ZERO)
            .unwrap();
        assert_eq!(answer["response"]["response"]["behavior"], "deny", "{tool}");
        assert_eq!(answer["response"]["request_id"], "r");
        assert!(control.snapshot().since.is_none());
    }
}

#[test]
fn under_the_ceiling_plan_only_reading_tools_may_be_allowed() {
    let control = ClientControl::new(AnswerCeiling {
        tools: vec!["*".to_owned()],
        mode: PermissionMode::Plan,
        client_answers: true,
        ..AnswerCeiling::default()
    });
    for tool in ["Write", "Edit", "Bash", "Task", "ExitPlanMode"] {
        let answer = control
            .requested("r", Some(&prompt(tool)), Duration::ZERO)
            .unwrap();
        assert_eq!(answer["response"]["response"]["behavior"], "deny", "{tool}");
    }
    for tool in [
        "Read",
        "WebFetch",
        "AskUserQuestion",
        "EnterPlanMode",
        "mcp__calc__add",
    ] {
        assert_eq!(
            control.requested("r", Some(&prompt(tool)), Duration::ZERO),
            None,
            "{tool}"
        );
    }
}

#[test]
fn a_changed_input_becomes_a_denial_if_a_rule_limits_the_tool() {
    for denied in ["Bash(rm:*)", "Edit(//etc/**)"] {
        let control = control(&["*"], &[denied]);
        control.requested("r", Some(&prompt("Bash")), Duration::ZERO);
        let other = json!({"behavior": "allow", "updatedInput": {"command": "rm x"}});
        assert_eq!(answer(&control, other).unwrap()["behavior"], "deny");
        control.requested("r", Some(&prompt("Bash")), Duration::ZERO);
        let same = json!({"behavior": "allow", "updatedInput": {"command": "ls"}});
        assert_eq!(answer(&control, same.clone()), Some(same));
    }
}

#[test]
fn a_choice_may_carry_its_answers() {
    let control = control(&[], &["Bash(rm:*)"]);
    control.requested("r", Some(&prompt("AskUserQuestion")), Duration::ZERO);
    let answers = json!({"behavior": "allow", "updatedInput": {"answers": {"Which?": "A"}}});
    assert_eq!(answer(&control, answers.clone()), Some(answers));
}

#[test]
fn only_rules_within_the_ceiling_are_added_and_only_for_the_session() {
    let control = control(&["Bash"], &["WebFetch"]);
    let rule = |tool: &str| json!({"toolName": tool, "ruleContent": "x"});
    let add = |behavior: &str, rules: Value| {
        json!({"type": "addRules", "behavior": behavior, "rules": rules,
            "destination": "userSettings"})
    };
    let kept = |behavior: &str, rules: Value| {
        json!({"type": "addRules", "behavior": behavior, "rules": rules,
            "destination": "session"})
    };
    for (updates, expected, drops) in [
        (
            json!([add("allow", json!([rule("Bash")]))]),
            Some(json!([kept("allow", json!([rule("Bash")]))])),
            false,
        ),
        (
            json!([add("deny", json!([rule("Write")]))]),
            Some(json!([kept("deny", json!([rule("Write")]))])),
            false,
        ),
        (
            json!([add("allow", json!([rule("Bash"), rule("Write")]))]),
            Some(json!([kept("allow", json!([rule("Bash")]))])),
            true,
        ),
        (json!([add("allow", json!([rule("WebFetch")]))]), None, true),
        (json!([add("allow", json!([rule("*")]))]), None, true),
        (
            json!([{"type": "setMode", "mode": "acceptEdits", "destination": "session"}]),
            None,
            true,
        ),
        (
            json!([{"type": "addDirectories", "directories": ["/etc"]}]),
            None,
            true,
        ),
        (
            json!([{"type": "removeRules", "behavior": "deny", "rules": [rule("Bash")],
            "destination": "cliArg"}]),
            None,
            true,
        ),
        (
            json!([{"type": "replaceRules", "behavior": "allow", "rules": [rule("Bash")]}]),
            None,
            true,
        ),
        (json!(["addRules"]), None, true),
        (json!([]), None, false),
    ] {
        let before = control.snapshot().dropped_updates;
        control.requested("r", Some(&prompt("Bash")), Duration::ZERO);
        let allow = json!({"behavior": "allow", "updatedPermissions": updates});
        let response = answer(&control, allow).unwrap();
        assert_eq!(
            response.get("updatedPermissions"),
            expected.as_ref(),
            "{updates}"
        );
        assert_eq!(
            control.snapshot().dropped_updates - before,
            u64::from(drops),
            "{updates}"
        );
    }
}

#[test]
fn other_requests_are_answered_with_known_members_or_an_error() {
    let control = control(&[], &[]);
    let message = json!({"subtype": "mcp_message", "server_name": "calc", "message": {}});
    assert_eq!(control.requested("r", Some(&message), Duration::ZERO), None);
    let reply = json!({"mcp_response": {"id": 1}, "behavior": "allow"});
    assert_eq!(
        answer(&control, reply),
        Some(json!({"mcp_response": {"id": 1}}))
    );
    let hook = json!({"subtype": "hook_callback", "callback_id": "h"});
    control.requested("r", Some(&hook), Duration::ZERO);
    assert_eq!(
        answer(&control, json!({"decision": "approve"})),
        Some(json!({}))
    );
    for request in [
        Some(json!({"subtype": "oauth_token_refresh"})),
        Some(json!({"subtype": "can_use_tool"})),
        Some(json!({})),
        None,
    ] {
        let answer = control
            .requested("r", request.as_ref(), Duration::ZERO)
            .unwrap();
        assert_eq!(answer["response"]["subtype"], "error", "{request:?}");
    }
}

#[test]
fn an_error_of_the_client_reaches_the_cli_and_a_malformed_response_is_refused() {
    let control = control(&["Bash"], &[]);
    control.requested("r", Some(&prompt("Bash")), Duration::ZERO);
    let error = json!({"type": "control_response", "response": {"subtype": "error",
        "request_id": "r", "error": "no callback"}});
    let checked = control.check_response(&error).unwrap();
    assert_eq!(checked.line, Some(error));
    for line in [
        json!({"type": "control_response"}),
        json!({"type": "control_response", "response": {"subtype": "success"}}),
        json!({"type": "control_response", "response": {"request_id": 7}}),
    ] {
        assert!(control.check_response(&line).is_err(), "{line}");
    }
    for response in [
        json!({}),
        json!({"behavior": "ask"}),
        json!(null),
        json!("allow"),
    ] {
        control.requested("r", Some(&prompt("Bash")), Duration::ZERO);
        assert_eq!(answer(&control, response).unwrap()["behavior"], "deny");
    }
}

#[test]
fn requests_that_are_too_old_are_given_up_once() {
    let control = control(&["Bash"], &[]);
    let second = Duration::from_secs(1);
    let hook = json!({"subtype": "hook_callback", "callback_id": "h"});
    control.requested("p", Some(&prompt("Bash")), second);
    control.requested("h", Some(&hook), 2 * second);
    assert_eq!(control.snapshot().since, Some(second));
    let denials = control.expire(second);
    assert_eq!(denials.len(), 1);
    assert_eq!(denials[0]["response"]["response"]["behavior"], "deny");
    assert_eq!(control.expire(second), Vec::<Value>::new());
    assert_eq!(
        control.expire(2 * second)[0]["response"]["subtype"],
        "error"
    );
    assert!(control.snapshot().since.is_none());
}

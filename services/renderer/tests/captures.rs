//! Tests with real output of the pinned CLI, captured against a stand-in for the Messages API.

mod support;

use renderer::Fact;
use support::*;

/// Every capture: its name, its text and its number of restarts.
const TEXTS: &[(&str, &str, usize)] = &[
    ("plain_answer", "Hello world.", 0),
    ("login_answer", "Hello world.", 0),
    ("two_blocks", "First block.\n\nSecond block.", 0),
    ("thinking", "Hello world.", 0),
    ("tool_use", "I run it.\n\nRESULT:::168", 0),
    ("two_tools", "both", 0),
    ("permission_denied", "I could not.", 0),
    ("sub_agent", "I delegate.\n\nmain done", 0),
    ("broken_same", "Hello world.", 1),
    ("broken_other", "Hello \n\nHelp yourself.", 1),
    ("broken_second_block", "First block.\n\nSecond block.", 1),
    ("broken_then_error", "Hello ", 0),
    ("broken_thinking", "Hello world.", 1),
    ("not_streamed_continues", "Hello world. And the rest.", 3),
    ("not_streamed_other", "Hello \n\nQuite another answer.", 3),
    ("overloaded_once", "Hello world.", 0),
    ("lone_surrogates", "x \u{1F600} y \u{FFFD}", 0),
    ("unicode", "é中\u{1F600} café\n\n- a\n", 0),
    ("empty_answer", "", 0),
    ("refusal", "No\n\nNo", 0),
    ("max_tokens", "cut of\n\ncut of\n\ncut of\n\ncut of", 0),
    ("max_turns", "turn 1", 0),
    ("max_budget", "turn 2", 0),
    ("refused_midway", "Before.", 0),
    ("hook_failed", "RESULT:::168", 0),
    ("status_401", "", 0),
    ("status_403", "", 0),
    ("status_413", "", 0),
    ("status_429", "", 0),
    ("status_500", "", 0),
    ("credit_too_low", "", 0),
    ("prompt_too_long", "", 0),
    ("no_credential", "", 0),
    ("login_refused", "", 0),
    ("usage_limit_login", "", 0),
    ("unknown_resume", "", 0),
];

#[test]
fn every_capture_gives_its_text_and_restarts() {
    for (name, text, count) in TEXTS {
        let rendered = render(&fixture(name));
        assert_eq!(rendered.text, *text, "{name}");
        assert_eq!(restarts(&rendered.facts), *count, "{name}");
        assert_eq!(without_noise(rendered.facts).1, 0, "{name} has no noise");
    }
}

#[test]
fn format_events_gives_the_same_facts_and_no_text() {
    for (name, ..) in TEXTS {
        let events = render_chunks(false, [&fixture(name)[..]]);
        assert_eq!(events.facts, render(&fixture(name)).facts, "{name}");
        assert_eq!(events.text, "");
    }
}

#[test]
fn the_result_of_a_local_command_is_shown_if_there_is_no_other_text() {
    let rendered = render(&fixture("slash_command"));
    assert!(
        rendered.text.starts_with("Estimated cost:"),
        "{}",
        rendered.text
    );
    let outcome = outcome_of("slash_command");
    assert_eq!(
        (outcome.is_error, outcome.text.as_deref()),
        (false, Some(&*rendered.text))
    );
}

#[test]
fn every_end_has_its_outcome() {
    // Each outcome: is_error, subtype, api_error_status, error_kind, terminal_reason.
    let ends = [
        ("plain_answer", "false success - - completed"),
        ("overloaded_once", "false success - - completed"),
        ("not_streamed_continues", "false success - - completed"),
        (
            "status_401",
            "true success 401 authentication_failed api_error",
        ),
        (
            "refused_midway",
            "true success 401 authentication_failed api_error",
        ),
        (
            "login_refused",
            "true success 401 authentication_failed api_error",
        ),
        (
            "status_403",
            "true success 403 authentication_failed api_error",
        ),
        (
            "no_credential",
            "true success - authentication_failed api_error",
        ),
        ("status_429", "true success 429 rate_limit api_error"),
        ("usage_limit_login", "true success 429 rate_limit api_error"),
        ("status_500", "true success 500 server_error api_error"),
        ("credit_too_low", "true success 400 billing_error api_error"),
        (
            "prompt_too_long",
            "true success 400 invalid_request prompt_too_long",
        ),
        ("status_413", "true success 413 invalid_request image_error"),
        ("broken_then_error", "true success - unknown api_error"),
        ("refusal", "true success - invalid_request api_error"),
        ("max_tokens", "true success - max_output_tokens api_error"),
        ("max_turns", "true error_max_turns - - max_turns"),
        (
            "max_budget",
            "true error_max_budget_usd - - budget_exhausted",
        ),
        ("unknown_resume", "true error_during_execution - - -"),
    ];
    for (name, expected) in ends {
        let outcome = outcome_of(name);
        let status = outcome.api_error_status.map(|status| status.to_string());
        let words = [
            Some(outcome.is_error.to_string()),
            Some(outcome.subtype),
            status,
            outcome.error_kind,
            outcome.terminal_reason,
        ];
        let words: Vec<String> = words
            .into_iter()
            .map(|word| word.unwrap_or_else(|| "-".to_owned()))
            .collect();
        assert_eq!(words.join(" "), expected, "{name}");
        assert!(
            outcome.text.is_some() || !outcome.errors.is_empty(),
            "{name} gives a reason"
        );
    }
}

#[test]
fn a_result_has_usage_cost_and_turns() {
    let outcome = outcome_of("plain_answer");
    assert_eq!(
        outcome.usage,
        Some(serde_json::json!({"input_tokens": 10, "output_tokens": 9}))
    );
    assert_eq!(
        (outcome.cost_usd, outcome.num_turns),
        (Some(0.00022), Some(1))
    );
    assert_eq!(outcome.model.as_deref(), Some("claude-opus-5-5"));
    assert_eq!(
        (outcome.stop_reason.as_deref(), outcome.result_index),
        (Some("end_turn"), Some(0))
    );
    assert_eq!(
        outcome_of("max_turns").errors,
        ["Reached maximum number of turns (1)"]
    );
}

#[test]
fn a_usage_limit_with_a_login_has_its_reset_time() {
    let rendered = render(&fixture("usage_limit_login"));
    let limit = Fact::RateLimit {
        resets_at: Some(1_999_999_999),
        status: Some("rejected".into()),
    };
    assert!(rendered.facts.contains(&limit), "{:?}", rendered.facts);
    assert_eq!(
        outcome_of("usage_limit_login").resets_at,
        Some(1_999_999_999)
    );
    assert_eq!(
        outcome_of("status_429").resets_at,
        None,
        "the reset time is unknown with an API key"
    );
}

#[test]
fn activities_are_reported_in_order() {
    let activities = |name: &str| activities(&render(&fixture(name)).facts);
    assert_eq!(
        activities("plain_answer"),
        ["starting", "thinking", "writing"]
    );
    let tool = [
        "starting",
        "thinking",
        "writing",
        "tool: Bash",
        "thinking",
        "writing",
    ];
    assert_eq!(activities("tool_use"), tool);
    assert_eq!(
        activities("overloaded_once"),
        [
            "starting",
            "thinking",
            "retrying: 529",
            "thinking",
            "writing"
        ]
    );
    assert_eq!(
        activities("broken_same")[2..5],
        ["writing", "retrying", "thinking"]
    );
}

#[test]
fn running_tools_include_those_of_sub_agents() {
    let tools = |name: &str| tools_running(&render(&fixture(name)).facts);
    assert_eq!(tools("tool_use"), [1, 0]);
    assert_eq!(tools("two_tools"), [1, 2, 1, 0]);
    assert_eq!(tools("sub_agent"), [1, 2, 1, 0]);
    assert_eq!(tools("permission_denied"), [1, 0]);
    assert!(tools("plain_answer").is_empty());
}

#[test]
fn retries_denials_and_failed_hooks_are_facts() {
    let retries = render(&fixture("status_401")).facts;
    let retry = |attempt, delay_ms| Fact::Retry {
        attempt,
        max_retries: 2,
        delay_ms,
        status: Some(401),
    };
    assert!(
        retries.contains(&retry(1, 529)) && retries.contains(&retry(2, 1078)),
        "{retries:?}"
    );

    let denied = render(&fixture("permission_denied")).facts;
    let denial = denied.iter().find_map(|fact| {
        if let Fact::ToolDenied { denial } = fact {
            Some(denial)
        } else {
            None
        }
    });
    let denial = denial.expect("a ToolDenied fact");
    assert_eq!(
        (&denial["tool_name"], &denial["reason"]),
        (&"Write".into(), &"mode".into())
    );
    let denials = &outcome_of("permission_denied").permission_denials;
    assert_eq!(denials.len(), 1);
    assert_eq!(denials[0]["tool_use_id"], denial["tool_use_id"]);
    assert_eq!(denials[0]["tool_input"]["file_path"], "/nonexistent/x");

    let hooks = render(&fixture("hook_failed")).facts;
    let message = "SessionStart:startup: /bin/sh: 1: nonexistent-cmd: not found".to_owned();
    assert!(hooks.contains(&Fact::HookFailed { message }), "{hooks:?}");
}

#[test]
fn the_first_fact_is_init() {
    let facts = render(&fixture("plain_answer")).facts;
    let session_id = Some("00000000-0000-4000-8000-000000000001".to_owned());
    assert_eq!(
        facts[0],
        Fact::Init {
            session_id,
            model: Some("claude-opus-5-5".into())
        }
    );
}

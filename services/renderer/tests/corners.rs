//! Cases that no capture shows.

mod support;

use support::*;

#[test]
fn a_sub_agents_text_is_not_the_answer() {
    let line = r#"{"type":"assistant","parent_tool_use_id":"t","message":{"id":"s","content":[{"type":"text","text":"sub"}]}}"#;
    let delta = r#"{"type":"stream_event","parent_tool_use_id":"t","event":{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"sub"}}}"#;
    let script = Script::default()
        .message("m", "one")
        .line(line)
        .line(delta)
        .message("n", "two");
    assert_eq!(script.render().text, "one\n\ntwo");
}

#[test]
fn a_resumed_answer_may_begin_with_the_block_that_was_abandoned() {
    let script = Script::default()
        .start("m")
        .block(0)
        .delta(0, "First.")
        .assistant("m", "First.")
        .block_stop(0)
        .block(1)
        .delta(1, "Second")
        .block_stop(1)
        .line(r#"{"type":"stream_event","event":{"type":"message_stop"},"abandoned_blocks":{"from_block_index":1}}"#)
        .message("n", "Second block.");
    assert_eq!(script.render().text, "First.\n\nSecond block.");
}

#[test]
fn what_is_held_at_the_end_of_stdout_is_shown() {
    let held = Script::default()
        .start("m")
        .block(0)
        .delta(0, "ab")
        .broken(0)
        .assistant("n", "a");
    assert_eq!(held.render().text, "ab\n\na");
    let half = Script::default().start("m").block(0).delta(0, r"x\ud83d");
    assert_eq!(half.render().text, "x\u{FFFD}");
}

#[test]
fn a_results_text_is_not_shown_once_there_was_other_text() {
    let result = r#"{"type":"result","subtype":"success","is_error":false,"result":"early"}"#;
    assert_eq!(
        Script::default()
            .line(result)
            .message("m", "late")
            .render()
            .text,
        "late"
    );
}

#[test]
fn a_denied_tools_large_input_is_left_out() {
    let input = "x".repeat(100_000);
    let denial = format!(
        r#"{{"tool_name":"Write","tool_use_id":"t","tool_input":{{"content":"{input}"}}}}"#
    );
    let line = format!(
        r#"{{"type":"result","subtype":"success","is_error":false,"permission_denials":[{denial}]}}"#
    );
    let outcome = last_outcome(&render(line.as_bytes()).facts).expect("a result");
    assert_eq!(
        outcome.permission_denials,
        [serde_json::json!({"tool_name": "Write", "tool_use_id": "t"})]
    );
}

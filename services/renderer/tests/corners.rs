//! Tests of cases without a capture.

mod support;

use support::*;

#[test]
fn text_of_a_sub_agent_is_not_part_of_the_answer() {
    let line = concat!(
        r#"{"type":"assistant","parent_tool_use_id":"t","message":{"id":"s","content":[{"#,
        r#""type":"text","text":"sub"}]}}"#
    );
    let delta = concat!(
        r#"{"type":"stream_event","parent_tool_use_id":"t","event":{"#,
        r#""type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"sub"}}}"#
    );
    let script = Script::default()
        .message("m", "one")
        .line(line)
        .line(delta)
        .message("n", "two");
    assert_eq!(script.render().text, "one\n\ntwo");
}

#[test]
fn a_restarted_answer_may_begin_with_the_abandoned_block() {
    let script = Script::default()
        .start("m")
        .block(0)
        .delta(0, "First.")
        .assistant("m", "First.")
        .block_stop(0)
        .block(1)
        .delta(1, "Second")
        .block_stop(1)
        .line(concat!(
            r#"{"type":"stream_event","event":{"type":"message_stop"},"abandoned_blocks":{"#,
            r#""from_block_index":1}}"#
        ))
        .message("n", "Second block.");
    assert_eq!(script.render().text, "First.\n\nSecond block.");
}

#[test]
fn held_text_is_shown_at_the_end_of_stdout() {
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
fn the_text_of_a_result_is_not_shown_after_other_text() {
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
fn the_large_input_of_a_denied_tool_is_left_out() {
    let input = "x".repeat(100_000);
    let denial = format!(
        r#"{{"tool_name":"Write","tool_use_id":"t","tool_input":{{"content":"{input}"}}}}"#
    );
    let line = format!(
        concat!(
            r#"{{"type":"result","subtype":"success","is_error":false,"#,
            r#""permission_denials":[{}]}}"#
        ),
        denial
    );
    let outcome = last_outcome(&render(line.as_bytes()).facts).expect("a result");
    assert_eq!(
        outcome.permission_denials,
        [serde_json::json!({"tool_name": "Write", "tool_use_id": "t"})]
    );
}

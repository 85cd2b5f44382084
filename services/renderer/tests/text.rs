//! Tests of the text rules, case by case, and of unusual lines.

mod support;

use renderer::{Fact, LONGEST_LINE_BYTES, RunningTool};
use support::*;

#[test]
fn an_answer_that_breaks_twice_is_shown_once() {
    let script = Script::default()
        .start("m1")
        .block(0)
        .delta(0, "one two three")
        .broken(0)
        .start("m2")
        .block(0)
        .delta(0, "one tw")
        .broken(0)
        .message("m3", "one two three four");
    let rendered = script.render();
    assert_eq!(rendered.text, "one two three four");
    assert_eq!(restarts(&rendered.facts), 2);
}

#[test]
fn a_second_broken_answer_is_the_next_one_to_compare_with() {
    let script = Script::default()
        .start("m1")
        .block(0)
        .delta(0, "alpha")
        .broken(0)
        .start("m2")
        .block(0)
        .delta(0, "beta")
        .broken(0)
        .message("m3", "beta gamma");
    assert_eq!(script.render().text, "alpha\n\nbeta gamma");
}

#[test]
fn an_answer_shorter_than_the_shown_text_is_another_answer() {
    let script = Script::default()
        .start("m1")
        .block(0)
        .delta(0, "168, not 12")
        .broken(0)
        .message("m2", "168");
    assert_eq!(script.render().text, "168, not 12\n\n168");
}

#[test]
fn a_new_message_without_a_stop_is_a_restart() {
    let script = Script::default()
        .start("m1")
        .block(0)
        .delta(0, "Hel")
        .message("m2", "Hello");
    let rendered = script.render();
    assert_eq!(
        (rendered.text.as_str(), restarts(&rendered.facts)),
        ("Hello", 1)
    );
}

#[test]
fn a_repeated_answer_to_another_question_is_not_a_restart() {
    let script = Script::default().message("m1", "yes").message("m2", "yes");
    let rendered = script.render();
    assert_eq!(
        (rendered.text.as_str(), restarts(&rendered.facts)),
        ("yes\n\nyes", 0)
    );
}

#[test]
fn assistant_adds_text_that_the_deltas_lacked() {
    let script = Script::default()
        .start("m")
        .block(0)
        .delta(0, "Hel")
        .assistant("m", "Hello")
        .block_stop(0)
        .stop();
    assert_eq!(script.render().text, "Hello");
    let late = Script::default()
        .start("m")
        .block(0)
        .delta(0, "Hel")
        .block_stop(0)
        .stop()
        .assistant("m", "Hello");
    assert_eq!(late.render().text, "Hello");
    let alone = Script::default()
        .assistant("m", "a")
        .assistant("m", "b")
        .assistant("n", "c");
    assert_eq!(alone.render().text, "a\n\nb\n\nc");
}

#[test]
fn halves_of_a_character_are_joined_across_deltas_and_restarts() {
    let script = Script::default()
        .start("m")
        .block(0)
        .delta(0, r"x \ud83d")
        .delta(0, r"\ude00 y")
        .stop();
    assert_eq!(script.render().text, "x \u{1F600} y");
    let broken = Script::default()
        .start("m")
        .block(0)
        .delta(0, r"x \ud83d")
        .broken(0)
        .message("n", r"x \ud83d\ude00");
    assert_eq!(broken.render().text, "x \u{1F600}");
    let lone = Script::default()
        .start("m")
        .block(0)
        .delta(0, r"x \ud83d")
        .block_stop(0)
        .stop();
    assert_eq!(lone.render().text, "x \u{FFFD}");
}

#[test]
fn a_line_with_bad_strings_is_not_noise() {
    let result = [
        br#"{"permission_denials":[{"tool_name":"W","tool_use_id":"t","#.as_slice(),
        br#""tool_input":{"\ud83d":""#,
        b"\xFF",
        br#""}}],"errors":["\udc00"],"usage":{"x":"\ud800"},"#,
        br#""is_error":false,"subtype":"success","result":"a \ud83d","type":"result"}"#,
    ]
    .concat();
    let rendered = render(&result);
    assert_eq!(rendered.text, "a \u{FFFD}");
    let outcome = last_outcome(&rendered.facts).expect("a result");
    assert_eq!(outcome.errors, ["\u{FFFD}"]);
    assert_eq!(outcome.permission_denials[0]["tool_name"], "W");
    assert_eq!(without_noise(rendered.facts).1, 0);
}

#[test]
fn deeply_nested_json_is_not_noise_and_leaves_the_result_readable() {
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    let line = format!(
        r#"{{"type":"result","subtype":"success","is_error":false,"usage":{deep},"result":"ok"}}"#
    );
    let rendered = render(line.as_bytes());
    assert_eq!(rendered.text, "ok");
    assert_eq!(last_outcome(&rendered.facts).expect("read").usage, None);
}

#[test]
fn noise_is_counted_and_unknown_json_is_not() {
    let lines = "warning: something\r\n\r\n{\"type\":\"new_thing\",\"event\":7}\r\n\
                 [1]\n12\n{broken\n\"x\"\n\
                 {\"type\":5}\nlast";
    let (facts, noise) = without_noise(render(lines.as_bytes()).facts);
    assert_eq!((facts, noise), (vec![], 3));
}

#[test]
fn keys_may_have_any_order_and_lines_may_end_with_crlf() {
    let line = "{\"event\":{\"delta\":{\"text\":\"hi\",\"type\":\"text_delta\"},\"index\":0,\
                \"type\":\"content_block_delta\"},\"type\":\"stream_event\"}\r\n";
    assert_eq!(render(line.as_bytes()).text, "hi");
}

#[test]
fn the_highest_result_counts() {
    let result = |index: u64, text: &str| {
        format!(
            concat!(
                r#"{{"type":"result","result_index":{},"subtype":"success","#,
                r#""is_error":false,"result":"{}"}}"#
            ),
            index, text
        )
    };
    let script = Script::default()
        .line(&result(0, "a"))
        .line(&result(2, "c"))
        .line(&result(1, "b"));
    let rendered = script.render();
    assert_eq!(rendered.text, "c");
    let texts = rendered
        .facts
        .iter()
        .filter(|fact| matches!(fact, Fact::Result(_)))
        .count();
    assert_eq!(texts, 2, "a result with a lower index is dropped");
}

#[test]
fn an_interrupted_tool_is_not_running_after_the_result() {
    let script = Script::default()
        .line(concat!(
            r#"{"type":"assistant","message":{"content":[{"type":"tool_use","id":"t","#,
            r#""name":"Bash"}]}}"#
        ))
        .line(r#"{"type":"result","subtype":"error_during_execution","is_error":true}"#);
    assert_eq!(tools_running(&script.render().facts), [1, 0]);
}

/// Returns a running agent and a tool running in it.
fn pending() -> Script {
    Script::default()
        .start("m")
        .line(concat!(
            r#"{"type":"assistant","message":{"id":"m","content":[{"type":"tool_use","id":"t","#,
            r#""name":"Task"}]},"parent_tool_use_id":null}"#
        ))
        .line(concat!(
            r#"{"type":"assistant","message":{"id":"s","content":[{"type":"tool_use","id":"u","#,
            r#""name":"Bash"}]},"parent_tool_use_id":"t"}"#
        ))
}

#[test]
fn a_tool_of_a_broken_message_is_not_running_after_the_next_request() {
    let script = pending()
        .line(concat!(
            r#"{"type":"stream_event","event":{"type":"message_stop"},"#,
            r#""parent_tool_use_id":null,"abandoned_blocks":{"from_block_index":0}}"#
        ))
        .line(r#"{"type":"system","subtype":"api_retry","attempt":1,"error_status":null}"#)
        .start("n");
    assert_eq!(tools_running(&script.render().facts), [1, 2, 0]);
}

#[test]
fn tools_of_a_background_agent_run_past_messages_and_results() {
    // The tool use of a background agent has its result immediately.
    let script = Script::default()
        .start("m")
        .line(concat!(
            r#"{"type":"assistant","message":{"id":"m","content":[{"type":"tool_use","id":"t","#,
            r#""name":"Task"}]}}"#
        ))
        .line(r#"{"type":"user","message":{"content":[{"type":"tool_result","tool_use_id":"t"}]}}"#)
        .line(concat!(
            r#"{"type":"assistant","message":{"id":"s","content":[{"type":"tool_use","id":"u","#,
            r#""name":"Bash"}]},"parent_tool_use_id":"t"}"#
        ))
        .message("n", "x")
        .line(r#"{"type":"result","subtype":"success","is_error":false}"#);
    assert_eq!(tools_running(&script.render().facts), [1, 0, 1]);
}

#[test]
fn a_tool_in_an_interrupted_agent_is_not_running_after_the_result() {
    let script =
        pending().line(r#"{"type":"result","subtype":"error_during_execution","is_error":true}"#);
    assert_eq!(tools_running(&script.render().facts), [1, 2, 0]);
}

#[test]
fn a_running_tool_has_its_name_and_time_limit() {
    let facts_of = |input: &str| {
        let line = format!(
            concat!(
                r#"{{"type":"assistant","message":{{"content":["#,
                r#"{{"type":"tool_use","id":"t","name":"Bash","input":{}}}]}}}}"#
            ),
            input
        );
        Script::default().line(&line).render().facts
    };
    for (input, timeout_ms) in [
        (r#"{"command":"x \ud83d","timeout":6000}"#, Some(6000)),
        (r#"{"command":"x"}"#, None),
        (r#"{"timeout":"soon"}"#, None),
        (r#"{"timeout":-1}"#, None),
        (r#""timeout""#, None),
    ] {
        let tool = RunningTool {
            id: "t".to_owned(),
            name: "Bash".to_owned(),
            timeout_ms,
        };
        assert!(
            facts_of(input).contains(&Fact::ToolsRunning(vec![tool])),
            "{input}: {:?}",
            facts_of(input)
        );
    }
}

#[test]
fn a_line_of_16_mib_is_read() {
    let text = "x".repeat(16 << 20);
    let script = Script::default().assistant("m", &text);
    let rendered = render_chunks(true, script.0.as_bytes().chunks(60_000));
    assert!(rendered.text == text, "{} bytes", rendered.text.len());
}

#[test]
fn an_overlong_line_is_dropped_and_the_next_one_is_read() {
    let chunk = vec![b'x'; 1 << 20];
    let next = Script::default().message("m", "next").0;
    let huge = std::iter::once(&b"{"[..]).chain(std::iter::repeat_n(
        &chunk[..],
        (LONGEST_LINE_BYTES >> 20) + 1,
    ));
    let rendered = render_chunks(true, huge.chain([&b"\n"[..], next.as_bytes()]));
    assert_eq!(rendered.text, "next");
    assert_eq!(without_noise(rendered.facts).1, 1);
}

#[test]
fn text_longer_than_the_compared_length_is_shown_once() {
    let part = "0123456789abcdef".repeat(4096);
    let mut script = Script::default().start("m").block(0);
    for _ in 0..40 {
        script = script.delta(0, &part);
    }
    let whole = part.repeat(40);
    let rendered = script
        .assistant("m", &format!("{whole}!"))
        .block_stop(0)
        .stop()
        .render();
    assert_eq!(rendered.text.len(), whole.len() + 1);
}

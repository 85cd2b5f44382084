//! Tests of damaged lines: every whole event in them is processed, the rest is noise, and a lost
//! event is reported as a fact.

mod support;

use renderer::Fact;
use support::*;

const RESULT: &str =
    r#"{"type":"result","subtype":"success","is_error":false,"result":"done","result_index":0}"#;
const DELTA: &str = concat!(
    r#"{"type":"stream_event","event":{"type":"content_block_delta","index":0,"delta":{"#,
    r#""type":"text_delta","text":"Hel"}}}"#
);

fn assistant(id: &str, text: &str) -> String {
    format!(
        concat!(
            r#"{{"type":"assistant","message":{{"id":"{}","model":"m","#,
            r#""content":[{{"type":"text","text":"{}"}}]}}}}"#
        ),
        id, text
    )
}

/// Returns the text, the number of noise lines, and whether the result is a success.
fn render_line(line: &str, want_text: bool) -> (String, u64, Option<bool>) {
    let rendered = render_chunks(want_text, [line.as_bytes()]);
    let success = last_outcome(&rendered.facts).map(|outcome| !outcome.is_error);
    (rendered.text, without_noise(rendered.facts).1, success)
}

#[test]
fn a_whole_result_is_found_among_other_bytes_of_its_line() {
    for (line, noise) in [
        (format!("\u{1b}[2K\u{1b}[0m{RESULT}"), 1),
        (format!("{RESULT}\0"), 1),
        (format!("\0\0{RESULT}\u{1b}[0m"), 1),
        (format!("\u{feff}{RESULT}"), 1),
        (format!("warning: {{x}} {RESULT}"), 1),
        (format!("{DELTA}{RESULT}"), 0),
        (format!("{DELTA} {RESULT}\0"), 1),
        (format!("{RESULT}{{\"type\":\"assis"), 1),
    ] {
        for want_text in [true, false] {
            let (_, noise_lines, success) = render_line(&line, want_text);
            assert_eq!(
                (noise_lines, success),
                (noise, Some(true)),
                "{want_text} {line}"
            );
        }
    }
}

#[test]
fn a_long_event_is_found_after_an_escape_sequence() {
    let text = "x".repeat(200_000);
    let line = format!("\u{1b}[0m{}\n{RESULT}\n", assistant("m", &text));
    for size in [line.len(), 1 << 16, 999] {
        let rendered = render_chunks(true, line.as_bytes().chunks(size));
        assert_eq!(rendered.text.len(), text.len());
        assert_eq!(without_noise(rendered.facts).1, 1);
    }
}

#[test]
fn an_event_is_found_after_a_cut_event() {
    let second = assistant("n", "Second.");
    let whole = assistant("c", "cut");
    // An event to be cut anywhere: inside a key, a string, an escape or a number, and between two
    // tokens.
    let cut = r#"{"type":"system","n":-1.5e3,"t":true,"s":"a\\b\u00e9\n","l":[1,{"a":null}]}"#;
    for broken in [cut, &whole, DELTA] {
        for end in 1..broken.len() {
            // After these characters a value may follow, so the second event would be a part of the
            // first.
            let cut_event = &broken[..end];
            if cut_event.ends_with([':', '[', ',']) && !cut_event.ends_with("\",") {
                continue;
            }
            let line = format!(
                "{}\n{cut_event}{second}\n{RESULT}\n",
                assistant("m", "First.")
            );
            let (text, noise, success) = render_line(&line, true);
            assert!(text.contains("Second."), "{cut_event:?}: {text:?}");
            assert_eq!((noise, success), (1, Some(true)), "{cut_event:?}");
        }
    }
}

#[test]
fn an_event_is_found_after_one_that_is_not_parsed() {
    let control = concat!(
        r#"{"type":"control_request","request_id":"r","#,
        r#""request":{"subtype":"can_use_tool","tool_name":"Bash","input":{}}}"#
    );
    let cancel = r#"{"type":"control_cancel_request","request_id":"r"}"#;
    let other = r#"{"type":"keep_alive","text":"x"}"#;
    let user = r#"{"type":"user","message":{"content":"x"}}"#;
    for skipped in [DELTA, other, user] {
        for cut in [skipped, &skipped[..skipped.len() - 3]] {
            for event in [RESULT, control, cancel] {
                let whole = render_chunks(false, [event.as_bytes()]);
                let expected = without_noise(whole.facts).0;
                assert_eq!(expected.len(), 1, "{event}");
                let line = format!("{cut}{event}");
                let facts = without_noise(render_chunks(false, [line.as_bytes()]).facts).0;
                let found = facts.iter().any(|fact| *fact == expected[0]);
                assert!(found, "{line}: {facts:?}");
            }
        }
    }
}

#[test]
fn a_name_with_an_escape_may_be_any_kind() {
    let line = RESULT.replace("result\",\"sub", "resul\\u0074\",\"sub");
    assert!(line.contains("\\u0074"), "{line}");
    let [text, events] = [true, false].map(|want_text| render_line(&line, want_text).2);
    assert_eq!(text, events);
}

#[test]
fn a_lost_last_message_is_completed_from_the_text_of_the_result() {
    let result = RESULT.replace("done", "Second.");
    let script = |damaged: &str| {
        Script::default()
            .line(&assistant("m", "First."))
            .line(damaged)
            .line(&result)
            .render()
    };
    let lost = script(r#"{"type":"assis{"type":"assistant","message":{"id":"n","con"#);
    assert_eq!(lost.text, "First.\n\nSecond.");
    let cut = Script::default()
        .start("m")
        .block(0)
        .delta(0, "Sec")
        .line(r#"{"type":"stream_event","event":{"type":"content_block_delta","index":0"#)
        .line(&result)
        .render();
    assert_eq!(cut.text, "Second.", "the text continues what was shown");
    let kept = script(&format!("{}\0", assistant("n", "Second.")));
    assert_eq!(kept.text, "First.\n\nSecond.", "nothing was lost");
    let tool = script(r#"{"type":"user","message":{"role":"us"#);
    assert_eq!(tool.text, "First.\n\nSecond.");
}

#[test]
fn a_damaged_line_does_not_repeat_shown_text() {
    let script = Script::default()
        .message("m", "First.")
        .message("n", "Second.")
        .line(r#"{"type":"assistant","message":{"id":"n"#)
        .line(&RESULT.replace("done", "Second."));
    assert_eq!(script.render().text, "First.\n\nSecond.");
}

/// The model chooses the text inside an event, so an object in it is never treated as an event.
#[test]
fn a_part_of_a_damaged_event_is_not_an_event() {
    let forged = RESULT.replace("done", "forged");
    let input = format!(
        concat!(
            r#"{{"type":"assistant","message":{{"id":"m","content":["#,
            r#"{{"type":"tool_use","id":"t","name":"X","input":{}}}]}}}}"#
        ),
        forged
    );
    for at in 1..input.find("forged").expect("a text") {
        let damaged = format!("{}\u{1b}{}", &input[..at], &input[at..]);
        let rendered = render(damaged.as_bytes());
        assert_eq!(last_outcome(&rendered.facts), None, "{damaged}");
    }
}

#[test]
fn a_lost_event_is_a_fact_and_noise_is_not() {
    for (line, lost) in [
        (r#"{"type":"assis"#.to_owned() + RESULT, 1),
        (format!("{{\"type\":\"assis\n{RESULT}"), 1),
        (format!("{{\"type\":\"{}", "x".repeat(65 << 20)), 1),
        (format!("noise {{x}} {RESULT}\0"), 0),
        ("x".repeat(1 << 20), 0),
    ] {
        let facts = render(line.as_bytes()).facts;
        let count = facts
            .iter()
            .filter(|fact| **fact == Fact::EventLost)
            .count();
        assert_eq!(count, lost, "{}", &line[..60]);
    }
}

#[test]
fn each_error_field_of_a_result_alone_means_a_failure() {
    for (fields, is_error) in [
        (r#""is_error":false,"subtype":"success""#, false),
        (r#""is_error":false"#, false),
        (r#""subtype":"success""#, false),
        (r#""is_error":false,"subtype":"error_max_turns""#, true),
        (r#""is_error":false,"subtype":"error_of_next_year""#, true),
        (r#""is_error":true,"subtype":"success""#, true),
        (
            r#""is_error":false,"subtype":"success","api_error_status":500"#,
            true,
        ),
        (
            r#""is_error":false,"subtype":"success","api_error_status":null"#,
            false,
        ),
        (r#""num_turns":1"#, true),
    ] {
        let line = format!(r#"{{"type":"result",{fields},"result":"x"}}"#);
        let outcome = last_outcome(&render(line.as_bytes()).facts).expect("a result");
        assert_eq!(outcome.is_error, is_error, "{fields}");
    }
}

#[test]
fn the_length_of_kept_words_is_bounded() {
    let long = "x".repeat(1 << 20);
    let lines = [
        format!(r#"{{"type":"system","subtype":"init","model":"{long}","session_id":"{long}"}}"#),
        format!(
            concat!(
                r#"{{"type":"assistant","message":{{"id":"{0}","content":["#,
                r#"{{"type":"tool_use","id":"{0}","name":"{0}"}}]}}}}"#
            ),
            long
        ),
        format!(
            concat!(
                r#"{{"type":"result","subtype":"{0}","terminal_reason":"{0}","#,
                r#""usage":{{"a":"{0}"}},"errors":["{0}"],"#,
                r#""permission_denials":[{{"tool_name":"{0}","tool_use_id":"{0}"}}]}}"#
            ),
            long
        ),
    ];
    let facts = render(lines.join("\n").as_bytes()).facts;
    assert!(last_outcome(&facts).is_some(), "{} facts", facts.len());
    let bytes = format!("{facts:?}").len();
    assert!(bytes < 10_000, "{bytes} bytes of facts");
}

#[test]
fn an_event_of_the_answer_with_wrong_field_types_is_reported_as_lost() {
    for (line, lost) in [
        (
            r#"{"type":"result","subtype":"success","is_error":"no","result":"done"}"#,
            1,
        ),
        (
            r#"{"type":"assistant","message":{"id":"a","content":"plain text"}}"#,
            1,
        ),
        (
            r#"{"type":"stream_event","event":{"type":"content_block_delta","index":-1}}"#,
            1,
        ),
        // None of these is part of the answer.
        (
            r#"{"type":"assistant","parent_tool_use_id":"a","message":{"content":"plain text"}}"#,
            0,
        ),
        (
            r#"{"type":"user","message":{"content":"the \"tool_result\""}}"#,
            0,
        ),
        (r#"{"type":"system","subtype":"init","model":7}"#, 0),
        (r#"{"type":"new_thing","event":7}"#, 0),
        (r#"["result",null]"#, 0),
    ] {
        let facts = render(line.as_bytes()).facts;
        let lost_events = facts
            .iter()
            .filter(|fact| **fact == Fact::EventLost)
            .count();
        assert_eq!(lost_events, lost, "{line}");
        assert_eq!(without_noise(facts).1, 0, "{line}");
    }
}

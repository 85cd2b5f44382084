use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn facts(text: &[u8], piece: usize) -> Facts {
    let mut reader = FactReader::default();
    text.chunks(piece).for_each(|piece| reader.push(piece));
    reader.facts()
}

#[test]
fn the_counts_of_a_message_are_found_among_others() {
    let message = json!({
        "id": "m", "type": "message", "model": "claude-x",
        "content": [{"type": "tool_use", "input": {"usage": {"output_tokens": 9}, "model": "y",
            "error": {"type": "z"}}}],
        "usage": {
            "input_tokens": 1, "output_tokens": 2, "cache_read_input_tokens": 3,
            "cache_creation_input_tokens": 7, "service_tier": "standard", "speed": "fast",
            "cache_creation": {"ephemeral_1h_input_tokens": 4, "ephemeral_5m_input_tokens": 3},
            "server_tool_use": {"web_search_requests": 6},
        },
    });
    let expected = Facts {
        model: Some("claude-x".to_owned()),
        counts: Counts {
            input: 1,
            output: 2,
            cache_read: 3,
            cache_write: 7,
            cache_write_1h: 4,
            web_searches: 6,
        },
        has_input: true,
        is_final: true,
        is_fast: true,
        ..Facts::default()
    };
    let text = message.to_string();
    for piece in 1..text.len() {
        assert_eq!(facts(text.as_bytes(), piece), expected, "by {piece}");
    }
    let started = json!({"type": "message_start", "message": message}).to_string();
    let begun = Facts {
        is_final: false,
        ..expected
    };
    assert_eq!(facts(started.as_bytes(), 11), begun);
}

#[test]
fn the_larger_of_the_top_and_the_sum_of_the_iterations_counts() {
    let usage = json!({"input_tokens": 23, "output_tokens": 900, "iterations": [
        {"type": "compaction", "input_tokens": 180, "output_tokens": 35,
            "cache_creation_input_tokens": 4,
            "cache_creation": {"ephemeral_1h_input_tokens": 3}},
        {"type": "message", "input_tokens": 23, "output_tokens": 10},
    ]});
    let counts = Counts {
        input: 203,
        output: 900,
        cache_write: 4,
        cache_write_1h: 3,
        ..Counts::default()
    };
    for text in [
        json!({"usage": usage}),
        json!({"type": "message_start", "message": {"usage": usage}}),
    ] {
        assert_eq!(facts(text.to_string().as_bytes(), 7).counts, counts);
    }
}

#[test]
fn a_number_with_a_fraction_or_an_exponent_counts() {
    for (number, expected) in [
        ("7", Some(7)),
        ("7.0", Some(7)),
        ("6.2", Some(7)),
        ("1e3", Some(1000)),
        ("0", Some(0)),
        ("18446744073709551615", Some(u64::MAX)),
        ("99999999999999999999999", Some(u64::MAX)),
        ("-5", None),
        ("-5.5", None),
    ] {
        assert_eq!(whole(number), expected, "{number}");
    }
}

#[test]
fn an_error_has_its_type() {
    let text = json!({"type": "error", "error": {"message": "m", "type": "overloaded_error"}});
    let found = facts(text.to_string().as_bytes(), 5);
    assert_eq!(found.error_type.as_deref(), Some("overloaded_error"));
}

#[test]
fn a_damaged_text_has_the_facts_before_the_mistake() {
    let text = br#"{"model":"m","usage":{"input_tokens":5,]"output_tokens":6}}"#;
    let found = facts(text, 3);
    assert_eq!((found.counts.input, found.counts.output), (5, 0));
}

proptest! {
    #[test]
    fn pieces_do_not_change_the_facts(
        input: u32, output: u32, model in ".{0,20}", noise in ".*", piece in 1..50_usize,
    ) {
        let text = json!({
            "noise": noise, "model": model, "deep": [[{"usage": {"input_tokens": 1}}]],
            "usage": {"input_tokens": input, "output_tokens": output, "x": Value::Null},
        }).to_string();
        let found = facts(text.as_bytes(), piece);
        prop_assert_eq!(found.counts.input, u64::from(input));
        prop_assert_eq!(found.counts.output, u64::from(output));
        prop_assert_eq!(found.model, Some(model));
    }
}

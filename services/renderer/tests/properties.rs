//! Properties that hold for any input and any chunks.

mod support;

use proptest::prelude::*;
use protocol::Patch;
use renderer::{EventsOutput, Rendered};
use support::*;

/// Cuts bytes at the given positions.
fn chunks<'b>(bytes: &'b [u8], cuts: &[prop::sample::Index]) -> Vec<&'b [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    cuts.windows(2)
        .map(|ends| &bytes[ends[0]..ends[1]])
        .collect()
}

fn cuts() -> impl Strategy<Value = Vec<prop::sample::Index>> {
    prop::collection::vec(any::<prop::sample::Index>(), 0..40)
}

const NAMES: &[&str] = &[
    "plain_answer",
    "tool_use",
    "sub_agent",
    "broken_same",
    "broken_other",
    "broken_second_block",
    "not_streamed_other",
    "lone_surrogates",
    "unicode",
    "permission_denied",
    "usage_limit_login",
    "slash_command",
];

fn assert_same(one: Rendered, other: Rendered) -> Result<(), TestCaseError> {
    prop_assert_eq!(one.text, other.text);
    prop_assert_eq!(without_noise(one.facts), without_noise(other.facts));
    Ok(())
}

/// Generates lines of captures in any order, with noise and damage between them.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let captured =
        (prop::sample::select(NAMES), any::<prop::sample::Index>()).prop_map(|(name, line)| {
            let bytes = fixture(name);
            let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
            lines[line.index(lines.len())].to_vec()
        });
    let noise = prop::collection::vec(any::<u8>(), 0..60);
    let damaged = (captured.clone(), any::<prop::sample::Index>(), any::<u8>()).prop_map(
        |(mut line, at, byte)| {
            let at = at.index(line.len());
            line[at] = byte;
            line
        },
    );
    // A cut event without its line feed, so the next line is joined to it.
    let cut = (captured.clone(), any::<prop::sample::Index>()).prop_map(|(mut line, end)| {
        line.truncate(end.index(line.len()));
        line
    });
    let stray = prop::sample::select(&["\u{1b}[0m", "\0", "\u{feff}", " ", "}", "{\""][..])
        .prop_map(|text| text.as_bytes().to_vec());
    let part = prop_oneof![6 => captured, 1 => noise, 1 => damaged, 1 => cut, 1 => stray];
    prop::collection::vec(part, 0..40).prop_map(|parts| parts.concat())
}

fn events_output(chunks: &[&[u8]]) -> (Vec<u8>, Vec<Patch>) {
    let (mut out, mut patches) = (Vec::new(), Vec::new());
    let mut events = EventsOutput::new();
    for chunk in chunks {
        let start = out.len();
        events.push(chunk, &mut out, &mut patches);
        assert!(
            std::str::from_utf8(&out[start..]).is_ok(),
            "each push gives whole characters"
        );
    }
    events.finish(&mut out, &mut patches);
    (out, patches)
}

/// Generates text and garbage, with torn characters.
fn mixed() -> impl Strategy<Value = Vec<u8>> {
    let text = "[a\n\r\"é中\u{1F600}\u{10FFFF}]{0,12}".prop_map(String::into_bytes);
    let garbage = prop::collection::vec(
        prop_oneof![
            Just(0xE4),
            Just(0xF0),
            Just(0x9F),
            Just(0xED),
            Just(0xA0),
            any::<u8>()
        ],
        0..6,
    );
    prop::collection::vec(prop_oneof![text, garbage], 0..20).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn chunks_do_not_change_the_result_of_any_stream(
        bytes in stream(),
        cuts in cuts(),
        want_text in any::<bool>(),
    ) {
        let whole = render_chunks(want_text, [&bytes[..]]);
        assert_same(whole, render_chunks(want_text, chunks(&bytes, &cuts)))?;
    }

    #[test]
    fn chunks_do_not_change_the_result_of_a_capture(
        name in prop::sample::select(NAMES),
        cuts in cuts(),
    ) {
        let bytes = fixture(name);
        assert_same(render(&bytes), render_chunks(true, chunks(&bytes, &cuts)))?;
    }

    #[test]
    fn any_bytes_are_accepted(bytes in prop::collection::vec(any::<u8>(), 0..4000)) {
        render(&bytes);
        render_chunks(false, [&bytes[..]]);
    }

    #[test]
    fn any_deltas_give_the_text_of_the_model(text in "[ab \u{1F600}é\n]{0,30}", cuts in cuts()) {
        let units: Vec<String> = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
        let mut script = Script::default().start("m").block(0);
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(units.len() + 1)).collect();
        ends.extend([0, units.len()]);
        ends.sort_unstable();
        for pair in ends.windows(2) {
            script = script.delta(0, &units[pair[0]..pair[1]].concat());
        }
        let rendered = script.assistant("m", &units.concat()).block_stop(0).stop().render();
        prop_assert_eq!(rendered.text, text);
    }

    /// docs/protocol.md, "Output text": a new answer that repeats the sent text continues it;
    /// another answer follows after a blank line.
    #[test]
    fn a_restart_continues_or_begins_after_a_blank_line(
        first in "[ab]{1,5}",
        second in "[ab]{1,8}",
        size in 1usize..4,
    ) {
        let mut script = Script::default().start("m").block(0).delta(0, &first).broken(0);
        script = script.start("n").block(0);
        for part in second.as_bytes().chunks(size) {
            script = script.delta(0, std::str::from_utf8(part).expect("ASCII"));
        }
        let rendered = script.assistant("n", &second).block_stop(0).stop().render();
        let expected = match second.strip_prefix(&first) {
            Some(rest) => format!("{first}{rest}"),
            None => format!("{first}\n\n{second}"),
        };
        prop_assert_eq!(rendered.text, expected);
        prop_assert_eq!(restarts(&rendered.facts), 1);
    }

    /// The product applies the patches in `spool::EventsReader`; its property test is in the
    /// spool's `tests/events.rs`.
    #[test]
    fn events_are_valid_utf8_and_patches_restore_stdout(bytes in mixed(), cuts in cuts()) {
        let (out, patches) = events_output(&chunks(&bytes, &cuts));
        let text = std::str::from_utf8(&out).expect("valid UTF-8");
        let lossy = String::from_utf8_lossy(&bytes);
        prop_assert_eq!(text.trim_end_matches('\n'), lossy.trim_end_matches('\n'));
        prop_assert!(out.is_empty() || out.ends_with(b"\n"));
        let (mut original, mut at) = (Vec::new(), 0);
        for patch in &patches {
            let offset = usize::try_from(patch.offset).expect("an offset");
            original.extend_from_slice(&out[at..offset]);
            original.extend_from_slice(&patch.original);
            at = offset + patch.len as usize;
        }
        original.extend_from_slice(&out[at..]);
        prop_assert_eq!(original, bytes);
    }
}

#[test]
fn adjacent_garbage_is_one_patch_and_a_line_feed_is_added() {
    let (out, patches) = events_output(&[b"a\xFF\xFEb", b"\xE4"]);
    assert_eq!(out, "a\u{FFFD}\u{FFFD}b\u{FFFD}\n".as_bytes());
    let patch = |offset, len, original: &[u8]| Patch {
        offset,
        len,
        original: original.to_vec(),
    };
    assert_eq!(
        patches,
        [
            patch(1, 6, b"\xFF\xFE"),
            patch(8, 3, b"\xE4"),
            patch(11, 1, b"")
        ]
    );
    assert_eq!(
        events_output(&[]),
        (vec![], vec![]),
        "empty output needs no line feed"
    );
}

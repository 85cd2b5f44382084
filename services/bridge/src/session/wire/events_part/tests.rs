use proptest::prelude::*;

use super::*;

fn part(bytes: &[u8], is_all: bool, ended: bool) -> EventsPart {
    EventsPart {
        id: ExecutionId::random(),
        offset: 10,
        bytes: Bytes::copy_from_slice(bytes),
        is_all,
        ended,
    }
}

fn cut(bytes: &[u8], is_all: bool, ended: bool) -> (String, u64, bool) {
    let Events {
        text,
        next_offset,
        ended,
        ..
    } = part(bytes, is_all, ended).cut(1000);
    (text, next_offset, ended)
}

#[test]
fn a_part_holds_whole_lines_and_leaves_an_unfinished_one_to_the_next_part() {
    let text = |text: &str, next, ended| (text.to_owned(), next, ended);
    // All events, of an execution that has ended and of one that runs.
    assert_eq!(cut(b"{}\n{", true, true), text("{}\n{", 14, true));
    assert_eq!(cut(b"{}\n", true, false), text("{}\n", 13, false));
    assert_eq!(cut(b"{}\n{", true, false), text("{}\n", 13, false));
    assert_eq!(cut(b"{\xe2\x82", true, false), text("", 10, false));
    assert_eq!(cut(b"", true, true), text("", 10, true));
    // More than the limit of the request.
    assert_eq!(cut(b"{}\n{\"", false, true), text("{}\n", 13, false));
    assert_eq!(cut(b"abc\xe2\x82", false, true), text("abc", 13, false));
    assert_eq!(
        cut(b"a\xffb\xe2", true, true),
        text("a\u{fffd}b\u{fffd}", 14, true)
    );
}

#[test]
fn a_line_longer_than_a_message_is_cut_between_characters() {
    let long = "\u{20ac}\"".repeat(100);
    let events = part(long.as_bytes(), true, true).cut(23);
    assert_eq!(events.text, "\u{20ac}\"".repeat(4) + "\u{20ac}");
    assert_eq!((events.next_offset, events.ended), (10 + 19, false));
}

proptest! {
    #[test]
    fn parts_join_to_the_events_and_fit_their_messages(
        bytes in prop::collection::vec(prop_oneof![
            Just(b"\n".to_vec()), Just(b"\"\\\x01".to_vec()), Just("\u{1F600}".as_bytes().to_vec()),
            Just(vec![0xff]), Just(vec![0xf0, 0x9f]), "[a-z]{1,9}".prop_map(String::into_bytes),
        ], 0..30).prop_map(|parts| parts.concat()),
        limit in 4_usize..40, room in 0_usize..60,
    ) {
        let (mut at, mut joined) = (0, Vec::new());
        loop {
            let end = bytes.len().min(at + limit);
            let part = EventsPart {
                offset: at as u64,
                ..part(&bytes[at..end], end == bytes.len(), true)
            };
            let json = part.to_json(ENVELOPE_BYTES + 6 + room);
            prop_assert!(json.len() <= ENVELOPE_BYTES + 6 + room, "{}", json);
            let events: Events = serde_json::from_str(&json).unwrap();
            let next = events.next_offset as usize;
            prop_assert_eq!(events.offset as usize, at);
            prop_assert!(next > at || (events.ended && next == bytes.len()));
            let own = &bytes[at..next];
            prop_assert_eq!(events.text, String::from_utf8_lossy(own));
            joined.extend_from_slice(own);
            at = next;
            if events.ended {
                break;
            }
        }
        prop_assert_eq!(joined, bytes);
    }
}

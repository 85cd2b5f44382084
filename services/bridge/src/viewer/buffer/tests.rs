use super::*;
use proptest::prelude::*;

fn drain(buffer: &mut Buffer, last: bool) -> Vec<Piece> {
    std::iter::from_fn(|| buffer.take(last)).collect()
}

proptest! {
    #[test]
    fn chunks_of_any_length_join_to_the_exact_text(
        text in "\\PC{0,400}",
        cuts in prop::collection::vec(1usize..9, 0..600),
    ) {
        let bytes = text.as_bytes();
        let mut buffer = Buffer::new(0, 0, None);
        let (mut at, mut got) = (0, String::new());
        for cut in cuts.into_iter().chain(std::iter::repeat(7)) {
            if at == bytes.len() { break; }
            let end = (at + cut).min(bytes.len());
            buffer.push(&Bytes::copy_from_slice(&bytes[at..end]));
            at = end;
            prop_assert_eq!(buffer.read_from(), at as u64);
            for piece in drain(&mut buffer, false) {
                let Piece::Text(offset, text) = piece else { panic!("a gap") };
                prop_assert_eq!(offset, got.len() as u64);
                got.push_str(&text);
            }
        }
        prop_assert_eq!(&got, &text);
        prop_assert_eq!(buffer.crc32(), Some(crc32fast::hash(bytes)));
    }

    #[test]
    fn a_view_from_any_offset_begins_at_a_character(
        text in "(\\PC|\n){1,60}",
        at in 0usize..200,
        chunk in 1usize..5,
        skips in any::<bool>(),
    ) {
        let bytes = text.as_bytes();
        let at = at % (bytes.len() + 1);
        let skip = skips.then_some(Skip { bytes: 1000, lines: 1000 });
        let mut buffer = Buffer::new(at as u64, 0, skip);
        let from = buffer.read_from() as usize;
        for chunk in bytes[from..].chunks(chunk) {
            buffer.push(&Bytes::copy_from_slice(chunk));
        }
        let mut expected = at;
        while !text.is_char_boundary(expected) { expected -= 1; }
        let pieces = drain(&mut buffer, true);
        if expected == bytes.len() {
            prop_assert_eq!(pieces, vec![]);
        } else {
            let rest = text[expected..].to_owned();
            prop_assert_eq!(pieces, vec![Piece::Text(expected as u64, rest)]);
        }
    }

    #[test]
    fn gaps_announce_every_dropped_byte(
        text in "\\PC{0,300}",
        chunk in 1usize..40,
        take_every in 1usize..20,
        lines in 0u64..3,
    ) {
        let bytes = text.as_bytes();
        let mut buffer = Buffer::new(0, 0, Some(Skip { bytes: 50, lines }));
        let (mut at, mut next) = (0, 0u64);
        let mut check = |piece: Piece| match piece {
            Piece::Gap(from, to) => { assert!(from == next && to > from); next = to; }
            Piece::Text(offset, got) => {
                assert_eq!(offset, next);
                assert_eq!(got.as_bytes(), &bytes[next as usize..next as usize + got.len()]);
                next += got.len() as u64;
            }
        };
        for (n, chunk) in bytes.chunks(chunk).enumerate() {
            buffer.push(&Bytes::copy_from_slice(chunk));
            at += chunk.len();
            assert!(buffer.data.len() <= 50 && buffer.wants_bytes());
            if n % take_every == 0 && let Some(piece) = buffer.take(false) { check(piece); }
        }
        for piece in drain(&mut buffer, true) { check(piece); }
        prop_assert_eq!(next, at as u64);
    }
}

#[test]
fn freed_bytes_are_a_gap_after_the_buffered_bytes() {
    let mut buffer = Buffer::new(0, 0, None);
    buffer.push(&Bytes::from_static("aé".as_bytes()));
    buffer.push(&Bytes::from_static(&"é".as_bytes()[..1]));
    buffer.freed(100);
    assert_eq!(buffer.read_from(), 100);
    assert!(
        !buffer.wants_bytes(),
        "the gap is sent before more bytes are read"
    );
    assert_eq!(
        drain(&mut buffer, false),
        [Piece::Text(0, "aé".into()), Piece::Gap(3, 100)]
    );
    assert!(buffer.wants_bytes());
    assert_eq!(buffer.crc32(), None);
    buffer.push(&Bytes::from_static(b"z"));
    assert_eq!(drain(&mut buffer, false), [Piece::Text(100, "z".into())]);
}

#[test]
fn bytes_read_to_find_the_first_character_are_never_sent() {
    let begun = || {
        let mut buffer = Buffer::new(10, 0, None);
        assert_eq!(buffer.read_from(), 7);
        buffer.push(&Bytes::from_static(b"ab"));
        buffer
    };
    let mut buffer = begun();
    buffer.freed(20);
    assert_eq!(drain(&mut buffer, false), [Piece::Gap(10, 20)]);
    let mut buffer = begun();
    buffer.freed(10);
    assert_eq!(buffer.read_from(), 10);
    buffer.push(&Bytes::from_static(b"cd"));
    assert_eq!(drain(&mut buffer, false), [Piece::Text(10, "cd".into())]);
    let mut buffer = Buffer::new(10, 0, None);
    buffer.freed(9);
    assert_eq!(buffer.read_from(), 9);
    buffer.push(&Bytes::from_static("éz".as_bytes()));
    assert_eq!(drain(&mut buffer, true), [Piece::Text(9, "éz".into())]);
}

#[test]
fn messages_are_bounded_and_a_full_buffer_stops_reading() {
    let mut buffer = Buffer::new(0, 0, None);
    buffer.push(&Bytes::from("é".repeat(100_000)));
    assert!(!buffer.wants_bytes());
    for piece in drain(&mut buffer, false) {
        let Piece::Text(_, text) = piece else {
            panic!("a gap")
        };
        assert!(text.len() <= OUTPUT_MESSAGE_BYTES);
    }
    assert!(buffer.wants_bytes());
}

#[test]
fn bytes_that_are_not_utf8_keep_their_offsets() {
    let mut buffer = Buffer::new(0, 0, None);
    buffer.push(&Bytes::from_static(b"a\xff\x80\x80\x80\x80b\xf0\x9f"));
    let pieces = drain(&mut buffer, true);
    assert!(
        matches!(pieces.last(), Some(Piece::Text(7, _))),
        "{pieces:?}"
    );
    assert_eq!(buffer.read_from(), 9);
}

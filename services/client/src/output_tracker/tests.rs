use proptest::prelude::*;

use super::*;

fn crc(bytes: &[u8]) -> String {
    protocol::trailers::crc32_text(crc32fast::hash(bytes))
}

proptest! {
    /// Each piece begins at or before the offset reached, as after a disconnect and an attach at an
    /// older offset.
    #[test]
    fn overlapping_pieces_join_to_exactly_the_output(
        output in proptest::collection::vec(any::<u8>(), 0..2000),
        pieces in proptest::collection::vec((0usize..100, 0usize..300), 0..60),
    ) {
        let whole = Bytes::from(output.clone());
        let mut tracker = OutputTracker::new(0);
        let mut joined = Vec::new();
        let rest = std::iter::once((0, whole.len()));
        for (back, length) in pieces.into_iter().chain(rest) {
            let reached = usize::try_from(tracker.reached()).unwrap();
            let from = reached.saturating_sub(back);
            let to = (from + length).min(whole.len());
            joined.extend(tracker.accept(from as u64, whole.slice(from..to)).unwrap());
            prop_assert_eq!(joined.len() as u64, tracker.reached());
        }
        // The last piece may end before the end of the output, so the rest is sent again from the
        // offset reached.
        let reached = usize::try_from(tracker.reached()).unwrap();
        joined.extend(tracker.accept(reached as u64, whole.slice(reached..)).unwrap());
        prop_assert_eq!(&joined, &output);
        let verdict = tracker.finish(output.len() as u64, Some(&crc(&output)));
        prop_assert_eq!(verdict, Ok(OutputCheck::Verified));
    }

    #[test]
    fn a_missing_byte_is_an_error(
        output in proptest::collection::vec(any::<u8>(), 2..500),
        at in any::<prop::sample::Index>(),
    ) {
        let whole = Bytes::from(output.clone());
        let at = at.index(output.len() - 1);
        let mut tracker = OutputTracker::new(0);
        tracker.accept(0, whole.slice(..at)).unwrap();
        let hole = tracker.accept(at as u64 + 1, whole.slice(at + 1..));
        prop_assert_eq!(hole, Err(OutputError::Hole { expected: at as u64, got: at as u64 + 1 }));
        prop_assert!(tracker.finish(output.len() as u64, Some(&crc(&output))).is_err());
    }
}

#[test]
fn a_changed_byte_is_a_wrong_crc32_at_the_end() {
    let mut tracker = OutputTracker::new(0);
    tracker.accept(0, Bytes::from_static(b"abd")).unwrap();
    assert_eq!(
        tracker.finish(3, Some(&crc(b"abc"))),
        Err(OutputError::Crc {
            got: crc(b"abd"),
            expected: crc(b"abc")
        })
    );
}

#[test]
fn an_output_with_gaps_is_partial() {
    let mut tracker = OutputTracker::new(0);
    assert_eq!(tracker.gap(0, 10), Ok(Some(0..10)));
    tracker.accept(10, Bytes::from_static(b"ab")).unwrap();
    assert_eq!(tracker.gap(5, 12), Ok(None));
    assert_eq!(tracker.gap(11, 14), Ok(Some(12..14)));
    assert_eq!(
        tracker.gap(15, 16),
        Err(OutputError::Hole {
            expected: 14,
            got: 15
        })
    );
    assert_eq!(
        tracker.finish(14, Some("00000000")),
        Ok(OutputCheck::Partial { missing: 12 })
    );
    assert_eq!(
        tracker.finish(15, None),
        Err(OutputError::Length {
            got: 14,
            expected: 15
        })
    );
}

#[test]
fn an_offset_inside_a_character_begins_at_its_first_byte() {
    let mut tracker = OutputTracker::new(7);
    assert_eq!(
        tracker.accept(5, Bytes::from_static("\u{20ac}".as_bytes())),
        Ok(Bytes::from_static("\u{20ac}".as_bytes()))
    );
    assert_eq!(tracker.reached(), 8);
    assert_eq!(
        tracker.finish(8, None),
        Ok(OutputCheck::Partial { missing: 5 })
    );
}

#[test]
fn an_empty_output_is_verified() {
    assert_eq!(
        OutputTracker::new(0).finish(0, Some("00000000")),
        Ok(OutputCheck::Verified)
    );
    assert_eq!(
        OutputTracker::new(0).finish(0, None),
        Ok(OutputCheck::Unknown)
    );
}

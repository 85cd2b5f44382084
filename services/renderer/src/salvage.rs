//! Finds the whole events in a damaged line, so that only the damaged one is lost.
//!
//! A line is one event, but it may contain other bytes: an escape sequence before the event, a NUL
//! after it, or a cut event joined with the next one. [`salvage`] finds every whole JSON object at
//! the top level of the line. It never searches inside an object, whole or cut, because the model
//! chooses the text there.

use std::sync::LazyLock;

use memchr::memmem;
use serde::de::IgnoredAny;
use serde_json::Deserializer;

use crate::event::KINDS;

/// The bytes with which a JSON object begins. Each event of the CLI begins with them.
const OBJECT: &[u8] = b"{\"";

/// The bytes with which an event of the CLI begins, even if it is cut off later.
pub(crate) const EVENT: &[u8] = br#"{"type":""#;

/// The most bytes of the next event that the parser reads before it notices that the current one is
/// cut. They are the two bytes of `{"`, and four hexadecimal digits after a cut
/// escape, rounded up to 8.
const OVERRUN_BYTES: usize = 8;

/// The most broken objects in one line, which bounds the time of the search. The rest of the line
/// then counts as noise.
const MAX_BROKEN_OBJECTS: usize = 1024;

/// The most whole objects that are returned for one line, which bounds the memory. A line of 64 MiB
/// could have millions. The rest of the line then counts as noise.
const MAX_WHOLE_OBJECTS: usize = 4096;

/// The readable parts of a damaged line, as [`salvage`] returns them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Salvaged<'a> {
    /// The whole JSON objects in the line, in order.
    pub(crate) objects: Vec<&'a [u8]>,
    /// Whether the line has bytes other than whole objects and blanks. It then counts as noise.
    pub(crate) noise: bool,
    /// Whether an event is lost, because an object began like an event but is not whole.
    pub(crate) lost: bool,
}

/// Finds the whole JSON objects in a line that is not one JSON value as a whole. The objects may
/// still be no events. Its time is linear in the length of the line.
pub(crate) fn salvage(line: &[u8]) -> Salvaged<'_> {
    let mut salvaged = Salvaged::default();
    let mut from = 0;
    // All bytes before this offset are processed.
    let mut processed = 0;
    let mut broken = 0;
    while broken < MAX_BROKEN_OBJECTS
        && salvaged.objects.len() < MAX_WHOLE_OBJECTS
        && let Some(distance) = memmem::find(&line[from..], OBJECT)
    {
        let start = from + distance;
        salvaged.noise |= !is_blank(line.get(processed..start).unwrap_or_default());
        let rest = &line[start..];
        let mut values = Deserializer::from_slice(rest).into_iter::<IgnoredAny>();
        match values.next() {
            Some(Ok(_)) => {
                let len = values.byte_offset();
                if is_part(&rest[len..]) {
                    salvaged.noise = true;
                } else {
                    salvaged.objects.push(&rest[..len]);
                }
                from = start + len;
                processed = from;
            }
            Some(Err(error)) => {
                broken += 1;
                salvaged.noise = true;
                salvaged.lost |= rest.starts_with(EVENT);
                // A line has no line feed, so the column is the offset. Objects that begin before
                // this offset are parts of this object, and fail at the same position.
                from = start + error.column().saturating_sub(OVERRUN_BYTES).max(1);
                processed = from.min(line.len());
            }
            None => break,
        }
        from = from.min(line.len());
    }
    let rest = &line[processed..];
    salvaged.noise |= !is_blank(rest);
    let full = salvaged.objects.len() == MAX_WHOLE_OBJECTS;
    salvaged.lost |= full && memmem::find(rest, EVENT).is_some();
    salvaged
}

/// Returns true if a second event may begin inside this line. The line must then not be skipped
/// unparsed.
pub(crate) fn has_another(line: &[u8]) -> bool {
    static FINDER: LazyLock<memmem::Finder<'_>> = LazyLock::new(|| memmem::Finder::new(EVENT));
    let following = line.get(1..).unwrap_or_default();
    FINDER.find_iter(following).any(|at| {
        let name = &following[at + EVENT.len()..];
        let ends = |kind: &&[u8]| {
            name.strip_prefix(*kind)
                .is_some_and(|rest| rest.starts_with(b"\""))
        };
        KINDS.iter().any(ends)
    })
}

/// Returns true if all bytes are ASCII blanks, or there are none.
fn is_blank(bytes: &[u8]) -> bool {
    bytes.trim_ascii().is_empty()
}

/// Returns true if the text after an object shows that the object is a member of a larger one, and
/// so not an event.
fn is_part(following: &[u8]) -> bool {
    matches!(
        following.trim_ascii_start().first(),
        Some(b'}' | b']' | b',' | b':')
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objects(line: &str) -> (Vec<&str>, bool, bool) {
        let Salvaged {
            objects,
            noise,
            lost,
        } = salvage(line.as_bytes());
        let text = |object| std::str::from_utf8(object).expect("text");
        (objects.into_iter().map(text).collect(), noise, lost)
    }

    #[test]
    fn whole_objects_are_found_among_other_bytes() {
        assert_eq!(
            objects("\u{1b}[0m{\"a\":1}\0"),
            (vec!["{\"a\":1}"], true, false)
        );
        assert_eq!(
            objects("{\"a\":1} {\"b\":{}}"),
            (vec!["{\"a\":1}", "{\"b\":{}}"], false, false)
        );
        assert_eq!(objects("plain {} {x}"), (vec![], true, false));
    }

    #[test]
    fn a_cut_object_neither_hides_the_next_one_nor_yields_its_parts() {
        assert_eq!(
            objects(r#"{"type":"a","s":"\u12{"b":1}"#),
            (vec![r#"{"b":1}"#], true, true)
        );
        assert_eq!(
            objects(r#"{"type":"a",x "m":[{"b":1},{"c":2}]}"#),
            (vec![], true, true)
        );
        assert_eq!(
            objects(r#"{"type":"a","m":{"b":123456}"#),
            (vec![], true, true)
        );
    }

    #[test]
    fn the_search_ends_after_many_broken_objects() {
        let line = |count| "{\"x".repeat(count) + "{\"b\":1}";
        assert_eq!(objects(&line(9)), (vec!["{\"b\":1}"], true, false));
        assert_eq!(
            objects(&line(2 * MAX_BROKEN_OBJECTS)),
            (vec![], true, false)
        );
    }

    #[test]
    fn the_number_of_objects_taken_from_a_line_is_bounded() {
        let line = br#"{"a":1}"#.repeat(1 << 20);
        let Salvaged {
            objects,
            noise,
            lost,
        } = salvage(&line);
        assert!(objects.len() <= MAX_WHOLE_OBJECTS, "{}", objects.len());
        assert!(noise && !lost);
        let events = br#"{"type":"user"}"#.repeat(1 << 16);
        assert!(salvage(&events).lost);
    }
}

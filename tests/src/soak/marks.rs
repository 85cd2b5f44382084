//! Searches a text for what belongs to a principal: its mark, and UUIDs. Pure.

use uuid::Uuid;

use super::principal::{ID_BYTES, MARKS, STEM};

/// The characters of a UUID before its first hyphen, and from there to its end.
const HEAD: usize = 8;
const REST: usize = 28;
/// The UUID that the error for a malformed id shows to everybody.
const EXAMPLE: Uuid = Uuid::from_u128(0x018f_4e2a_7b3c_7def_8123_4567_89ab_cdef);

/// Returns the first mark in a text that is not the mark of the principal `own`; `None` is nobody,
/// to whom all marks belong to others.
pub(super) fn foreign_mark(text: &str, own: Option<usize>) -> Option<&'static str> {
    text.match_indices(STEM).find_map(|(at, _)| {
        let mut marks = MARKS.iter().enumerate();
        let mark = marks.find(|(_, mark)| text[at..].starts_with(**mark));
        let (number, mark) = mark?;
        (Some(number) != own).then_some(*mark)
    })
}

/// Returns all UUIDs in a text, in order.
pub(super) fn uuids(text: &str) -> impl Iterator<Item = Uuid> {
    let bytes = text.as_bytes();
    text.match_indices('-').filter_map(move |(at, _)| {
        let candidate = bytes.get(at.checked_sub(HEAD)?..at + REST)?;
        // A cheap check first: most hyphens of an output belong to no UUID.
        let hyphens = [13, 18, 23].iter().all(|place| candidate[*place] == b'-');
        let id = hyphens.then(|| Uuid::try_parse_ascii(candidate).ok())??;
        (id != EXAMPLE).then_some(id)
    })
}

/// Returns the principal whose clients chose an id; `None` if a service made it.
pub(super) fn chosen_by(id: Uuid) -> Option<usize> {
    let begins = |mark: &[u8; 6]| id.as_bytes().starts_with(mark);
    ID_BYTES.iter().position(begins)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_of_another_principal_is_found_anywhere_and_the_own_one_is_not() {
        let text = "{\"a\":\"xmarkofaldermarkofalder\",\"markofbirc\":\"markof\"}";
        assert_eq!(foreign_mark(text, Some(0)), None);
        assert_eq!(foreign_mark(text, Some(1)), Some("markofalder"));
        assert_eq!(foreign_mark(text, None), Some("markofalder"));
        let mixed = "markofalder markofmarkofcedar";
        assert_eq!(foreign_mark(mixed, Some(0)), Some("markofcedar"));
    }

    #[test]
    fn uuids_are_found_in_any_surroundings_and_belong_to_the_principal_that_chose_them() {
        let alder = "a1dea1de-a1de-4000-8000-000000000001";
        let other = "018f4e2a-7b3c-4def-8123-456789abcdef";
        let text = format!(
            "\u{e9}-{alder}-x {}\"{other}-1-2-3 018f4e2a-7b3c-7def-8123-456789abcdef 12-",
            alder.to_uppercase()
        );
        let found: Vec<_> = uuids(&text).map(|id| id.to_string()).collect();
        assert_eq!(found, [alder, alder, other]);
        let owners: Vec<_> = uuids(&text).map(chosen_by).collect();
        assert_eq!(owners, [Some(0), Some(0), None]);
        assert_eq!(uuids("\u{1F600}-").count(), 0);
    }
}

//! Long lines in the width of a terminal.

/// Splits a line without control characters into lines of at most `width` columns.
pub(crate) fn wrap(line: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut rest = line;
    loop {
        let (first, after) = rest.split_at(prefix(rest, width));
        lines.push(first.to_owned());
        if after.is_empty() {
            return lines;
        }
        rest = after;
    }
}

/// Returns the length in bytes of the beginning of a line that has at most `width` columns. It has
/// at least one character, unless the line is empty.
pub(super) fn prefix(line: &str, width: usize) -> usize {
    let mut used = 0;
    for (at, c) in line.char_indices() {
        used += columns(c);
        if used > width && at > 0 {
            return at;
        }
    }
    line.len()
}

/// Returns the columns that a visible character takes on a terminal. Characters of East Asian
/// scripts and pictures take two.
fn columns(c: char) -> usize {
    match u32::from(c) {
        0x1100..=0x115f
        | 0x2e80..=0xa4cf
        | 0xac00..=0xd7a3
        | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f
        | 0xff00..=0xff60
        | 0xffe0..=0xffe6
        | 0x1f300..=0x1faff
        | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_wrapped_by_columns() {
        assert_eq!(wrap("", 4), [""]);
        assert_eq!(wrap("abcdefg", 3), ["abc", "def", "g"]);
        assert_eq!(wrap("\u{6f22}\u{5b57}x", 4), ["\u{6f22}\u{5b57}", "x"]);
        assert_eq!(wrap("\u{6f22}\u{5b57}", 1), ["\u{6f22}", "\u{5b57}"]);
        let long = "x".repeat(200_000);
        assert_eq!(wrap(&long, 78).concat(), long);
    }
}

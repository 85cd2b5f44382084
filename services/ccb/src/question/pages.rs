//! A long text that is shown page by page, in the width that the terminal has at each page.

use std::collections::VecDeque;

use super::view::{Size, marked};
use super::wrap::{prefix, wrap};

/// The part of a text that was not shown yet, as lines of any length.
#[derive(Debug)]
pub(super) struct Pages(VecDeque<String>);

impl Pages {
    /// Creates the pages of a text without characters that a terminal would obey.
    pub(super) fn new(lines: Vec<String>) -> Self {
        Self(lines.into())
    }

    /// Returns whether everything was shown.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes the next lines that fit the terminal, and returns them with a line about the rest.
    pub(super) fn next(&mut self, size: Size) -> Vec<String> {
        let mut lines = Vec::new();
        while lines.len() < size.page()
            && let Some(mut line) = self.0.pop_front()
        {
            let end = prefix(&line, size.width());
            let rest = line.split_off(end);
            if !rest.is_empty() {
                self.0.push_front(rest);
            }
            lines.push(marked(&line));
        }
        if !self.is_empty() {
            let rest = self.0.iter();
            let count: usize = rest
                .clone()
                .map(|line| wrap(line, size.width()).len())
                .sum();
            let chars: usize = rest.map(|line| line.chars().count()).sum();
            lines.push(format!(
                "({count} more lines with {chars} characters; m shows more)"
            ));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_have_the_present_width_and_are_the_whole_text() {
        let text = "0123456789".repeat(1000);
        let mut pages = Pages::new(vec!["{".to_owned(), text.clone(), "}".to_owned()]);
        let mut shown = String::new();
        for columns in [80, 40, 200].into_iter().cycle() {
            let size = Size { columns, rows: 20 };
            let lines = pages.next(size);
            for line in lines.iter().filter_map(|line| line.strip_prefix("| ")) {
                assert!(line.chars().count() + 7 < columns, "{line}");
                shown.push_str(line);
            }
            if pages.is_empty() {
                break;
            }
        }
        assert_eq!(shown, format!("{{{text}}}"));
        assert!(pages.next(Size::default()).is_empty());
    }

    #[test]
    fn the_rest_is_counted_and_blank_lines_are_kept() {
        let lines = ["a", "", "b"].map(str::to_owned);
        let mut pages = Pages::new([&lines[..], &lines[..]].concat());
        let size = Size {
            columns: 80,
            rows: 1,
        };
        assert_eq!(
            pages.next(size),
            [
                "| a",
                "| ",
                "| b",
                "| a",
                "| ",
                "(1 more lines with 1 characters; m shows more)"
            ]
        );
        assert_eq!(pages.next(size), ["| b"]);
    }
}

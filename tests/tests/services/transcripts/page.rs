//! The fenced blocks of docs/protocol.md below the headings of "Transcripts".

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::record::Transcript;

/// The variable that makes a run write the blocks.
const VARIABLE: &str = "CCB_TEST_TRANSCRIPTS";
const SECTION: &str = "## Transcripts";
const OPEN: &str = "```text";
const CLOSE: &str = "```";

/// Held while a test writes the page, because tests run side by side. No await happens inside it.
static WRITING: Mutex<()> = Mutex::new(());

/// The lines of the page.
pub(super) struct Page {
    lines: Vec<String>,
}

impl Page {
    pub(super) fn read() -> Self {
        let path = path();
        let text = std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self::parse(&text)
    }

    fn parse(text: &str) -> Self {
        let lines = text.lines().map(str::to_owned).collect();
        Self { lines }
    }

    fn text(&self) -> String {
        self.lines.iter().map(|line| format!("{line}\n")).collect()
    }

    /// Returns the range of the section's lines.
    fn section(&self) -> std::ops::Range<usize> {
        let begin = self.lines.iter().position(|line| line == SECTION);
        let begin = begin.unwrap_or_else(|| panic!("the page has no {SECTION:?}")) + 1;
        let mut rest = self.lines[begin..].iter();
        let length = rest.position(|line| line.starts_with("## "));
        begin..length.map_or(self.lines.len(), |length| begin + length)
    }

    /// Returns the headings below the section, in order.
    pub(super) fn headings(&self) -> Vec<&str> {
        let lines = self.lines[self.section()].iter();
        lines.filter_map(|line| line.strip_prefix("### ")).collect()
    }

    /// Returns the range of the lines inside the block below a heading, without its fences.
    fn block(&self, heading: &str) -> Option<std::ops::Range<usize>> {
        let section = self.section();
        let title = format!("### {heading}");
        let lines = &self.lines[section.clone()];
        let at = lines.iter().position(|line| *line == title)? + 1;
        let below = lines[at..].iter();
        let below: Vec<_> = below.take_while(|line| !line.starts_with("### ")).collect();
        let open = below.iter().position(|line| *line == OPEN)? + 1;
        let length = below[open..].iter().position(|line| *line == CLOSE)?;
        let begin = section.start + at + open;
        Some(begin..begin + length)
    }

    /// Replaces the text of a block.
    fn replace(&mut self, heading: &str, text: &str) {
        let block = self.block(heading);
        let block = block.unwrap_or_else(|| panic!("no block {OPEN:?} below {heading:?}"));
        self.lines.splice(block, text.lines().map(str::to_owned));
    }
}

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/protocol.md")
}

/// Compares a transcript with its block, or writes it there.
///
/// # Panics
/// If they differ, or the page has no such block.
#[track_caller]
pub(super) fn check(heading: &str, transcript: &Transcript) {
    let text = transcript.text();
    match std::env::var(VARIABLE).as_deref() {
        Ok("write") => {
            let _writing = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
            let mut page = Page::read();
            page.replace(heading, &text);
            std::fs::write(path(), page.text()).expect("docs/protocol.md can be written");
        }
        Err(std::env::VarError::NotPresent) => {
            let page = Page::read();
            let block = page.block(heading);
            let block = block.unwrap_or_else(|| panic!("no block {OPEN:?} below {heading:?}"));
            let old: Vec<_> = page.lines[block].iter().map(String::as_str).collect();
            let new: Vec<_> = text.lines().collect();
            assert!(
                old == new,
                "docs/protocol.md, {heading:?}: the transcript is not what happens. `-` is the \
                 page, `+` is this run; {VARIABLE}=write writes the page:\n{}",
                difference(&old, &new)
            );
        }
        other => panic!("{VARIABLE} is `write` or not set, not {other:?}"),
    }
}

/// Returns the lines of both texts, each marked `-` or `+` if only one of the texts has it.
fn difference(old: &[&str], new: &[&str]) -> String {
    // common[i][j]: the length of the longest common part of old[i..] and new[j..].
    let mut common = vec![vec![0_usize; new.len() + 1]; old.len() + 1];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            common[i][j] = if old[i] == new[j] {
                common[i + 1][j + 1] + 1
            } else {
                common[i + 1][j].max(common[i][j + 1])
            };
        }
    }
    let (mut i, mut j, mut text) = (0, 0, String::new());
    while i < old.len() || j < new.len() {
        let (mark, line) = if i < old.len() && j < new.len() && old[i] == new[j] {
            (i, j) = (i + 1, j + 1);
            (' ', old[i - 1])
        } else if i < old.len() && (j == new.len() || common[i + 1][j] >= common[i][j + 1]) {
            i += 1;
            ('-', old[i - 1])
        } else {
            j += 1;
            ('+', new[j - 1])
        };
        text.push_str(&format!("{mark} {line}\n"));
    }
    text
}

#[test]
fn blocks_are_found_by_their_heading_and_replaced() {
    let text =
        "## Transcripts\n### A\nwords\n```text\none\n```\n### B\n```text\n```\n## C\n### D\n";
    let mut page = Page::parse(text);
    assert_eq!(page.headings(), ["A", "B"]);
    page.replace("B", "two\nthree\n");
    page.replace("A", "");
    let expected = "## Transcripts\n### A\nwords\n```text\n```\n### B\n```text\ntwo\nthree\n```\n";
    assert_eq!(page.text(), format!("{expected}## C\n### D\n"));
    assert_eq!(page.block("D"), None);
}

#[test]
fn a_difference_shows_the_lines_of_both_sides() {
    let shown = difference(&["a", "b", "c"], &["a", "x", "c", "d"]);
    assert_eq!(shown, "  a\n- b\n+ x\n  c\n+ d\n");
}

//! Comments in the sources refer to docs/protocol.md by its headings, and to nothing else.

use std::path::{Path, PathBuf};

use crate::page::Page;

/// Start of a comment's reference to a rule; the heading in quotes follows.
const LINK: &str = "docs/protocol.md, \"";
/// The word that comments used for the protocol before the page existed.
const OLD_WORD: &str = "contract";
/// The folders whose comments still use [`OLD_WORD`].
const MAY_USE_OLD_WORD: [&str; 0] = [];

/// A comment, or consecutive comment lines, with its location.
struct Comment {
    /// The path from the root of the repository.
    path: String,
    /// The number of its first line.
    line: usize,
    /// Its text on one line.
    text: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Returns all comments of the Rust sources of this checkout.
fn comments() -> Vec<Comment> {
    let mut comments = Vec::new();
    for folder in ["services", "tests", "fuzz"] {
        let mut paths = Vec::new();
        find(&root().join(folder), &mut paths);
        for path in paths {
            let text = std::fs::read_to_string(&path)
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let path = path.strip_prefix(root()).expect("a path below the root");
            comments.extend(comments_of(&path.to_string_lossy(), &text));
        }
    }
    comments
}

fn find(folder: &Path, paths: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(folder);
    let entries = entries.unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for entry in entries {
        let path = entry.expect("a folder can be read").path();
        let is_build = path.file_name().is_some_and(|name| name == "target");
        if path.is_dir() && !is_build {
            find(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
}

/// Returns the comments of a file. Consecutive comment lines are joined, because a link may be
/// wrapped.
fn comments_of(path: &str, text: &str) -> Vec<Comment> {
    let mut comments: Vec<Comment> = Vec::new();
    let mut is_open = false;
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim_start();
        let is_whole = line.starts_with("//");
        let comment = if is_whole {
            Some(line.trim_start_matches(['/', '!']).trim())
        } else {
            // After code: a `//` with a space before it, so that a URL is no comment.
            line.split_once(" // ").map(|(_, comment)| comment.trim())
        };
        match (comment, comments.last_mut()) {
            (Some(comment), Some(last)) if is_open && is_whole => {
                last.text.push(' ');
                last.text.push_str(comment);
            }
            (Some(comment), _) => comments.push(Comment {
                path: path.to_owned(),
                line: number,
                text: comment.to_owned(),
            }),
            (None, _) => {}
        }
        is_open = is_whole;
    }
    comments
}

/// Returns the headings that a text names.
fn links(text: &str) -> Vec<&str> {
    let links = text.split(LINK).skip(1);
    links.filter_map(|rest| rest.split('"').next()).collect()
}

#[test]
fn comments_name_headings_that_exist() {
    let page = Page::read();
    let comments = comments();
    let mut count = 0;
    let mut wrong = Vec::new();
    for comment in &comments {
        for heading in links(&comment.text) {
            count += 1;
            if !page.headings().contains(heading) {
                wrong.push(format!("{}:{}: {heading:?}", comment.path, comment.line));
            }
        }
    }
    assert!(count > 0, "no comment refers to docs/protocol.md");
    assert!(
        wrong.is_empty(),
        "these headings are not in docs/protocol.md:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn comments_refer_to_the_page_and_not_to_a_contract() {
    let comments = comments().into_iter().filter(|comment| {
        let may_use = MAY_USE_OLD_WORD.iter();
        let mut may_use = may_use.map(Path::new);
        !may_use.any(|folder| Path::new(&comment.path).starts_with(folder))
            // This file explains the word.
            && comment.path != "tests/tests/protocol_document/links.rs"
    });
    let wrong: Vec<_> = comments
        .filter(|comment| comment.text.to_lowercase().contains(OLD_WORD))
        .map(|comment| format!("{}:{}: {}", comment.path, comment.line, comment.text))
        .collect();
    assert!(
        wrong.is_empty(),
        "name the heading instead, as `docs/protocol.md, \"Close codes\"`:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn a_link_may_be_wrapped_and_code_is_no_comment() {
    let text = "//! One (docs/protocol.md,\n//! \"Close codes\").\n\
                let url = \"http://x\"; // two\nf();\n/// three\n";
    let comments = comments_of("a.rs", text);
    let seen: Vec<_> = comments.iter().map(|c| (c.line, c.text.as_str())).collect();
    let first = "One (docs/protocol.md, \"Close codes\").";
    assert_eq!(seen, [(1, first), (3, "two"), (5, "three")]);
    assert_eq!(links(first), ["Close codes"]);
}

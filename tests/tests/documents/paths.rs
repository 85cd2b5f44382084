//! Paths of the repository in backticks.

use std::path::{Path, PathBuf};

use crate::{documents, report, root};

/// Entries of the root that exist on some machines only.
const NOT_OURS: [&str; 3] = [".git", "data", "target"];

/// The folders to which a path in a document may be relative: the root, the folder of the document,
/// and the folder of the crates.
fn bases(document: &str) -> [PathBuf; 3] {
    let root = root();
    let folder = root.join(document);
    let folder = folder.parent().expect("a file has a folder").to_owned();
    let crates = root.join("services");
    [root, folder, crates]
}

/// The path of the repository that a text in backticks begins with, if it does.
fn repository_path<'a>(span: &'a str, bases: &[PathBuf]) -> Option<&'a str> {
    let word = span.split_whitespace().next()?;
    let path = word.trim_end_matches(['/', ',', '.', ':']);
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-*{},…".contains(c);
    let (first, _) = word.split_once('/')?;
    if NOT_OURS.contains(&first) || !path.chars().all(is_plain) {
        return None;
    }
    let is_name = first.chars().any(char::is_alphanumeric);
    let is_entry = is_name && bases.iter().any(|base| base.join(first).is_dir());
    let is_source = is_name && path.ends_with(".rs");
    (is_source || is_entry).then_some(path)
}

/// Whether the path exists. A component that is a pattern, or a placeholder in capitals, ends it.
fn exists(path: &str, folder: &Path) -> bool {
    let is_placeholder = |part: &str| {
        let is_word = part.chars().all(|c| c.is_ascii_uppercase() || c == '_');
        is_word || part.contains(['*', '{', '…']) || part.contains("...")
    };
    let mut reached = folder.to_owned();
    for part in path.split('/') {
        let next = reached.join(part);
        if !next.exists() {
            return reached != folder && is_placeholder(part);
        }
        reached = next;
    }
    true
}

#[test]
fn paths_in_backticks_exist() {
    let (mut count, mut mistakes) = (0, Vec::new());
    for document in documents() {
        let bases = bases(&document.path);
        for span in &document.spans {
            let Some(path) = repository_path(&span.value, &bases) else {
                continue;
            };
            count += 1;
            if !bases.iter().any(|base| exists(path, base)) {
                let place = document.place(span.line);
                mistakes.push(format!("{place}: {path} does not exist"));
            }
        }
    }
    report(count, "paths in backticks", &mistakes);
}

#[test]
fn a_missing_path_is_a_mistake_and_other_texts_are_no_paths() {
    let bases = bases("tests/README.md");
    let path = |span| repository_path(span, &bases);
    for other in [
        "/v1/executions",
        "GET /x",
        "a/b",
        "text/plain",
        "target/debug/x",
        "~/.cache/x",
    ] {
        assert_eq!(path(other), None, "{other}");
    }
    for (span, is_right) in [
        ("services/bridge/src/", true),
        ("src/stand_in/script.rs", true),
        ("fuzz/corpus/TARGET", true),
        ("docs/*.md", true),
        ("scripts/test pure", true),
        ("bridge/src/session.rs", true),
        ("services/brigde", false),
        ("scripts/tset pure", false),
        ("session/nowhere.rs", false),
    ] {
        let path = path(span).unwrap_or_else(|| panic!("{span} is a path"));
        let found = bases.iter().any(|base| exists(path, base));
        assert_eq!(found, is_right, "{span}");
    }
}

//! Paths of the repository in backticks.

use std::path::Path;

use crate::{documents, report, root};

/// Entries of the root that exist on some machines only.
const NOT_OURS: [&str; 3] = [".git", "data", "target"];

/// A path of the repository that `span` names, or none. `folder` is the folder of the document, to
/// which a path may be relative.
fn repository_path<'a>(span: &'a str, root: &Path, folder: &Path) -> Option<&'a str> {
    let word = span.split_whitespace().next()?;
    let path = word.trim_end_matches(['/', ',', '.', ':']);
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-*{},…".contains(c);
    let (first, _) = word.split_once('/')?;
    if first.is_empty() || NOT_OURS.contains(&first) || !path.chars().all(is_plain) {
        return None;
    }
    let is_entry = |folder: &Path| {
        let is_name = first.chars().any(char::is_alphanumeric);
        is_name && folder.join(first).is_dir()
    };
    let is_source = path.ends_with(".rs");
    (is_source || is_entry(root) || is_entry(folder)).then_some(path)
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
    let root = root();
    let (mut count, mut mistakes) = (0, Vec::new());
    for document in documents() {
        let folder = root.join(&document.path);
        let folder = folder.parent().expect("a file has a folder");
        for span in &document.spans {
            let Some(path) = repository_path(&span.value, &root, folder) else {
                continue;
            };
            count += 1;
            if !exists(path, &root) && !exists(path, folder) {
                let place = document.place(span.line);
                mistakes.push(format!("{place}: {path} does not exist"));
            }
        }
    }
    report(count, "paths in backticks", &mistakes);
}

#[test]
fn a_missing_path_is_a_mistake_and_other_texts_are_no_paths() {
    let root = root();
    let path = |span| repository_path(span, &root, &root.join("tests"));
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
        ("services/brigde", false),
        ("scripts/tset pure", false),
        ("session/nowhere.rs", false),
    ] {
        let path = path(span).unwrap_or_else(|| panic!("{span} is a path"));
        let found = exists(path, &root) || exists(path, &root.join("tests"));
        assert_eq!(found, is_right, "{span}");
    }
}

//! The Markdown documents of this repository against the repository: links, paths, commands with
//! their options, environment variables, and code blocks.
//!
//! Each check reads every document and reports all mistakes at once, as `FILE:LINE: mistake`.

mod cargo;
mod code_blocks;
mod commands;
mod links;
mod markdown;
mod paths;
mod programs;
mod shell;
mod variables;

use std::path::{Path, PathBuf};

use markdown::Document;

/// The documents that a reader expects. The checks also read every other Markdown file.
const EXPECTED: [&str; 12] = [
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "docs/architecture.md",
    "docs/development.md",
    "docs/mcp.md",
    "docs/questions.md",
    "docs/operations.md",
    "docs/protocol.md",
    "docs/python.md",
    "tests/README.md",
];

/// The root of the repository.
fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    root.canonicalize().expect("the repository exists")
}

/// All Markdown files of this checkout, sorted by path.
fn documents() -> Vec<Document> {
    let root = root();
    let mut paths = Vec::new();
    find(&root, &mut paths);
    paths.sort();
    let documents = paths.iter().map(|path| {
        let text = std::fs::read_to_string(path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let path = path
            .strip_prefix(&root)
            .expect("the path is below the root");
        Document::parse(&path.to_string_lossy(), &text)
    });
    documents.collect()
}

/// Collects the Markdown files below `folder`, except in build folders and hidden ones.
fn find(folder: &Path, paths: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(folder);
    let entries = entries.unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for entry in entries {
        let path = entry.expect("a folder can be read").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with('.') || name == "target" || name == "data" {
            continue;
        }
        if path.is_dir() {
            find(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            paths.push(path);
        }
    }
}

/// Fails with all mistakes, or when the check found nothing to look at.
fn report(count: usize, subject: &str, mistakes: &[String]) {
    assert!(count > 0, "no document has {subject}");
    assert!(
        mistakes.is_empty(),
        "{} of {count} {subject} are wrong:\n{}",
        mistakes.len(),
        mistakes.join("\n")
    );
}

#[test]
fn the_expected_documents_exist() {
    let documents = documents();
    let exists = |path: &&str| documents.iter().any(|document| document.path == **path);
    let missing: Vec<_> = EXPECTED.iter().filter(|path| !exists(path)).collect();
    assert!(missing.is_empty(), "missing documents: {missing:?}");
    assert!(root().join("LICENSE").exists(), "LICENSE is missing");
}

//! Environment variables.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::{documents, report, root};

/// The prefixes of the product's variables.
const PREFIXES: [&str; 3] = ["CCB_", "BRIDGE_", "CLAUDE_API_"];

/// The folders and files that read or pass a variable. The files of Compose are added.
const SOURCES: [&str; 7] = [
    "services",
    "clients",
    "tests",
    "fuzz",
    "scripts",
    ".ci",
    "Dockerfile",
];

/// The names of variables in a text. A name that ends with `_` is a prefix and no variable.
fn variables(text: &str) -> impl Iterator<Item = &str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(move |c| !is_part(c));
    words.filter(|word| {
        let rest = PREFIXES.iter().find_map(|prefix| word.strip_prefix(prefix));
        rest.is_some_and(|rest| {
            let is_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
            !rest.is_empty() && rest.chars().all(is_name) && !rest.ends_with('_')
        })
    })
}

/// Collects the variables that the sources name. Documents, and these checks, do not count.
fn collect(path: &Path, names: &mut BTreeSet<String>) {
    let skipped = ["target", "documents", "corpus"];
    if path
        .file_name()
        .is_some_and(|name| skipped.iter().any(|s| name == *s))
    {
        return;
    }
    if path.is_dir() {
        for entry in path.read_dir().expect("a folder can be read") {
            collect(&entry.expect("a folder can be read").path(), names);
        }
    } else if path.extension().is_none_or(|extension| extension != "md") {
        let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let text = String::from_utf8_lossy(&bytes);
        names.extend(variables(&text).map(str::to_owned));
    }
}

/// The files of Compose: `compose.yaml`, and those with a word more in their names.
fn files_of_compose() -> Vec<PathBuf> {
    let entries = root().read_dir().expect("the root can be read");
    let paths = entries.map(|entry| entry.expect("the root can be read").path());
    let is_compose = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("compose.") && name.ends_with(".yaml")
    };
    paths.filter(is_compose).collect()
}

#[test]
fn variables_exist_in_the_sources() {
    let mut known = BTreeSet::new();
    for source in SOURCES {
        collect(&root().join(source), &mut known);
    }
    let of_compose = files_of_compose();
    assert!(!of_compose.is_empty(), "no file of Compose was found");
    for file in of_compose {
        collect(&file, &mut known);
    }
    let (mut count, mut mistakes) = (0, Vec::new());
    for document in documents() {
        for (line, text) in (1..).zip(document.text.lines()) {
            for name in variables(text) {
                count += 1;
                if !known.contains(name) {
                    let place = document.place(line);
                    mistakes.push(format!("{place}: no source knows the variable {name}"));
                }
            }
        }
    }
    report(count, "environment variables", &mistakes);
}

#[test]
fn a_prefix_is_no_variable() {
    let text = "`CCB_WS`, CLAUDE_API_... and $BRIDGE_PORT=1; XCCB_A, CCB_a, CCB_";
    let found: Vec<_> = variables(text).collect();
    assert_eq!(found, ["CCB_WS", "BRIDGE_PORT"]);
}

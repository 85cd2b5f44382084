//! Relative links and their anchors.

use std::path::Path;

use crate::markdown::Document;
use crate::{documents, report, root};

/// The mistake of a link, if it has one.
fn mistake(document: &Document, target: &str, documents: &[Document]) -> Option<String> {
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let folder = Path::new(&document.path)
        .parent()
        .expect("a file has a folder");
    let path = match path {
        "" => document.path.clone(),
        path => match normal(&folder.join(path)) {
            Some(path) => path,
            None => return Some(format!("{target:?} leaves the repository")),
        },
    };
    if !root().join(&path).exists() {
        return Some(format!("{path} does not exist"));
    }
    if anchor.is_empty() {
        return None;
    }
    let other = documents.iter().find(|other| other.path == path);
    let has_anchor = other.is_some_and(|other| other.anchors.iter().any(|a| a == anchor));
    (!has_anchor).then(|| format!("{path} has no heading with the anchor #{anchor}"))
}

/// The path without `..`; none when it leads out of the repository.
fn normal(path: &Path) -> Option<String> {
    let mut parts = Vec::new();
    for part in path.iter() {
        match part.to_str()? {
            ".." => drop(parts.pop()?),
            "." => {}
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[test]
fn relative_links_lead_to_files_and_headings_that_exist() {
    let documents = documents();
    let (mut count, mut mistakes) = (0, Vec::new());
    for document in &documents {
        for link in &document.links {
            if link.value.contains("://") || link.value.starts_with("mailto:") {
                continue;
            }
            count += 1;
            if let Some(mistake) = mistake(document, &link.value, &documents) {
                mistakes.push(format!("{}: {mistake}", document.place(link.line)));
            }
        }
    }
    report(count, "relative links", &mistakes);
}

#[test]
fn a_link_to_a_missing_file_or_heading_is_a_mistake() {
    let documents = [
        Document::parse("docs/mcp.md", "# MCP\n"),
        Document::parse("README.md", "# A title\n"),
    ];
    let mistake = |target| mistake(&documents[0], target, &documents);
    for right in [
        "#mcp",
        "../README.md",
        "../README.md#a-title",
        "../services",
        "mcp.md",
    ] {
        assert_eq!(mistake(right), None, "{right}");
    }
    for wrong in [
        "#mpc",
        "README.md",
        "../README.md#title",
        "../nowhere",
        "../../x.md",
    ] {
        assert!(mistake(wrong).is_some(), "{wrong}");
    }
}

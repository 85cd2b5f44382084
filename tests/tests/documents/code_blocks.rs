//! Code blocks: every fence is closed, Mermaid names a diagram, Python compiles.
//!
//! `scripts/lib/basic-check readme_python` runs the Python example of the README.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::markdown::Block;
use crate::{documents, report};

/// The words that begin a Mermaid diagram (mermaid.js.org, "Diagram Syntax").
const DIAGRAMS: [&str; 9] = [
    "flowchart",
    "graph",
    "sequenceDiagram",
    "stateDiagram",
    "stateDiagram-v2",
    "classDiagram",
    "erDiagram",
    "timeline",
    "gantt",
];

/// The mistake of a Mermaid block, if it has one.
fn mermaid_mistake(text: &str) -> Option<String> {
    let lines = text.lines().map(str::trim);
    let mut lines = lines.filter(|line| !line.is_empty() && !line.starts_with("%%"));
    let first = lines.next().unwrap_or_default();
    let word = first.split_whitespace().next().unwrap_or_default();
    if !DIAGRAMS.contains(&word) {
        return Some(format!("a Mermaid diagram does not begin with {word:?}"));
    }
    // Groups of a flowchart or of a sequence end with `end`, states that hold states with `}`.
    let groups = [
        "loop", "alt", "opt", "par", "rect", "critical", "break", "box",
    ];
    let depth = lines.fold(0_i32, |depth, line| {
        let first = line.split_whitespace().next().unwrap_or_default();
        let is_group = word == "sequenceDiagram" && groups.contains(&first);
        let opens = first == "subgraph" || is_group || line.ends_with('{');
        let closes = line == "end" || line == "}";
        depth + i32::from(opens) - i32::from(closes)
    });
    (depth != 0).then(|| "a group of the Mermaid diagram is not closed".to_owned())
}

/// The mistake of a Python block, if it has one.
fn python_mistake(text: &str) -> Option<String> {
    // As `python3 -m py_compile`, without a file.
    let code = "import sys; compile(sys.stdin.read(), 'block', 'exec')";
    let mut child = Command::new("python3")
        .args(["-c", code])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("python3 is installed");
    let mut stdin = child.stdin.take().expect("stdin is a pipe");
    stdin.write_all(text.as_bytes()).expect("python3 reads it");
    drop(stdin);
    let output = child.wait_with_output().expect("python3 ends");
    let error = String::from_utf8_lossy(&output.stderr);
    let last = error.lines().last().unwrap_or_default();
    (!output.status.success()).then(|| format!("the Python code does not compile: {last}"))
}

fn mistake(block: &Block) -> Option<String> {
    if !block.is_closed {
        return Some("the code block is not closed".to_owned());
    }
    match block.language.as_str() {
        "mermaid" => mermaid_mistake(&block.text),
        "python" => python_mistake(&block.text),
        _ => None,
    }
}

#[test]
fn code_blocks_are_closed_and_sound() {
    let (mut count, mut mistakes) = (0, Vec::new());
    for document in documents() {
        for block in &document.blocks {
            count += 1;
            if let Some(mistake) = mistake(&block.value) {
                mistakes.push(format!("{}: {mistake}", document.place(block.line)));
            }
        }
    }
    report(count, "code blocks", &mistakes);
}

#[test]
fn the_readme_has_a_diagram_and_a_python_example() {
    let documents = documents();
    let readme = documents
        .iter()
        .find(|document| document.path == "README.md");
    let blocks = &readme.expect("there is a README").blocks;
    for language in ["mermaid", "python"] {
        let found = blocks
            .iter()
            .filter(|block| block.value.language == language);
        assert_eq!(found.count(), 1, "blocks of {language}");
    }
}

#[test]
fn a_block_that_is_not_sound_is_a_mistake() {
    let block = |language: &str, text: &str| Block {
        language: language.to_owned(),
        text: text.to_owned(),
        is_closed: true,
    };
    for right in [
        block(
            "mermaid",
            "flowchart LR\n  subgraph a\n    b --> c\n  end\n",
        ),
        block(
            "mermaid",
            "%% why\nstateDiagram-v2\n  state a {\n    b --> c\n  }\n",
        ),
        block("python", "def f():\n    return 1\n"),
        block("", "anything ("),
    ] {
        assert_eq!(mistake(&right), None);
    }
    for wrong in [
        block("mermaid", "flowchat LR\n"),
        block("mermaid", "flowchart LR\n  subgraph a\n"),
        block("python", "def f()\n    return 1\n"),
    ] {
        assert!(mistake(&wrong).is_some(), "{wrong:?}");
    }
}

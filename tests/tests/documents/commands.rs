//! Commands in code blocks and in backticks: scripts, our programs and cargo, with their options.

use crate::markdown::{Block, Document};
use crate::programs::Programs;
use crate::shell::commands;
use crate::{cargo, documents, report};

/// The programs of the workspace whose help the check reads.
const PROGRAMS: [&str; 4] = ["ccb", "claude-api", "bridge", "scripted-model"];

/// The languages of code blocks that hold no commands.
const OTHER_LANGUAGES: [&str; 6] = ["json", "mermaid", "python", "rust", "toml", "yaml"];

/// The texts of a document that may hold commands, with their first lines.
fn texts(document: &Document) -> impl Iterator<Item = (usize, &str)> {
    let may_hold = |block: &Block| !OTHER_LANGUAGES.contains(&block.language.as_str());
    let blocks = document
        .blocks
        .iter()
        .filter(move |block| may_hold(&block.value));
    // The text of a fenced block begins after its fence.
    let blocks = blocks.map(move |block| {
        let is_indented = document.text.lines().nth(block.line - 1);
        let is_indented = is_indented.is_some_and(|line| line.starts_with("    "));
        (
            block.line + usize::from(!is_indented),
            block.value.text.as_str(),
        )
    });
    let spans = document
        .spans
        .iter()
        .map(|span| (span.line, span.value.as_str()));
    blocks.chain(spans)
}

/// Checks one command; none when it is no command of ours.
fn check(programs: &mut Programs, words: &[String]) -> Option<Result<(), String>> {
    let (program, arguments) = words.split_first()?;
    let program = program.strip_prefix("./").unwrap_or(program);
    if let Some(script) = program.strip_prefix("scripts/") {
        // The scripts of lib are checked as paths.
        return (!script.contains('/')).then(|| programs.check_script(script, arguments));
    }
    let name = program.strip_prefix("target/debug/").unwrap_or(program);
    if PROGRAMS.contains(&name) {
        return Some(programs.check(name, arguments));
    }
    (name == "cargo").then(|| cargo::check(arguments))
}

#[test]
fn commands_and_their_options_exist() {
    let mut programs = Programs::default();
    let (mut count, mut mistakes) = (0, Vec::new());
    for document in documents() {
        for (first_line, text) in texts(&document) {
            for command in commands(text) {
                let Some(result) = check(&mut programs, command.program()) else {
                    continue;
                };
                count += 1;
                if let Err(mistake) = result {
                    let place = document.place(first_line + command.line - 1);
                    mistakes.push(format!("{place}: {mistake}"));
                }
            }
        }
    }
    report(count, "commands", &mistakes);
}

#[test]
fn commands_are_found_in_blocks_and_in_backticks() {
    let text = "# A\n\n    A=1 scripts/up --demo   # starts\n\nand `ccb exec`:\n\n\
                ```sh\nx | ccb list\n```\n";
    let document = Document::parse("a.md", text);
    let found = texts(&document).flat_map(|(line, text)| {
        let commands = commands(text).into_iter();
        commands.map(move |command| (line + command.line - 1, command.program().join(" ")))
    });
    let found: Vec<_> = found.collect();
    let found: Vec<_> = found
        .iter()
        .map(|(line, words)| (*line, words.as_str()))
        .collect();
    let expected = [
        (3, "scripts/up --demo"),
        (8, "x"),
        (8, "ccb list"),
        (5, "ccb exec"),
    ];
    assert_eq!(found, expected);
}

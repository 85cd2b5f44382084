//! The corpus of the fuzz target `event_lines` (scripts/fuzz), and the captures of the CLI, through
//! the same checks.

#[path = "../../../fuzz/src/event_lines.rs"]
#[allow(unreachable_pub, reason = "the fuzz crate shares it")]
mod event_lines;

#[test]
fn what_holds_for_any_lines_holds_for_the_corpus() {
    let mut seen = 0;
    for folder in ["../../fuzz/corpus/event_lines", "tests/fixtures"] {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        for file in std::fs::read_dir(folder).expect("a corpus") {
            event_lines::check(&std::fs::read(file.expect("a file").path()).expect("readable"));
            seen += 1;
        }
    }
    assert!(seen > 40, "{seen} files");
}

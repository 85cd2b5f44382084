//! Runs the checks of the fuzz target `event_lines` (scripts/fuzz) on its corpus and on the
//! captures of the CLI.

#[path = "../../../fuzz/src/event_lines.rs"]
#[allow(unreachable_pub, reason = "the fuzz crate shares this file")]
mod event_lines;

#[test]
fn the_fuzz_checks_pass_on_the_corpus_and_the_captures() {
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

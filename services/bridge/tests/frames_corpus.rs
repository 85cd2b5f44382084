//! Runs the check of the fuzz target `frames` (scripts/fuzz) on its corpus.

#[path = "../../../fuzz/src/frames.rs"]
#[allow(unreachable_pub, reason = "the fuzz crate shares it")]
mod frames;

#[test]
fn every_frame_of_the_corpus_passes_the_check() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/frames");
    let mut frames = 0;
    for file in std::fs::read_dir(folder).expect("a corpus") {
        frames::check(&std::fs::read(file.expect("a file").path()).expect("readable"));
        frames += 1;
    }
    assert!(frames > 20, "{frames} frames");
}

//! Runs the check of the fuzz target `messages` (scripts/fuzz) on its corpus.

#[path = "../../../fuzz/src/messages.rs"]
#[allow(unreachable_pub, reason = "the fuzz crate shares it")]
mod messages;

#[test]
fn every_frame_of_the_corpus_passes_the_check() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/messages");
    let mut frames = 0;
    for file in std::fs::read_dir(folder).expect("a corpus") {
        messages::check(&std::fs::read(file.expect("a file").path()).expect("readable"));
        frames += 1;
    }
    assert!(frames > 20, "{frames} frames");
}

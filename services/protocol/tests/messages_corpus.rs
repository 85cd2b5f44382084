//! The corpus of the fuzz target `messages` (scripts/fuzz): what was found once stays mended.

#[path = "../../../fuzz/src/messages.rs"]
#[allow(unreachable_pub, reason = "the fuzz crate shares it")]
mod messages;

#[test]
fn what_holds_for_any_frame_holds_for_the_corpus() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/messages");
    let mut seen = 0;
    for file in std::fs::read_dir(folder).expect("a corpus") {
        messages::check(&std::fs::read(file.expect("a file").path()).expect("readable"));
        seen += 1;
    }
    assert!(seen > 20, "{seen} frames");
}

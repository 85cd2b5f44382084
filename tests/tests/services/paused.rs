//! N1: a pause is a state of the execution, not of the session that asked for it.

use cc_tests::harness::{Stack, processes};
use serde_json::json;

use crate::support::exists;

#[tokio::test]
async fn n1_a_paused_one_is_cancelled_by_who_comes_after_a_crash_of_the_bridge() {
    let mut stack = Stack::start().await;
    let mut client = stack.client().await;
    // The tree is there once it counts.
    let count = stack.path("tmp").join("count");
    let prompt = format!("@say a\n@tree 3 {}\n@tool 60", count.display());
    let id = client.start(&prompt).await;
    exists(&count).await;
    client.control("PAUSE", Some(&id)).await.expect("accepted");
    client.wait_status(&id, "PAUSED").await;
    client.vanish();
    stack.crash_bridge().await;
    // It outlives the bridge as it is: all of it stands.
    let tree = processes::marked(&id);
    assert!(
        tree.len() > 3 && tree.iter().all(|process| process.state == 'T'),
        "{tree:#?}"
    );
    let mut late = stack.client().await;
    let seen = late.attach(&id, None).await.expect("attached");
    assert_eq!(seen["state"], "paused", "{seen}");
    late.wait_status(&id, "PAUSED").await;
    // Without an id: the one that this session looks at.
    late.control("CANCEL", None).await.expect("accepted");
    let (output, end) = late.wait_terminal(&id).await;
    assert_eq!(
        (&end["status"], output.as_slice()),
        (&json!("CANCELLED"), &b"a"[..]),
        "{end}"
    );
    stack.assert_nothing_left(&id).await;
    late.finish().await;
    stack.assert_quiet();
}

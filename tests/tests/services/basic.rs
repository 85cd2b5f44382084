//! One prompt through both hops.

use cc_tests::harness::Stack;
use serde_json::json;

#[tokio::test]
async fn s2_a_prompt_runs_end_to_end() {
    let stack = Stack::start().await;
    let mut client = stack.client().await;
    let (output, status) = client.run("@say hello from the stand-in").await;
    assert_eq!(String::from_utf8_lossy(&output), "hello from the stand-in");
    assert_eq!(
        (&status["status"], &status["exitCode"]),
        (&json!("COMPLETED"), &json!(0))
    );
    let id = status["executionId"].as_str().expect("an id");
    assert_eq!(stack.spawns(id), 1);
    let stream = stack
        .http()
        .output(id, 0)
        .await
        .expect("the output can be fetched");
    stream.assert_whole("completed");
    assert_eq!(stream.bytes, output);
    client.finish().await;
    stack.assert_quiet();
}

#[tokio::test]
async fn f6_the_prompt_arrives_byte_for_byte_and_is_in_no_argument() {
    let stack = Stack::start().await;
    let mut client = stack.client().await;
    let secret = uuid::Uuid::new_v4().to_string();
    let line = format!("--flag /cost @/etc/passwd {secret} \u{1F600}\n");
    let prompt = format!(
        "@echo-digest\n@argv\n{}",
        line.repeat((4 << 20) / line.len() - 1)
    );
    let (output, _) = client.run(&prompt).await;
    let output = String::from_utf8(output).expect("UTF-8");
    let digest = ring::digest::digest(&ring::digest::SHA256, prompt.as_bytes());
    assert!(
        output.starts_with(&format!(
            "bytes={} sha256={}",
            prompt.len(),
            cc_tests::hex(digest.as_ref())
        )),
        "{output}"
    );
    assert!(!output.contains(&secret), "{output}");
    client.finish().await;
    stack.assert_quiet();
}

#[tokio::test]
async fn s11_executions_of_a_session_run_in_order() {
    let stack = Stack::start().await;
    let mut client = stack.client().await;
    let mut ids = Vec::new();
    for number in 0..3 {
        ids.push(client.start(&format!("@silence 0.2\n@say {number}")).await);
    }
    let mut spans = Vec::new();
    for id in &ids {
        let (_, status) = client.wait_terminal(id).await;
        assert_eq!(status["status"], "COMPLETED");
        spans.push((status["startedAt"].clone(), status["endedAt"].clone()));
    }
    for pair in spans.windows(2) {
        let (end, start) = (
            pair[0].1.as_str().expect("ended"),
            pair[1].0.as_str().expect("started"),
        );
        let at = |text: &str| text.trim_end_matches('Z').to_owned();
        assert!(at(start) >= at(end), "{spans:?}");
    }
    client.finish().await;
    stack.assert_quiet();
}

#[tokio::test]
async fn two_sessions_run_side_by_side() {
    let stack = Stack::start().await;
    let folder = stack.path("tmp");
    let (one, two) = (folder.join("one"), folder.join("two"));
    let mut first = stack.client().await;
    let mut second = stack.client().await;
    // Each execution waits in its tool until it is cancelled, so both must run at the same time.
    let a = first
        .start(&format!("@touch {}\n@tool 60", one.display()))
        .await;
    let b = second
        .start(&format!("@touch {}\n@tool 60", two.display()))
        .await;
    let patience = std::time::Duration::from_secs(20);
    cc_tests::harness::eventually("both to run", patience, || {
        (one.exists() && two.exists()).then_some(())
    })
    .await;
    for (client, id) in [(&mut first, &a), (&mut second, &b)] {
        client.control("CANCEL", Some(id)).await.expect("accepted");
        assert_eq!(client.wait_terminal(id).await.1["status"], "CANCELLED");
        stack.assert_nothing_left(id).await;
    }
    first.finish().await;
    second.finish().await;
    stack.assert_quiet();
}

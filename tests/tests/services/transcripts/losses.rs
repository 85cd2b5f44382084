//! Exchanges in which output is lost or late: gaps, and an unreachable claude-api.

use cc_tests::{
    harness::{Stack, StackOptions},
    ws,
};
use serde_json::{Value, json};

use super::record::Transcript;
use super::scene::Scene;
use crate::support::{accept, id, until};

/// The length of a line of output in these transcripts, in bytes.
const LINE_BYTES: u64 = 8192;
/// A viewer with a small window becomes slow soon.
const WINDOW_BYTES: u32 = 16 * 1024;

/// The params of a message, if it is a gap.
fn gap(message: &ws::Recorded) -> Option<Value> {
    let ws::Recorded::Received(text) = message else {
        return None;
    };
    let mut message: Value = serde_json::from_str(text).ok()?;
    (message["method"] == "gap").then(|| message["params"].take())
}

pub(super) async fn a_slow_viewer_with_skip() -> Transcript {
    let lines = 2000;
    let options = StackOptions::default().bridge("--skip-bytes=65536");
    let scene = Scene::with(options).await;
    let go = scene.gate();
    let prompt = format!("{}\n@volume {lines} {LINE_BYTES}", go.wait());
    let id = scene.running(&prompt, json!({})).await;
    let options = ws::Options {
        receive_buffer: Some(WINDOW_BYTES),
        ..ws::Options::default()
    };
    let mut session = scene.session_with(options).await;
    let params = json!({"executionId": id, "onSlow": "skip"});
    session
        .client
        .call("attach", params)
        .await
        .expect("attached");
    session.client.wait_status(&id, "RUNNING").await;
    session.client.read(false);
    go.open();
    until(&scene.stack.http(), &id, "completed", |status| {
        status["state"] == "completed"
    })
    .await;
    session.client.read(true);
    session.client.wait_terminal(&id).await;
    let mut messages = session.messages();
    let mut gaps: Vec<Value> = messages.iter().filter_map(gap).collect();
    // The number of gaps depends on the kernel: the viewer may read some bytes between drops.
    let last = gaps.pop().expect("a gap");
    messages.retain(|message| gap(message).is_none_or(|gap| gap == last));
    let mut transcript = scene.transcript();
    transcript.hides_content = true;
    for (name, shown) in [("from", 1_000_000), ("to", 16_000_000)] {
        let real = last[name].as_u64().expect("an offset");
        transcript.names.number(real, shown);
    }
    transcript.session(&messages);
    transcript
}

pub(super) async fn output_that_is_no_longer_kept() -> Transcript {
    let lines = 200;
    let options = StackOptions::default().api("--kept-bytes=65536");
    let scene = Scene::with(options).await;
    let id = id();
    let prompt = format!("@volume {lines} {LINE_BYTES}");
    accept(&scene.stack.http(), &id, &prompt, json!({})).await;
    let end = crate::support::ended(&scene.stack.http(), &id).await;
    let kept = end["keptFrom"].as_u64().expect("an offset");
    let mut session = scene.session().await;
    let error = session.client.attach(&id, Some(10)).await;
    assert_eq!(
        error.expect_err("not kept")["data"]["keptFrom"],
        json!(kept)
    );
    session.client.attach(&id, None).await.expect("attached");
    session.client.wait_terminal(&id).await;
    let mut transcript = scene.transcript();
    transcript.hides_content = true;
    transcript.names.number(kept, 1_500_000);
    let message = format!("before {kept} ");
    transcript.names.text(message, "before 1500000 ");
    transcript.session(&session.messages());
    transcript
}

pub(super) async fn claude_api_is_unreachable() -> Transcript {
    let options = StackOptions::default().api("--heartbeat-ms=500");
    let mut scene = Scene::with(options).await;
    let go = scene.gate();
    let id = scene
        .written(&format!("@say Hello\n{}", go.wait()), 5)
        .await;
    let mut session = scene.session().await;
    session.attach(&id, Some(5)).await;
    let Scene {
        stack: Stack { api, .. },
    } = &mut scene;
    api.kill();
    session.client.wait_notice("upstream_unreachable").await;
    let is_unreachable = |update: &Value| update["upstream"] == "unreachable";
    session.client.wait_updates(&id, 1, is_unreachable).await;
    api.start_again().await;
    session.client.wait_terminal(&id).await;
    scene.transcript_of(&session)
}

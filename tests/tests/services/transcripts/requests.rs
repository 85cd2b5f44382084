//! Requests that begin no view, and the first message of a session.

use serde_json::json;

use super::record::Transcript;
use super::scene::{Scene, VERSION};

pub(super) async fn connected() -> Transcript {
    let scene = Scene::start().await;
    let mut session = scene.session().await;
    let mut transcript = scene.transcript();
    transcript.names.session(&session.client.session_id());
    transcript.names.text(env!("CARGO_PKG_VERSION"), VERSION);
    session
        .client
        .call("ping", json!({}))
        .await
        .expect("a pong");
    transcript.session(&session.client.recorded());
    transcript
}

pub(super) async fn status() -> Transcript {
    let scene = Scene::start().await;
    let metadata = json!({"metadata": {"ticket": "7"}});
    let id = scene.ended("@say Hello", metadata).await;
    let mut session = scene.session().await;
    let answer = session
        .client
        .call("status", json!({"executionId": id}))
        .await;
    answer.expect("a status");
    let mut transcript = scene.transcript();
    transcript.whole = true;
    transcript.session(&session.messages());
    transcript
}

pub(super) async fn list_by_pages() -> Transcript {
    let scene = Scene::start().await;
    for text in ["one", "two", "three"] {
        scene.ended(&format!("@say {text}"), json!({})).await;
    }
    let mut session = scene.session().await;
    let page = session.client.call("list", json!({"limit": 2})).await;
    let next = page.expect("a page")["next"].clone();
    let rest = json!({"limit": 2, "before": next});
    let page = session.client.call("list", rest).await;
    assert_eq!(page.expect("a page")["next"], json!(null));
    scene.transcript_of(&session)
}

pub(super) async fn events() -> Transcript {
    let scene = Scene::start().await;
    let id = scene.ended("@say Hello", json!({})).await;
    let mut session = scene.session().await;
    let ask =
        |offset: u64, most: u64| json!({"executionId": id, "offset": offset, "maxBytes": most});
    let part = session.client.call("events", ask(0, 35)).await;
    part.expect("a part");
    // The rest is asked for outside of the transcript: its length depends on the run.
    let mut other = scene.session().await;
    let rest = other.client.call("events", ask(35, 500_000)).await;
    let rest = rest.expect("a part");
    assert_eq!(rest["ended"], json!(true), "{rest}");
    let end = rest["nextOffset"].as_u64().expect("an offset");
    let part = session.client.call("events", ask(end, 64)).await;
    assert_eq!(part.expect("a part")["text"], json!(""));
    let mut transcript = scene.transcript();
    transcript.names.number(end, 4000);
    transcript.session(&session.messages());
    transcript
}

pub(super) async fn input() -> Transcript {
    let scene = Scene::start().await;
    let id = scene
        .running("@say Hello", json!({"input": "stream"}))
        .await;
    let mut session = scene.session().await;
    let message = json!({"role": "user", "content": "And now?"});
    let line = format!("{}\n", json!({"type": "user", "message": message}));
    let input = |offset: u64| json!({"executionId": id, "offset": offset, "data": line});
    let length = line.len() as u64;
    // The second time is a retry: it changes nothing.
    for _ in 0..2 {
        let answer = session.client.call("input", input(0)).await;
        assert_eq!(answer, Ok(json!({"accepted": length})));
    }
    let hole = session.client.call("input", input(length + 1)).await;
    hole.expect_err("a hole");
    let end = json!({"executionId": id, "offset": length, "data": "", "eof": true});
    session.client.call("input", end).await.expect("the end");
    let transcript = scene.transcript_of(&session);
    crate::support::ended(&scene.stack.http(), &id).await;
    transcript
}

pub(super) async fn a_batch() -> Transcript {
    let scene = Scene::start().await;
    let id = scene.ended("@say Hello", json!({})).await;
    let mut session = scene.session().await;
    let request = |id: &str, method: &str, params| {
        let mut request = json!({"jsonrpc": "2.0", "id": id, "method": method});
        request["params"] = params;
        request
    };
    let batch = json!([
        request("a", "status", json!({"executionId": id})),
        request("b", "ping", json!({})),
        request("c", "undo", json!({})),
    ]);
    session.client.send_text(&batch.to_string()).await;
    session.client.wait_without_id().await;
    scene.transcript_of(&session)
}

pub(super) async fn requests_without_an_id() -> Transcript {
    let scene = Scene::start().await;
    let mut session = scene.session().await;
    session.client.notify("ping", json!({})).await;
    session
        .client
        .notify("control", json!({"type": "STOP"}))
        .await;
    session.client.wait_notice("rejected").await;
    session
        .client
        .notify("execute", json!({"prompt": ""}))
        .await;
    session.client.wait_rejection().await;
    scene.transcript_of(&session)
}

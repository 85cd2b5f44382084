//! Requests and frames that the bridge refuses; the session lives on.

use cc_tests::ws::Message;
use serde_json::json;

use super::record::Transcript;
use super::scene::Scene;
use crate::bad_ws::error_without_id;
use crate::support::id;

pub(super) async fn refused_requests() -> Transcript {
    let scene = Scene::start().await;
    let known = scene.ended("@say Hello", json!({})).await;
    let unknown = id();
    let mut session = scene.session().await;
    for (method, params) in [
        ("undo", json!({})),
        ("list", json!({"limit": 0})),
        ("list", json!({"size": 5})),
        ("status", json!({"executionId": "7"})),
        ("execute", json!({"prompt": " ", "executionId": known})),
        (
            "execute",
            json!({"prompt": "Say more", "executionId": known}),
        ),
        (
            "execute",
            json!({"prompt": "Say hello", "permissionMode": "bypassPermissions"}),
        ),
        ("attach", json!({"executionId": unknown})),
        ("attach", json!({"executionId": known, "offset": 6})),
        ("control", json!({"type": "CANCEL"})),
        (
            "input",
            json!({"executionId": known, "offset": 0, "data": ""}),
        ),
    ] {
        let answer = session.client.call(method, params).await;
        answer.expect_err("refused");
    }
    scene.transcript_of(&session)
}

pub(super) async fn refused_frames() -> Transcript {
    let scene = Scene::start().await;
    let mut session = scene.session().await;
    let mut transcript = scene.transcript();
    for text in ["{\"jsonrpc\":", "[]", "7"] {
        transcript.line(&format!("-> {text}"));
        session.begin_here();
        error_without_id(&mut session.client, text).await;
        transcript.session(&session.messages());
    }
    transcript.line("-> (a binary frame)");
    session.begin_here();
    session
        .client
        .send_frame(Message::binary(b"{}".to_vec()))
        .await;
    session.client.wait_without_id().await;
    transcript.session(&session.messages());
    transcript
}

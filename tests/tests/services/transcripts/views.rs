//! Views: execute, attach, detach.

use serde_json::json;

use super::record::Transcript;
use super::scene::Scene;
use crate::support::{id, until};

pub(super) async fn execute_to_completed() -> Transcript {
    execute("@say Hello").await
}

pub(super) async fn execute_to_failed() -> Transcript {
    execute("@result 401").await
}

/// Executes a prompt whose last line is `last`, through all of its states.
async fn execute(last: &str) -> Transcript {
    let (scene, place) = Scene::with_one_place().await;
    let mut session = scene.session().await;
    let (id, go) = (id(), scene.gate());
    let prompt = format!("Say hello\n{}\n{last}", go.wait());
    session
        .client
        .execute(&prompt, json!({"executionId": id}))
        .await;
    session.client.wait_status(&id, "QUEUED").await;
    place.open();
    session.client.wait_status(&id, "RUNNING").await;
    go.open();
    session.client.wait_terminal(&id).await;
    scene.transcript_of(&session)
}

pub(super) async fn attach_after_a_cut() -> Transcript {
    let scene = Scene::start().await;
    let go = scene.gate();
    let prompt = format!("@say Hello\n{}\n@say , world", go.wait());
    let id = scene.written(&prompt, 5).await;
    let mut session = scene.session().await;
    session.attach(&id, Some(5)).await;
    go.open();
    session.client.wait_terminal(&id).await;
    scene.transcript_of(&session)
}

pub(super) async fn detach() -> Transcript {
    let scene = Scene::start().await;
    let go = scene.gate();
    let id = scene
        .written(&format!("@say Hello\n{}", go.wait()), 5)
        .await;
    let mut session = scene.session().await;
    session.attach(&id, None).await;
    session.client.wait_output(&id, 5).await;
    let params = json!({"executionId": id});
    let answer = session.client.call("detach", params).await;
    assert_eq!(answer, Ok(json!({})));
    go.open();
    until(&scene.stack.http(), &id, "completed", |status| {
        status["state"] == "completed"
    })
    .await;
    // Nothing of the view stands between the two answers.
    session
        .client
        .call("ping", json!({}))
        .await
        .expect("a pong");
    scene.transcript_of(&session)
}

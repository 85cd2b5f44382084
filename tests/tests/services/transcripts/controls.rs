//! Pause, resume and cancel.

use super::record::Transcript;
use super::scene::Scene;

pub(super) async fn pause_and_resume() -> Transcript {
    let scene = Scene::start().await;
    let go = scene.gate();
    let id = scene
        .written(&format!("@say Hello\n{}", go.wait()), 5)
        .await;
    let mut session = scene.session().await;
    session.attach(&id, Some(5)).await;
    session.begin_here();
    for (control, status) in [("PAUSE", "PAUSED"), ("RESUME", "RESUMED")] {
        let answer = session.client.control(control, Some(&id)).await;
        answer.expect("a status");
        session.client.wait_status(&id, status).await;
    }
    let transcript = scene.transcript_of(&session);
    go.open();
    session.client.wait_terminal(&id).await;
    transcript
}

pub(super) async fn cancel() -> Transcript {
    let scene = Scene::start().await;
    let id = scene.written("@say Hello\n@tool 60", 5).await;
    let mut session = scene.session().await;
    session.attach(&id, Some(5)).await;
    session.begin_here();
    let answer = session.client.control("CANCEL", Some(&id)).await;
    answer.expect("a status");
    session.client.wait_terminal(&id).await;
    scene.transcript_of(&session)
}

//! Pause, resume and cancel.

use cc_tests::harness::StackOptions;

use super::record::Transcript;
use super::scene::Scene;

/// An execution that ends by KILL alone, so that the answer to a cancel has the state before.
pub(super) const SLOW_TO_END: &str = "@ignore-term\n@say Hello\n@tool 60";

/// The options for [`SLOW_TO_END`].
pub(super) fn slow_to_end() -> StackOptions {
    StackOptions::default().api("--kill-ms=1000")
}

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
    let scene = Scene::with(slow_to_end()).await;
    let id = scene.written(SLOW_TO_END, 5).await;
    let mut session = scene.session().await;
    session.attach(&id, Some(5)).await;
    session.begin_here();
    let answer = session.client.control("CANCEL", Some(&id)).await;
    answer.expect("a status");
    session.client.wait_terminal(&id).await;
    scene.transcript_of(&session)
}

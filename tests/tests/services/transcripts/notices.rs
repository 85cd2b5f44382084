//! Notices.

use cc_tests::harness::StackOptions;

use super::record::Transcript;
use super::scene::Scene;

pub(super) async fn notices_about_an_execution() -> Transcript {
    let options = StackOptions::default().api("--stalled-ms=1000");
    let scene = Scene::with(options).await;
    let (retry, end) = (scene.gate(), scene.gate());
    let prompt = format!("{}\n@api-retry 1 529\n{}", retry.wait(), end.wait());
    let id = scene.running(&prompt, serde_json::json!({})).await;
    let mut session = scene.session().await;
    session.attach(&id, None).await;
    retry.open();
    session.client.wait_notice("api_retry").await;
    session.client.wait_notice("stalled").await;
    end.open();
    session.client.wait_terminal(&id).await;
    scene.transcript_of(&session)
}

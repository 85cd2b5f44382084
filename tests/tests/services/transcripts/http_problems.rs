//! Problems over HTTP, and the health of claude-api.

use cc_tests::harness::{self, StackOptions};
use reqwest::Method;
use serde_json::{Value, json};

use super::record::Transcript;
use super::scene::Scene;
use crate::support::{PATIENCE, id, path};

const JSON: [(&str, &str); 1] = [("accept", "application/json")];

pub(super) async fn refused_calls() -> Transcript {
    let scene = Scene::start().await;
    let known = scene.ended("@say Hello", json!({})).await;
    let unknown = id();
    let mut transcript = scene.transcript();
    for (method, path, body) in [
        (
            Method::PUT,
            path(&unknown, ""),
            Some(json!({"prompt": "Say hello", "colour": "red"})),
        ),
        (
            Method::PUT,
            path(&known, ""),
            Some(json!({"prompt": "Say more"})),
        ),
        (Method::GET, path(&unknown, ""), None),
        (Method::GET, path("7", ""), None),
        (Method::GET, path(&known, "/output?offset=6"), None),
        (Method::GET, path(&known, "/output?from=6"), None),
        (
            Method::POST,
            path(&known, "/input?offset=0"),
            Some(json!("{}\n")),
        ),
        (Method::POST, path(&known, ""), None),
    ] {
        let answer = transcript.send(&scene, (method, &path), &JSON, body).await;
        transcript.receive(answer).await;
    }
    let headers = [("host", "example.com")];
    let answer = transcript
        .send(&scene, (Method::GET, "/v1/limits"), &headers, None)
        .await;
    transcript.receive(answer).await;
    transcript
}

pub(super) async fn refused_handshakes() -> Transcript {
    let scene = Scene::start().await;
    let mut transcript = scene.transcript();
    transcript.is_for_the_bridge = true;
    let foreign = [("origin", "https://example.com")];
    for headers in [&[][..], &foreign] {
        let answer = transcript
            .send(&scene, (Method::GET, "/ws"), headers, None)
            .await;
        transcript.receive(answer).await;
    }
    transcript
}

pub(super) async fn a_full_queue() -> Transcript {
    let options = StackOptions::default()
        .api("--running-executions=1")
        .api("--queued=1");
    let scene = Scene::with(options).await;
    let gate = scene.gate();
    scene.running(&gate.wait(), json!({})).await;
    let http = scene.stack.http();
    crate::support::accept(&http, &id(), "@say x", json!({})).await;
    let mut transcript = scene.transcript();
    let body = json!({"prompt": "Say hello"});
    let put = path(&id(), "");
    let answer = transcript
        .send(&scene, (Method::PUT, &put), &JSON, Some(body))
        .await;
    transcript.receive(answer).await;
    transcript
}

pub(super) async fn health() -> Transcript {
    let options = StackOptions {
        claude_bin: Some("/nonexistent/claude".into()),
        ..StackOptions::default()
    };
    let scene = Scene::with(options).await;
    // Until the CLI was checked, the reason is another one.
    let http = scene.stack.http();
    let is_checked = |page: &Value| page["reasons"][0]["code"] == "cli-missing";
    harness::until("a check of the CLI", PATIENCE, async || {
        let (_, page) = http.get("/health/ready").await.expect("an answer");
        is_checked(&page).then_some(())
    })
    .await;
    let mut transcript = scene.transcript();
    for page in ["/health/live", "/health/ready"] {
        let answer = transcript
            .send(&scene, (Method::GET, page), &[], None)
            .await;
        transcript.receive(answer).await;
    }
    transcript
}

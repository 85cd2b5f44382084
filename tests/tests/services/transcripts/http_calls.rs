//! Calls over HTTP that answer with JSON.

use reqwest::Method;
use serde_json::json;

use super::controls::{SLOW_TO_END, slow_to_end};
use super::record::Transcript;
use super::scene::Scene;
use crate::support::{id, path, until};

const JSON: [(&str, &str); 1] = [("accept", "application/json")];

pub(super) async fn put_of_an_execution() -> Transcript {
    let (scene, _place) = Scene::with_one_place().await;
    let mut transcript = scene.transcript();
    let (path, body) = (path(&id(), ""), json!({"prompt": "Say hello"}));
    // The second time is a retry: the answer says that the execution exists.
    for _ in 0..2 {
        let put = (Method::PUT, path.as_str());
        let answer = transcript
            .send(&scene, put, &JSON, Some(body.clone()))
            .await;
        transcript.receive(answer).await;
    }
    transcript
}

pub(super) async fn post_of_an_execution() -> Transcript {
    let (scene, _place) = Scene::with_one_place().await;
    let mut transcript = scene.transcript();
    let post = (Method::POST, "/v1/executions");
    let body = json!({"prompt": "Say hello"});
    let answer = transcript.send(&scene, post, &JSON, Some(body)).await;
    transcript.receive(answer).await;
    transcript
}

pub(super) async fn input_over_http() -> Transcript {
    let scene = Scene::start().await;
    let id = scene
        .running("@say Hello", json!({"input": "stream"}))
        .await;
    let message = json!({"role": "user", "content": "And now?"});
    let line = format!("{}\n", json!({"type": "user", "message": message}));
    let length = line.len();
    let mut transcript = scene.transcript();
    for (query, lines) in [
        ("offset=0".to_owned(), line.as_str()),
        (format!("offset={}", length + 1), &line),
        (format!("offset={length}&eof=true"), ""),
    ] {
        let path = path(&id, &format!("/input?{query}"));
        let body = (!lines.is_empty()).then(|| json!(lines));
        let answer = transcript
            .send(&scene, (Method::POST, &path), &[], body)
            .await;
        transcript.receive(answer).await;
    }
    crate::support::ended(&scene.stack.http(), &id).await;
    transcript
}

pub(super) async fn pause_resume_cancel() -> Transcript {
    let scene = Scene::with(slow_to_end()).await;
    let id = scene.written(SLOW_TO_END, 5).await;
    let mut transcript = scene.transcript();
    for (control, state) in [
        ("pause", "paused"),
        ("resume", "running"),
        ("cancel", "cancelled"),
    ] {
        let path = path(&id, &format!("/{control}"));
        let answer = transcript
            .send(&scene, (Method::POST, &path), &[], None)
            .await;
        transcript.receive(answer).await;
        until(&scene.stack.http(), &id, state, |status| {
            status["state"] == state
        })
        .await;
    }
    transcript
}

pub(super) async fn cancel_of_an_unknown_id() -> Transcript {
    let scene = Scene::start().await;
    let id = id();
    let mut transcript = scene.transcript();
    let burn = path(&id, "/cancel?ifUnknown=burn");
    let answer = transcript
        .send(&scene, (Method::POST, &burn), &[], None)
        .await;
    transcript.receive(answer).await;
    let (put, body) = (path(&id, ""), json!({"prompt": "Say hello"}));
    let answer = transcript
        .send(&scene, (Method::PUT, &put), &[], Some(body))
        .await;
    transcript.receive(answer).await;
    transcript
}

pub(super) async fn list_over_http() -> Transcript {
    let scene = Scene::start().await;
    for text in ["one", "two", "three"] {
        scene.ended(&format!("@say {text}"), json!({})).await;
    }
    let mut transcript = scene.transcript();
    let first = "/v1/executions?limit=2";
    let answer = transcript
        .send(&scene, (Method::GET, first), &[], None)
        .await;
    let page = transcript.receive(answer).await;
    let page: serde_json::Value = serde_json::from_str(&page).expect("a page");
    let next = page["next"].as_str().expect("another page");
    let second = format!("{first}&before={next}");
    let answer = transcript
        .send(&scene, (Method::GET, &second), &[], None)
        .await;
    transcript.receive(answer).await;
    transcript
}

pub(super) async fn delete() -> Transcript {
    let scene = Scene::start().await;
    let id = scene.ended("@say Hello", json!({})).await;
    let mut transcript = scene.transcript();
    for method in [Method::DELETE, Method::GET] {
        let answer = transcript
            .send(&scene, (method, &path(&id, "")), &[], None)
            .await;
        transcript.receive(answer).await;
    }
    transcript
}

pub(super) async fn limits() -> Transcript {
    let scene = Scene::start().await;
    let mut transcript = scene.transcript();
    let answer = transcript
        .send(&scene, (Method::GET, "/v1/limits"), &[], None)
        .await;
    transcript.receive(answer).await;
    transcript
}

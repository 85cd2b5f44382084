//! Streams over HTTP.

use reqwest::Method;
use serde_json::json;

use super::record::Transcript;
use super::scene::Scene;
use crate::support::{id, path};

const TRAILERS: [(&str, &str); 1] = [("te", "trailers")];

pub(super) async fn put_that_streams_the_output() -> Transcript {
    let scene = Scene::start().await;
    let mut transcript = scene.transcript();
    let put = path(&id(), "");
    let body = json!({"prompt": "Say hello\n@say Hello"});
    let answer = transcript
        .send(&scene, (Method::PUT, &put), &TRAILERS, Some(body))
        .await;
    transcript.receive(answer).await;
    transcript
}

pub(super) async fn output_from_an_offset() -> Transcript {
    let scene = Scene::start().await;
    let id = scene.ended("@say Hello, world\n@exit 3", json!({})).await;
    let mut transcript = scene.transcript();
    let output = path(&id, "/output?offset=5");
    let answer = transcript
        .send(&scene, (Method::GET, &output), &TRAILERS, None)
        .await;
    transcript.receive(answer).await;
    transcript
}

pub(super) async fn follow_a_status() -> Transcript {
    let scene = Scene::start().await;
    let go = scene.gate();
    let id = scene
        .written(&format!("@say Hello\n{}", go.wait()), 5)
        .await;
    let mut transcript = scene.transcript();
    let follow = path(&id, "?follow=true");
    let answer = transcript
        .send(&scene, (Method::GET, &follow), &[], None)
        .await;
    go.open();
    transcript.receive(answer).await;
    transcript
}

pub(super) async fn events_over_http() -> Transcript {
    let scene = Scene::start().await;
    let id = scene.ended("@say Hello", json!({})).await;
    let events = path(&id, "/events?follow=false");
    let http = scene.stack.http();
    let length = http
        .request(Method::GET, &events)
        .send()
        .await
        .expect("an answer");
    let length = length.headers()["events-length"]
        .to_str()
        .expect("a number");
    let mut transcript = scene.transcript();
    transcript
        .names
        .number(length.parse().expect("a number"), 4000);
    let answer = transcript
        .send(&scene, (Method::GET, &events), &[], None)
        .await;
    transcript.receive(answer).await;
    transcript
}

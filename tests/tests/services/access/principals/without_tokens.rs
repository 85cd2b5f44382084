//! Executions from a time without a token file: they are the admin's alone.

use cc_tests::harness::stack::api_options;
use cc_tests::harness::{Service, StackOptions};
use cc_tests::http::Http;
use reqwest::Method;
use serde_json::{Value, json};

use super::super::api::{Api, assert_kind, listed, usual_tokens};
use crate::support::{accept, ended, id, path, send, until};

#[tokio::test]
async fn executions_from_a_time_without_tokens_are_the_admins_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let plain = StackOptions::default().api("--running-executions=1");
    let mut service = Service::start(api_options(folder.path(), &plain)).await;
    let http = Http::new(service.addr());
    let [over, cut, queued] = [(); 3].map(|()| id());
    accept(&http, &over, "@say over", json!({})).await;
    ended(&http, &over).await;
    accept(&http, &cut, "@say x\n@tool 60", json!({})).await;
    until(&http, &cut, "running", |status| status["outputBytes"] == 1).await;
    accept(&http, &queued, "@say later", json!({"lane": "main"})).await;
    service.kill();
    let api = Api::start_in(folder, usual_tokens(), plain).await;
    let (alice, admin) = (api.http("alice"), api.http("admin"));
    for http in [&alice, &api.http("bob")] {
        assert_eq!(listed(http).await, [""; 0]);
        for id in [&over, &cut, &queued] {
            let answer = send(http, Method::GET, &path(id, ""), "").await;
            assert_kind(&answer, 404, "not-found");
            let answer = send(http, Method::DELETE, &path(id, ""), "").await;
            assert_kind(&answer, 404, "not-found");
        }
        for body in [r#"{"prompt":"@say over"}"#, r#"{"prompt":"other"}"#] {
            let answer = send(http, Method::PUT, &path(&over, ""), body).await;
            assert_kind(&answer, 409, "id-in-use");
        }
        for (body, kind) in [
            (
                json!({"prompt": "x", "conversation": over}),
                "unknown-conversation",
            ),
            (json!({"prompt": "x", "continues": cut}), "not-found"),
        ] {
            let answer = send(http, Method::PUT, &path(&id(), ""), body.to_string()).await;
            assert_kind(&answer, 404, kind);
        }
    }
    assert_eq!(
        listed(&admin).await,
        [queued.clone(), cut.clone(), over.clone()]
    );
    for (id, state) in [
        (&over, "completed"),
        (&cut, "interrupted"),
        (&queued, "completed"),
    ] {
        let end = ended(&admin, id).await;
        assert_eq!(
            (&end["state"], &end["principal"]),
            (&json!(state), &Value::Null),
            "{end}"
        );
    }
    // The admin continues it; the continuation belongs to nobody else either.
    let next = id();
    let status = accept(&admin, &next, "@say on", json!({"continues": cut})).await;
    assert_eq!(status["principal"], Value::Null, "{status}");
    ended(&admin, &next).await;
    assert_eq!(listed(&alice).await, [""; 0]);
    api.service.assert_quiet();
    // Without the token file everybody sees everything again.
    let Api {
        mut service,
        folder,
        ..
    } = api;
    service.stop().await;
    let plain = StackOptions::default();
    let service = Service::start(api_options(folder.path(), &plain)).await;
    let all = listed(&Http::new(service.addr())).await;
    assert_eq!(all, [next, queued, cut, over]);
}

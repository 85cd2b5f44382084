//! An id that one principal burns is burned for that principal alone.

use cc_tests::harness::StackOptions;
use cc_tests::http::Http;
use reqwest::Method;
use serde_json::json;

use super::super::api::{Api, assert_kind, usual_tokens};
use crate::support::{accept, ended, id, path, send};

const BODY: &str = r#"{"prompt":"@say x"}"#;

async fn burn(http: &Http, id: &str) {
    let (code, _, answer) = send(http, Method::POST, &path(id, "/cancel?ifUnknown=burn"), "").await;
    assert_eq!((code, &answer["burned"]), (200, &json!(true)), "{answer}");
}

#[tokio::test]
async fn a_burn_of_one_principal_does_not_block_another_also_after_a_kill() {
    let mut api = Api::start(usual_tokens(), StackOptions::default()).await;
    let (alice, bob) = (api.http("alice"), api.http("bob"));
    let (first, second) = (id(), id());
    burn(&bob, &first).await;
    burn(&bob, &second).await;
    burn(&alice, &second).await;
    accept(&alice, &first, "@say x", json!({})).await;
    assert_eq!(ended(&alice, &first).await["state"], "completed");
    for round in ["before the kill", "after it"] {
        // Whose execution took the id is nobody else's business.
        let answer = send(&bob, Method::PUT, &path(&first, ""), BODY).await;
        assert_kind(&answer, 409, "id-in-use");
        for http in [&alice, &bob] {
            let answer = send(http, Method::PUT, &path(&second, ""), BODY).await;
            assert_kind(&answer, 410, "cancelled-before-accepted");
            let answer = send(http, Method::GET, &path(&second, ""), "").await;
            assert_kind(&answer, 404, "not-found");
        }
        if round == "before the kill" {
            api.crash().await;
        }
    }
    // A third principal never burned it.
    let carol = api.http("carol");
    accept(&carol, &second, "@say x", json!({})).await;
    assert_eq!(ended(&carol, &second).await["state"], "completed");
    let answer = send(&alice, Method::PUT, &path(&second, ""), BODY).await;
    assert_kind(&answer, 409, "id-in-use");
    assert_eq!(api.starts(), [first, second]);
    api.service.assert_quiet();
}

//! Tests of tokens: the header of the handshake, and what refusals do.

use std::time::{Duration, Instant};

use client::{Client, Error, ExecuteParams, Options};
use protocol::message::ShareParams;
use protocol::{ExecutionId, Secret};

use crate::fake::{Fake, Fault, Plan};
use crate::front::{Front, answer};

const TEXT: &str = "The quick brown fox jumps over the lazy dog.";
const TOKEN: &str = "ccb_0123456789-_abcdef";

fn options() -> Options {
    Options {
        token: Some(TOKEN.parse::<Secret>().unwrap()),
        first_delay: Duration::from_millis(5),
        max_delay: Duration::from_millis(20),
        give_up: Duration::from_secs(10),
        ..Options::default()
    }
}

fn problem(status: &str, headers: &str, kind: &str) -> String {
    let body = format!(r#"{{"type":"{kind}","status":0,"detail":"the reason"}}"#);
    answer(status, headers, &body)
}

async fn front(plan: Plan, answers: Vec<String>) -> (Fake, Front, String) {
    let fake = Fake::start(plan).await;
    let front = Front::start(fake.address, answers, None).await;
    let url = format!("ws://{}/ws", front.address);
    (fake, front, url)
}

/// Reads a run to its error.
async fn error_of(client: &Client) -> Error {
    let mut run = client.execute(ExecuteParams::prompt("p")).unwrap();
    let read = async {
        loop {
            match run.next().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("the run has ended without an error"),
                Err(error) => return error,
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), read)
        .await
        .unwrap()
}

#[tokio::test]
async fn the_handshake_carries_the_token_and_no_debug_output_does() {
    let (_fake, front, url) = front(Plan::of(TEXT), vec![]).await;
    let client = Client::connect(&url, options()).await.unwrap();
    let heads = front.heads();
    let line = format!("authorization: bearer {}", TOKEN.to_lowercase());
    assert!(heads[0].to_lowercase().contains(&line), "{heads:?}");
    assert!(heads[0].contains(TOKEN), "the token's case is kept");
    assert!(!format!("{client:?} {:?}", options()).contains("0123456789"));
    client.close().await;
    Client::connect(&url, Options::default()).await.unwrap();
    assert!(!front.heads()[1].to_lowercase().contains("authorization"));
}

#[tokio::test]
async fn a_refused_token_is_an_error_of_its_own_without_a_retry() {
    for (status, kind) in [
        ("401 Unauthorized", "unauthorized"),
        ("403 Forbidden", "forbidden"),
    ] {
        let refusals = vec![problem(status, "", kind); 5];
        let (_fake, front, url) = front(Plan::of(TEXT), refusals).await;
        let error = Client::connect(&url, options()).await.unwrap_err();
        assert!(error.is_refused_access(), "{error:?}");
        let text = error.to_string();
        assert!(text.contains("the reason") && !text.contains(TOKEN));
        assert_eq!(front.heads().len(), 1);
    }
}

#[tokio::test]
async fn a_busy_bridge_is_retried_after_its_pause() {
    let refusals = vec![
        problem(
            "429 Too Many Requests",
            "retry-after: 1\r\n",
            "too-many-attempts",
        ),
        problem("503 Service Unavailable", "retry-after: 0\r\n", "stopping"),
    ];
    let (_fake, front, url) = front(Plan::of(TEXT), refusals).await;
    let started = Instant::now();
    Client::connect(&url, options()).await.unwrap();
    assert!(started.elapsed() >= Duration::from_secs(1));
    assert_eq!(front.heads().len(), 3);
}

#[tokio::test]
async fn a_pause_beyond_the_limit_of_the_client_is_an_error_at_once() {
    let refusals = vec![problem("429 Too Many Requests", "retry-after: 60\r\n", "x")];
    let (_fake, front, url) = front(Plan::of(TEXT), refusals).await;
    let error = Client::connect(&url, options()).await.unwrap_err();
    let Error::Busy { retry_after, .. } = error else {
        panic!("{error:?}");
    };
    assert_eq!(retry_after, Some(Duration::from_secs(60)));
    assert_eq!(front.heads().len(), 1);
}

#[tokio::test]
async fn a_pause_is_respected_at_a_reconnect() {
    let plan = Plan::of(TEXT).faults(&[Fault::Cut(7), Fault::None]);
    let busy = problem("503 Service Unavailable", "retry-after: 1\r\n", "stopping");
    let (_fake, front, url) = front(plan, vec![String::new(), busy]).await;
    let client = Client::connect(&url, options()).await.unwrap();
    let started = Instant::now();
    let mut run = client.execute(ExecuteParams::prompt("p")).unwrap();
    while run.next().await.unwrap().is_some() {}
    assert!(started.elapsed() >= Duration::from_secs(1));
    assert_eq!(front.heads().len(), 3);
}

#[tokio::test]
async fn a_session_whose_token_was_removed_ends_the_client() {
    let plan = Plan {
        close_reason: "the token was removed",
        ..Plan::of(TEXT).faults(&[Fault::Close(7, 1008), Fault::None])
    };
    let (_fake, front, url) = front(plan, vec![]).await;
    let client = Client::connect(&url, options()).await.unwrap();
    let error = error_of(&client).await;
    assert!(matches!(error, Error::Unauthorized { .. }), "{error:?}");
    // A later request fails alike, without another connection.
    let later = client.status(ExecutionId::random()).await.unwrap_err();
    assert_eq!(later, error);
    assert_eq!(front.heads().len(), 1);
}

#[tokio::test]
async fn a_token_that_is_refused_at_a_reconnect_ends_the_client() {
    let plan = Plan::of(TEXT).faults(&[Fault::Cut(7), Fault::None]);
    let refusal = problem("401 Unauthorized", "", "unauthorized");
    let (_fake, front, url) = front(plan, vec![String::new(), refusal]).await;
    let client = Client::connect(&url, options()).await.unwrap();
    let error = error_of(&client).await;
    assert!(matches!(error, Error::Unauthorized { .. }), "{error:?}");
    client.ping().await.unwrap_err();
    assert_eq!(front.heads().len(), 2);
}

#[tokio::test]
async fn a_share_has_a_token_that_its_debug_output_hides() {
    let fake = Fake::start(Plan::of(TEXT)).await;
    let client = Client::connect(&fake.url(), options()).await.unwrap();
    let params = ShareParams {
        execution_id: ExecutionId::random(),
        role: protocol::access::ShareRole::View,
        expires_seconds: Some(60),
    };
    let share = client.share(params).await.unwrap();
    assert_eq!(share.token, "share_token");
    assert!(!format!("{share:?}").contains("share_token"));
    assert_eq!(fake.params("share")[0]["expiresSeconds"], 60);
}

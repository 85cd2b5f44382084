//! Grants: when they are in force, and what ends them.

use grants::{Order, Report};
use tokio::sync::mpsc;

use crate::support::{Api, ClaudeApi, Exchange, GRANT, Service, Setup, soon};

/// Answers with a stream that has begun and does not end.
async fn endless(mut api: Exchange) {
    api.request().await;
    api.events().await;
    api.event("{\"n\":\"begun\"}").await;
    api.rest().await;
}

/// Answers each request with a message that costs a dollar by the built-in list.
async fn dollar(mut api: Exchange) {
    while api.request().await.is_some() {
        let body = r#"{"model":"claude-opus-5","usage":{"input_tokens":200000,"output_tokens":0}}"#;
        api.json("200 OK", body).await;
    }
}

#[tokio::test]
async fn nothing_is_forwarded_before_the_grants_are_synced() {
    let api = Api::start(dollar).await;
    let mut claude_api = ClaudeApi::start().await;
    let service = Service::start(&claude_api, &api.url(), &[], &[]).await;
    let ask = async |service: &Service| {
        let mut client = crate::support::Client::connect(service.addr).await;
        client.post("/v1/messages", GRANT, "{}").await;
        client.answer().await
    };
    let answer = ask(&service).await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(answer.error()["type"], "api_error");
    claude_api.accept().await;
    claude_api.grant("e1", GRANT, None).await;
    assert_eq!(ask(&service).await.status, 503);
    claude_api.sync().await;
    assert_eq!(ask(&service).await.status, 200);
    claude_api.close();
    claude_api.accept().await;
    assert_eq!(ask(&service).await.status, 503);
    claude_api.sync().await;
    assert_eq!(ask(&service).await.status, 401);
    service.stop().await;
}

#[tokio::test]
async fn a_lost_control_connection_cuts_no_request() {
    let (send, mut received) = mpsc::channel(1);
    let mut setup = Setup::start(move |mut api: Exchange| {
        let send = send.clone();
        async move {
            api.request().await;
            api.events().await;
            api.event("{\"n\":\"begun\"}").await;
            let (more, mut wait) = mpsc::channel::<()>(1);
            send.send(more).await.unwrap();
            wait.recv().await;
            api.end().await;
        }
    })
    .await;
    let mut client = setup.client().await;
    client.post("/v1/messages", GRANT, "{}").await;
    client.until("begun").await;
    setup.claude_api.close();
    setup.claude_api.accept().await;
    setup.claude_api.grant("e1", GRANT, None).await;
    setup.claude_api.sync().await;
    drop(soon("the request", received.recv()).await);
    assert!(client.answer().await.is_complete());
    assert_eq!(
        setup.claude_api.answer().await.execution_id.as_deref(),
        Some("e1")
    );
}

#[tokio::test]
async fn an_execution_that_is_not_registered_again_is_cut() {
    let mut setup = Setup::start(endless).await;
    let mut client = setup.client().await;
    client.post("/v1/messages", GRANT, "{}").await;
    client.until("begun").await;
    setup.claude_api.close();
    setup.claude_api.accept().await;
    setup.claude_api.send(&Order::Synced).await;
    assert!(!client.answer().await.is_complete());
    assert!(!setup.claude_api.answer().await.complete);
}

#[tokio::test]
async fn a_revoked_grant_cuts_its_requests() {
    let mut setup = Setup::start(endless).await;
    let mut client = setup.client().await;
    client.post("/v1/messages", GRANT, "{}").await;
    client.until("begun").await;
    let execution_id = "e1".to_owned();
    setup.claude_api.send(&Order::Revoke { execution_id }).await;
    assert!(!client.answer().await.is_complete());
    assert_eq!(setup.ask().await.status, 401);
    // The answer precedes the result.
    let report = setup.claude_api.answer().await;
    assert_eq!((report.status, report.complete), (Some(200), false));
    let execution_id = "e1".to_owned();
    assert_eq!(
        setup.claude_api.report().await,
        Report::Revoked { execution_id }
    );
}

#[tokio::test]
async fn a_revocation_of_an_unknown_execution_has_a_result() {
    let mut setup = Setup::start(endless).await;
    let execution_id = "other".to_owned();
    let order = Order::Revoke {
        execution_id: execution_id.clone(),
    };
    setup.claude_api.send(&order).await;
    assert_eq!(
        setup.claude_api.report().await,
        Report::Revoked { execution_id }
    );
}

/// The service cannot tell such a client that the answer is over.
#[tokio::test]
async fn a_revoked_grant_cuts_a_client_that_reads_nothing() {
    let (send, mut received) = mpsc::channel(1);
    let mut setup = Setup::start(move |mut api: Exchange| {
        let send = send.clone();
        async move {
            api.request().await;
            api.events().await;
            let event = format!("{{\"x\":\"{}\"}}", "y".repeat(60_000));
            // The buffers of both connections are full when a write takes long.
            let quick = std::time::Duration::from_millis(500);
            while tokio::time::timeout(quick, api.event(&event)).await.is_ok() {}
            send.send(()).await.unwrap();
            std::future::pending::<()>().await;
        }
    })
    .await;
    let mut client = setup.client().await;
    client.post("/v1/messages", GRANT, "{}").await;
    soon("full buffers", received.recv()).await.unwrap();
    let execution_id = "e1".to_owned();
    let order = Order::Revoke {
        execution_id: execution_id.clone(),
    };
    setup.claude_api.send(&order).await;
    assert!(!setup.claude_api.answer().await.complete);
    assert_eq!(
        setup.claude_api.report().await,
        Report::Revoked { execution_id }
    );
    drop(client);
}

#[tokio::test]
async fn a_revoked_grant_cuts_a_request_that_waits_for_its_answer() {
    let (send, mut received) = mpsc::channel(1);
    let mut setup = Setup::start(move |mut api: Exchange| {
        let send = send.clone();
        async move {
            api.request().await;
            send.send(()).await.unwrap();
            assert_eq!(api.rest().await, b"");
            send.send(()).await.unwrap();
        }
    })
    .await;
    let mut client = setup.client().await;
    client.post("/v1/messages", GRANT, "{}").await;
    soon("the request", received.recv()).await.unwrap();
    let execution_id = "e1".to_owned();
    setup.claude_api.send(&Order::Revoke { execution_id }).await;
    assert_eq!(client.answer().await.status, 401);
    soon("the end of the request", received.recv())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_grant_stops_at_its_cost_limit() {
    let mut setup = Setup::start(dollar).await;
    setup.claude_api.grant("e2", "g2", Some(1.5)).await;
    let ask = async |setup: &Setup| {
        let mut client = setup.client().await;
        client.post("/v1/messages", "g2", "{}").await;
        client.answer().await
    };
    for total in [1.0, 2.0] {
        assert_eq!(ask(&setup).await.status, 200);
        let report = setup.claude_api.answer().await;
        assert!((report.total_cost_usd - total).abs() < 1e-9, "{report:?}");
    }
    let answer = ask(&setup).await;
    assert_eq!(answer.status, 402);
    assert_eq!(answer.error()["type"], "billing_error");
    assert_eq!(answer.header("x-should-retry"), Some("false"));
    assert_eq!(setup.ask().await.status, 200);
    let execution_id = "e1".to_owned();
    setup
        .claude_api
        .send(&Order::Exhaust { execution_id })
        .await;
    setup.claude_api.answer().await;
    setup.claude_api.barrier().await;
    assert_eq!(setup.ask().await.status, 402);
}

#[tokio::test]
async fn a_grant_has_sixteen_open_requests() {
    let mut setup = Setup::start(endless).await;
    setup.claude_api.grant("e2", "g2", None).await;
    let mut clients = Vec::new();
    for _ in 0..16 {
        let mut client = setup.client().await;
        client.post("/v1/messages", GRANT, "{}").await;
        client.until("begun").await;
        clients.push(client);
    }
    let answer = setup.ask().await;
    assert_eq!(answer.status, 429);
    assert_eq!(answer.error()["type"], "rate_limit_error");
    let mut other = setup.client().await;
    other.post("/v1/messages", "g2", "{}").await;
    other.until("begun").await;
    clients.pop();
    // The report says that the request has ended.
    setup.claude_api.answer().await;
    let mut client = setup.client().await;
    client.post("/v1/messages", GRANT, "{}").await;
    client.until("begun").await;
}

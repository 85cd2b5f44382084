//! The connections to the API: which requests share one, and when one is closed.

use grants::Order;
use tokio::sync::mpsc;

use crate::support::{Exchange, GRANT, Setup, soon};

async fn fine(mut api: Exchange) {
    while api.head().await.is_some() {
        api.json("200 OK", "{}").await;
    }
}

async fn get(setup: &Setup, method: &str, grant: &str) -> u16 {
    let mut client = setup.client().await;
    client
        .write(format!(
            "{method} /v1/models HTTP/1.1\r\nHost: a\r\nx-api-key: {grant}\r\n\r\n"
        ))
        .await;
    client.answer().await.status
}

/// Surplus bytes on a connection could become the answer to another execution.
#[tokio::test]
async fn executions_share_no_connection() {
    let mut setup = Setup::start(fine).await;
    setup.claude_api.grant("e2", "g2", None).await;
    for expected in [1, 2, 2] {
        let grant = if expected == 1 { GRANT } else { "g2" };
        assert_eq!(get(&setup, "GET", grant).await, 200);
        assert_eq!(setup.api.connections(), expected);
    }
    assert_eq!(get(&setup, "GET", GRANT).await, 200);
    assert_eq!(setup.api.connections(), 2);
}

/// The API may send a body with the answer to a HEAD.
#[tokio::test]
async fn a_connection_is_not_used_again_after_a_head() {
    let setup = Setup::start(async |mut api: Exchange| {
        while api.head().await.is_some() {
            api.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n")
                .await;
        }
    })
    .await;
    for expected in [1, 2] {
        assert_eq!(get(&setup, "HEAD", GRANT).await, 200);
        assert_eq!(setup.api.connections(), expected);
    }
}

#[tokio::test]
async fn idle_connections_of_an_ended_grant_are_closed() {
    let (send, mut received) = mpsc::channel(1);
    let mut setup = Setup::start(move |mut api: Exchange| {
        let send = send.clone();
        async move {
            api.head().await;
            api.json("200 OK", "{}").await;
            api.rest().await;
            send.send(()).await.unwrap();
        }
    })
    .await;
    assert_eq!(get(&setup, "GET", GRANT).await, 200);
    let execution_id = "e1".to_owned();
    setup.claude_api.send(&Order::Revoke { execution_id }).await;
    soon("the end of the connection", received.recv())
        .await
        .unwrap();
}

/// Otherwise one grant could hold any number of uploads, none of which counts as open.
#[tokio::test]
async fn an_early_answer_ends_the_upload() {
    let (send, mut received) = mpsc::channel(1);
    let setup = Setup::start(move |mut api: Exchange| {
        let send = send.clone();
        async move {
            api.head().await;
            api.json("413 Payload Too Large", "{}").await;
            api.rest().await;
            send.send(()).await.unwrap();
        }
    })
    .await;
    let mut client = setup.client().await;
    client
        .write(format!(
            "POST /v1/messages HTTP/1.1\r\nHost: a\r\nx-api-key: {GRANT}\r\n\
             Content-Length: 1000000\r\n\r\n{{\"a\":\""
        ))
        .await;
    client.until("413 Payload Too Large").await;
    soon("the end of the upload", received.recv())
        .await
        .unwrap();
    drop(client);
}

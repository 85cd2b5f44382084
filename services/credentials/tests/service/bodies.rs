//! Bodies that are refused while they are forwarded.

use std::pin::Pin;

use tokio::sync::mpsc;

use crate::support::{Exchange, GRANT, Setup, soon};

/// What a handler of the fake API returns.
type Handled = Pin<Box<dyn Future<Output = ()> + Send>>;

/// An API that reports all bytes of the body of its first request, after the connection's end.
fn collecting() -> (
    impl Fn(Exchange) -> Handled + Send + Sync,
    mpsc::Receiver<String>,
) {
    let (send, received) = mpsc::channel(1);
    let answer = move |mut api: Exchange| -> Handled {
        let send = send.clone();
        Box::pin(async move {
            if api.head().await.is_some() {
                let rest = api.rest().await;
                let rest = String::from_utf8_lossy(&rest).into_owned();
                send.send(rest).await.unwrap();
            }
        })
    };
    (answer, received)
}

#[tokio::test]
async fn the_api_never_has_a_whole_body_with_a_refused_member() {
    let padding = "x".repeat(100_000);
    let body = format!(r#"{{"a":"{padding}","mcp_servers":[],"b":"{padding}"}}"#);
    for is_chunked in [false, true] {
        let (api, mut received) = collecting();
        let setup = Setup::start(api).await;
        let mut client = setup.client().await;
        if is_chunked {
            let head = format!(
                "POST /v1/messages HTTP/1.1\r\nHost: a\r\nx-api-key: {GRANT}\r\n\
                 Transfer-Encoding: chunked\r\n\r\n"
            );
            client.write(head).await;
            for piece in body.as_bytes().chunks(10_000) {
                let piece = String::from_utf8_lossy(piece);
                client
                    .write(format!("{:x}\r\n{piece}\r\n", piece.len()))
                    .await;
            }
            client.write("0\r\n\r\n").await;
        } else {
            client.post("/v1/messages", GRANT, &body).await;
        }
        let answer = client.answer().await;
        assert_eq!(answer.status, 403, "{answer:?}");
        let error = answer.error();
        assert_eq!(error["type"], "permission_error");
        let message = error["message"].as_str().unwrap();
        assert!(
            message.contains("--allow-body-fields=mcp_servers"),
            "{message}"
        );
        let forwarded = soon("the end of the body", received.recv()).await.unwrap();
        assert!(forwarded.len() < body.len(), "{}", forwarded.len());
        assert!(!forwarded.contains("mcp_servers"), "{forwarded}");
        assert!(!forwarded.contains("0\r\n\r\n"), "{forwarded}");
    }
}

#[tokio::test]
async fn a_small_body_with_a_refused_member_has_no_byte_at_the_api() {
    let (api, mut received) = collecting();
    let setup = Setup::start(api).await;
    for (body, status) in [
        (r#"{"container":"c"}"#, 403),
        (r#"{"m":[{"source":{"file_\u0069d":"f"}}]}"#, 403),
        ("{\"a\":1", 400),
        ("[]", 400),
        ("", 400),
        ("{}{}", 400),
    ] {
        let mut client = setup.client().await;
        client.post("/v1/messages", GRANT, body).await;
        let answer = client.answer().await;
        assert_eq!(answer.status, status, "{body}: {answer:?}");
        answer.error();
    }
    // Heads may have arrived, bodies not.
    drop(setup);
    while let Some(forwarded) = soon("the end", received.recv()).await {
        assert_eq!(forwarded, "");
    }
}

#[tokio::test]
async fn members_that_the_operator_allows_are_forwarded() {
    let setup = Setup::with(
        &["--allow-body-fields=container,file_id"],
        &[],
        async |mut api: Exchange| {
            while let Some((_, body)) = api.request().await {
                api.json("200 OK", &String::from_utf8(body).unwrap()).await;
            }
        },
    )
    .await;
    for (body, status) in [
        (r#"{"container":"c","a":{"file_id":"f"}}"#, 200),
        (r#"{"mcp_servers":[]}"#, 403),
    ] {
        let mut client = setup.client().await;
        client.post("/v1/messages/count_tokens", GRANT, body).await;
        assert_eq!(client.answer().await.status, status, "{body}");
    }
}

/// The API is not at fault, so the metrics of its answers do not count such a request.
#[tokio::test]
async fn a_malformed_framing_of_a_body_is_a_mistake_of_the_client() {
    let mut setup = Setup::start(async |mut api: Exchange| {
        let head = api.head().await.unwrap_or_default();
        if head.contains("content-length: 2\r\n") {
            api.json("200 OK", "{}").await;
        }
        api.rest().await;
    })
    .await;
    let mut client = setup.client().await;
    client
        .write(format!(
            "POST /v1/messages HTTP/1.1\r\nHost: a\r\nx-api-key: {GRANT}\r\n\
             Transfer-Encoding: chunked\r\n\r\n1\r\n{{\r\nzz\r\n"
        ))
        .await;
    let answer = client.answer().await;
    assert_eq!(answer.status, 400, "{answer:?}");
    assert_eq!(answer.error()["type"], "invalid_request_error");
    let mut client = setup.client().await;
    client.post("/v1/messages", GRANT, "{}").await;
    assert_eq!(client.answer().await.status, 200);
    assert_eq!(setup.claude_api.answer().await.status, Some(200));
}

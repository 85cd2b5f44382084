//! An API that is away, breaks off, or answers in an odd way.

use grants::Endpoint;

use crate::support::{Exchange, GRANT, Setup};

/// Starts a service whose API answers each request with these bytes and closes.
async fn answering(bytes: impl Into<Vec<u8>>) -> Setup {
    let bytes = bytes.into();
    Setup::start(move |mut api: Exchange| {
        let bytes = bytes.clone();
        async move {
            api.request().await;
            api.write(bytes).await;
        }
    })
    .await
}

const USAGE: &str = r#"{"model":"claude-opus-5","usage":{"input_tokens":5,"output_tokens":1}}"#;

#[tokio::test]
async fn an_answer_that_cannot_be_forwarded_is_a_bad_gateway() {
    let head = "HTTP/1.1 200 OK\r\n";
    let long = "a".repeat(200_000);
    for bytes in [
        String::new(),
        "HTTP/1.1 200".to_owned(),
        "SSH-2.0-OpenSSH\r\n\r\n".to_owned(),
        format!("{head}A: {long}\r\n\r\n"),
        format!("{head}{}\r\n", "A: b\r\n".repeat(200)),
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n".to_owned(),
        "HTTP/1.1 302 Found\r\nLocation: http://evil\r\nContent-Length: 0\r\n\r\n".to_owned(),
        format!("{head}Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc"),
    ] {
        let mut setup = answering(bytes.as_bytes()).await;
        let answer = setup.ask().await;
        let shown = &bytes[..bytes.len().min(60)];
        assert_eq!(answer.status, 502, "{shown}: {answer:?}");
        assert_eq!(answer.error()["type"], "api_error");
        let report = setup.claude_api.answer().await;
        assert_eq!(
            (report.complete, report.endpoint),
            (false, Endpoint::Messages),
            "{shown}"
        );
    }
}

#[tokio::test]
async fn an_api_that_refuses_connections_is_a_bad_gateway() {
    let mut setup = Setup::start(async |_: Exchange| {}).await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = closed.local_addr().unwrap();
    drop(closed);
    let url = format!("http://{addr}");
    let claude_api = crate::support::ClaudeApi::start().await;
    setup.claude_api = claude_api;
    setup.service = crate::support::Service::start(&setup.claude_api, &url, &[], &[]).await;
    setup.claude_api.accept().await;
    setup.claude_api.grant("e1", GRANT, None).await;
    setup.claude_api.sync().await;
    let answer = setup.ask().await;
    assert_eq!(answer.status, 502);
    assert!(
        answer.error()["message"]
            .as_str()
            .unwrap()
            .contains("cannot connect")
    );
    let report = setup.claude_api.answer().await;
    assert_eq!((report.status, report.first_byte_ms), (None, None));
}

#[tokio::test]
async fn an_answer_that_breaks_off_never_looks_complete() {
    let chunk = format!("data: {{\"type\":\"message_start\",\"message\":{USAGE}}}\n\n");
    let chunked = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n\
         {:x}\r\n{chunk}\r\n",
        chunk.len()
    );
    let length = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{USAGE}"
    );
    for bytes in [chunked, length] {
        let mut setup = answering(bytes.as_bytes()).await;
        let answer = setup.ask().await;
        assert!(matches!(answer.status, 0 | 200), "{answer:?}");
        assert!(
            !answer.is_complete() && answer.body.len() < 1000,
            "{answer:?}"
        );
        let report = setup.claude_api.answer().await;
        assert_eq!((report.status, report.complete), (Some(200), false));
        // The tokens that it has named are charged.
        assert_eq!(report.usage.input_tokens, 5);
        assert!(report.cost_usd > 0.0);
    }
}

#[tokio::test]
async fn an_answer_until_the_end_of_the_connection_is_forwarded() {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n";
    let mut setup = answering(format!("{head}{USAGE}")).await;
    let answer = setup.ask().await;
    assert_eq!(answer.status, 200);
    assert!(answer.body.contains("claude-opus-5"), "{answer:?}");
    assert!(setup.claude_api.answer().await.complete);
}

#[tokio::test]
async fn informational_answers_precede_the_answer() {
    let bytes = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n\
                 HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
    let setup = answering(bytes).await;
    let answer = setup.ask().await;
    assert_eq!((answer.status, &answer.body[..]), (200, "{}"));
}

#[tokio::test]
async fn errors_of_the_api_pass_with_their_type_and_their_time() {
    let error = r#"{"type":"error","error":{"type":"rate_limit_error","message":"m"}}"#;
    let length = error.len();
    let bytes = format!(
        "HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json\r\n\
         anthropic-ratelimit-unified-reset: 1800000000\r\nRetry-After: 7\r\n\
         x-should-retry: false\r\nSet-Cookie: a=b\r\nContent-Length: {length}\r\n\r\n{error}"
    );
    let mut setup = answering(bytes).await;
    let answer = setup.ask().await;
    assert_eq!((answer.status, &answer.body[..]), (429, error));
    assert_eq!(answer.header("retry-after"), Some("7"));
    assert_eq!(answer.header("x-should-retry"), Some("false"));
    assert_eq!(answer.header("set-cookie"), None);
    let report = setup.claude_api.answer().await;
    assert_eq!(report.error_type.as_deref(), Some("rate_limit_error"));
    assert_eq!(report.resets_at_ms, Some(1_800_000_000_000));
    assert!(report.complete && report.cost_usd == 0.0, "{report:?}");
}

#[tokio::test]
async fn an_early_answer_is_forwarded_although_the_body_is_not_read() {
    let setup = Setup::start(async |mut api: Exchange| {
        api.head().await;
        api.json("413 Payload Too Large", "{}").await;
        // The body is never read.
        std::future::pending::<()>().await;
    })
    .await;
    let body = format!("{{\"a\":\"{}\"}}", "x".repeat(30_000_000));
    let mut client = setup.client().await;
    let head = format!(
        "POST /v1/messages HTTP/1.1\r\nHost: a\r\nx-api-key: {GRANT}\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    client.write(head).await;
    let (read, mut write) = client.stream.split();
    let upload = async {
        // The service stops reading.
        let _ = tokio::io::AsyncWriteExt::write_all(&mut write, body.as_bytes()).await;
        std::future::pending::<()>().await;
    };
    let download = async {
        let mut reader = tokio::io::BufReader::new(read);
        let mut line = String::new();
        tokio::io::AsyncBufReadExt::read_line(&mut reader, &mut line)
            .await
            .unwrap();
        line
    };
    let line = crate::support::soon("the early answer", async {
        tokio::select! {
            () = upload => unreachable!(),
            line = download => line,
        }
    })
    .await;
    assert_eq!(line, "HTTP/1.1 413 Payload Too Large\r\n");
}

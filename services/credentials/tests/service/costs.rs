//! The cost of a request whose usage the API does not report, or reports in an unusual form.

use grants::{Answer, Order, Report};
use tokio::sync::mpsc;

use crate::support::{Exchange, GRANT, Setup, soon};

/// Returns a body of exactly `bytes` bytes for Opus 5: 5 US dollars for a million tokens of the
/// request, 25 for a million of the answer.
fn body(bytes: usize) -> String {
    let empty = r#"{"model":"claude-opus-5","a":""}"#;
    empty.replace(r#""""#, &format!("\"{}\"", "x".repeat(bytes - empty.len())))
}

/// Sends a request with this body, and returns the status of the answer and the report.
async fn asked(setup: &mut Setup, body: &str) -> (u16, Answer) {
    let mut client = setup.client().await;
    client.post("/v1/messages", GRANT, body).await;
    let status = client.answer().await.status;
    (status, setup.claude_api.answer().await)
}

fn assert_cost(report: &Answer, expected: f64) {
    assert!(
        (report.cost_usd - expected).abs() < 1e-9,
        "{expected}: {report:?}"
    );
}

const STARTED: &str = concat!(
    r#"{"type":"message_start","message":{"model":"claude-opus-5","#,
    r#""usage":{"input_tokens":10,"output_tokens":1}}}"#
);

/// Returns the event of a delta with 1000 bytes, by the type of its member.
fn delta(kind: &str, member: &str) -> String {
    let delta = format!(r#"{{"type":"{kind}","{member}":"{}"}}"#, "y".repeat(1000));
    format!(r#"{{"type":"content_block_delta","index":0,"delta":{delta}}}"#)
}

#[tokio::test]
async fn a_request_that_the_client_cuts_before_the_answer_costs_the_estimate_of_its_body() {
    let (send, mut received) = mpsc::channel(1);
    let mut setup = Setup::start(move |mut api: Exchange| {
        let send = send.clone();
        async move {
            api.request().await;
            send.send(()).await.unwrap();
            api.rest().await;
        }
    })
    .await;
    setup.claude_api.grant("e2", "g2", Some(0.4)).await;
    let mut client = setup.client().await;
    client.post("/v1/messages", "g2", &body(400_000)).await;
    soon("the request", received.recv()).await.unwrap();
    drop(client);
    let report = setup.claude_api.answer().await;
    assert_eq!((report.status, report.complete), (None, false));
    assert_eq!(report.usage.input_tokens, 100_000);
    assert_cost(&report, 0.5);
    let mut client = setup.client().await;
    client.post("/v1/messages", "g2", "{}").await;
    assert_eq!(client.answer().await.status, 402);
}

#[tokio::test]
async fn a_request_whose_body_is_not_complete_costs_nothing() {
    let (send, mut received) = mpsc::channel(1);
    let mut setup = Setup::start(move |mut api: Exchange| {
        let send = send.clone();
        async move {
            api.head().await;
            api.until("xxx").await;
            send.send(()).await.unwrap();
            api.rest().await;
        }
    })
    .await;
    let mut client = setup.client().await;
    let body = body(400_000);
    client
        .write(format!(
            "POST /v1/messages HTTP/1.1\r\nHost: a\r\nx-api-key: {GRANT}\r\n\
             Content-Length: 400001\r\n\r\n{body}"
        ))
        .await;
    soon("the request", received.recv()).await.unwrap();
    drop(client);
    // The mistake is the client's, so there is no answer to report.
    let execution_id = "e1".to_owned();
    let order = Order::Revoke {
        execution_id: execution_id.clone(),
    };
    setup.claude_api.send(&order).await;
    let report = setup.claude_api.report().await;
    assert_eq!(report, Report::Revoked { execution_id });
}

#[tokio::test]
async fn a_stream_that_the_client_cuts_costs_the_bytes_of_its_deltas() {
    let mut setup = Setup::start(async |mut api: Exchange| {
        api.request().await;
        api.events().await;
        api.event(STARTED).await;
        for (kind, member) in [
            ("text_delta", "text"),
            ("thinking_delta", "thinking"),
            ("input_json_delta", "partial_json"),
        ] {
            api.event(&delta(kind, member)).await;
        }
        api.event(r#"{"n":"last"}"#).await;
        api.rest().await;
    })
    .await;
    let mut client = setup.client().await;
    client.post("/v1/messages", GRANT, &body(4000)).await;
    client.until("last").await;
    drop(client);
    let report = setup.claude_api.answer().await;
    assert_eq!(
        (report.usage.input_tokens, report.usage.output_tokens),
        (10, 750)
    );
    assert_cost(&report, (10.0 * 5.0 + 750.0 * 25.0) / 1e6);
}

#[tokio::test]
async fn a_complete_stream_costs_exactly_what_it_reports() {
    let mut setup = Setup::start(async |mut api: Exchange| {
        api.request().await;
        api.events().await;
        api.event(STARTED).await;
        api.event(&delta("text_delta", "text")).await;
        api.event(&delta("text_delta", "text")).await;
        api.event(r#"{"type":"message_delta","delta":{},"usage":{"output_tokens":1}}"#)
            .await;
        api.event(r#"{"type":"message_stop"}"#).await;
        api.end().await;
    })
    .await;
    let (status, report) = asked(&mut setup, &body(400_000)).await;
    assert_eq!((status, report.complete), (200, true));
    assert_cost(&report, (10.0 * 5.0 + 25.0) / 1e6);
}

/// Starts a service whose API answers with this status, type and body.
async fn answering(status: &'static str, kind: &'static str, content: &'static str) -> Setup {
    Setup::start(move |mut api: Exchange| async move {
        api.request().await;
        api.write(format!(
            "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n{content}",
            content.len()
        ))
        .await;
    })
    .await
}

#[tokio::test]
async fn a_successful_answer_without_readable_usage_costs_the_estimate() {
    for (kind, content) in [
        ("text/plain", "hello"),
        ("application/json", "{}"),
        ("application/json", "not json"),
        ("application/json", r#"{"usage":{"input_tokens":"many"}}"#),
        ("text/event-stream", "data: {}\n\n"),
    ] {
        let mut setup = answering("200 OK", kind, content).await;
        let (status, report) = asked(&mut setup, &body(400_000)).await;
        assert_eq!(status, 200, "{content}");
        assert_cost(&report, 0.5);
    }
}

#[tokio::test]
async fn an_unusual_form_of_a_successful_answer_is_read() {
    let usage = r#"{"model":"claude-opus-5","usage":{"input_tokens":1000000.0,"output_tokens":0}}"#;
    let marked = "\u{feff}{\"model\":\"claude-opus-5\",\"usage\":{\"input_tokens\":1e6,\
                  \"output_tokens\":0}}";
    let events = "\u{feff}data: {\"type\":\"message_start\",\
                  \"message\":{\"model\":\"claude-opus-5\",\
                  \"usage\":{\"input_tokens\":1000000,\"output_tokens\":0}}}\n\n";
    for (kind, content) in [
        ("Application/JSON; charset=utf-8", usage),
        ("application/json", marked),
        ("TEXT/Event-Stream", events),
    ] {
        let mut setup = answering("200 OK", kind, content).await;
        let (_, report) = asked(&mut setup, "{}").await;
        assert_eq!(report.usage.input_tokens, 1_000_000, "{kind}");
        assert_cost(&report, 5.0);
    }
}

#[tokio::test]
async fn errors_of_the_api_and_failed_connections_cost_nothing() {
    for status in ["400 Bad Request", "429 Too Many Requests", "529 Overloaded"] {
        let mut setup = answering(status, "application/json", "{}").await;
        // The CLI repeats a request after a 529.
        for _ in 0..2 {
            let (_, report) = asked(&mut setup, &body(400_000)).await;
            assert_cost(&report, 0.0);
            assert_eq!(report.total_cost_usd, 0.0, "{report:?}");
        }
    }
}

#[tokio::test]
async fn the_iterations_of_a_compaction_are_counted() {
    let content = r#"{"model":"claude-opus-5","usage":{"input_tokens":23000,"output_tokens":1000,
        "iterations":[
            {"type":"compaction","input_tokens":180000,"output_tokens":3500},
            {"type":"message","input_tokens":23000,"output_tokens":1000}
        ]}}"#;
    let mut setup = answering("200 OK", "application/json", content).await;
    let (_, report) = asked(&mut setup, "{}").await;
    assert_eq!(
        (report.usage.input_tokens, report.usage.output_tokens),
        (203_000, 4500)
    );
    assert_cost(&report, (203_000.0 * 5.0 + 4500.0 * 25.0) / 1e6);
}

#[tokio::test]
async fn the_estimate_of_open_requests_counts_toward_the_limit() {
    let (send, mut received) = mpsc::channel::<mpsc::Sender<()>>(1);
    let mut setup = Setup::start(move |mut api: Exchange| {
        let send = send.clone();
        async move {
            while let Some((_, body)) = api.request().await {
                if body.len() > 1000 {
                    let (release, mut released) = mpsc::channel(1);
                    send.send(release).await.unwrap();
                    released.recv().await;
                }
                let usage =
                    r#"{"model":"claude-opus-5","usage":{"input_tokens":1,"output_tokens":1}}"#;
                api.json("200 OK", usage).await;
            }
        }
    })
    .await;
    setup.claude_api.grant("e2", "g2", Some(0.4)).await;
    let mut first = setup.client().await;
    first.post("/v1/messages", "g2", &body(400_000)).await;
    let release = soon("the request", received.recv()).await.unwrap();
    let ask = async || {
        let mut client = setup.client().await;
        client.post("/v1/messages", "g2", "{}").await;
        client.answer().await
    };
    let answer = ask().await;
    assert_eq!(answer.status, 429, "{answer:?}");
    assert_eq!(answer.header("retry-after"), Some("1"));
    release.send(()).await.unwrap();
    assert_eq!(first.answer().await.status, 200);
    assert_eq!(ask().await.status, 200);
}

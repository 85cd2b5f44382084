//! Refusals of claude-api, and the two formats of a page.

use cc_tests::{exposition::Format, harness::Stack};
use reqwest::{Method, header};

use super::{assert_near, page_as};
use crate::support::{id, path, send};

const FORMATS: [Format; 2] = [Format::OpenMetrics, Format::Text];

#[tokio::test]
async fn refusals_of_claude_api_count_by_type_and_both_formats_have_the_same_numbers() {
    let stack = Stack::start().await;
    let (api, http) = (stack.api.addr(), stack.http());
    for _ in 0..2 {
        send(&http, Method::GET, &path(&id(), ""), "").await;
    }
    send(&http, Method::GET, &path("x", ""), "").await;
    send(&http, Method::PUT, &path(&id(), ""), "{").await;
    send(&http, Method::GET, "/nowhere", "").await;
    send(&http, Method::POST, "/metrics", "").await;
    let foreign = http
        .request(Method::GET, "/metrics")
        .header("origin", "https://evil.example");
    assert_eq!(foreign.send().await.expect("an answer").status(), 403);
    let name = "claude_api_requests_refused_total";
    for format in FORMATS {
        let page = page_as(api, format).await;
        for (kind, count) in [
            ("not_found", 2.0),
            ("invalid_id", 1.0),
            ("invalid_body", 1.0),
            ("unknown_path", 1.0),
            ("method_not_allowed", 1.0),
            ("foreign_origin", 1.0),
            ("queue_full", 0.0),
        ] {
            assert_near(page.sum(name, &[("reason", kind)]), count, kind);
        }
        assert_near(page.sum(name, &[]), 7.0, "all of them");
        page_as(stack.bridge.addr(), format).await;
    }
    // A request that names no format gets the older one.
    let response = http
        .request(Method::GET, "/metrics")
        .send()
        .await
        .expect("an answer");
    let kind = response.headers()[header::CONTENT_TYPE].to_str().ok();
    assert_eq!(kind, Some(Format::Text.content_type()));
    stack.assert_quiet();
}

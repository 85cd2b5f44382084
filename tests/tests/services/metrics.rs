//! `/metrics` of both services: the counts agree with the work that was done, and Prometheus can
//! read the format.

mod bridge;
mod executions;
mod monitoring;
mod promtool;
mod readiness;
mod refusals;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use cc_tests::exposition::{Format, Page};
use cc_tests::http::Http;
use reqwest::{Method, header};

use crate::support::PATIENCE;

/// Reads a page in this format, which must have no fault.
async fn page_as(addr: SocketAddr, format: Format) -> Page {
    let request = Http::new(addr).request(Method::GET, "/metrics");
    let request = request.header(header::ACCEPT, format.content_type());
    let response = request.send().await.expect("an answer");
    assert_eq!(response.status(), 200);
    let kind = response.headers()[header::CONTENT_TYPE].to_str().ok();
    assert_eq!(kind, Some(format.content_type()));
    let text = response.text().await.expect("a page");
    let page = Page::parse(&text, format).unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert_eq!(page.faults(), Vec::<String>::new());
    page
}

/// Reads the page of a service.
pub(crate) async fn page(addr: SocketAddr) -> Page {
    page_as(addr, Format::OpenMetrics).await
}

/// Waits until this sum is `wanted`; returns the page.
async fn until(addr: SocketAddr, name: &str, labels: &[(&str, &str)], wanted: f64) -> Page {
    let end = Instant::now() + PATIENCE;
    loop {
        let page = page(addr).await;
        let sum = page.sum(name, labels);
        if sum == wanted {
            return page;
        }
        assert!(
            Instant::now() < end,
            "{name} {labels:?} is {sum}, never {wanted}"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[track_caller]
fn assert_near(got: f64, expected: f64, what: &str) {
    assert!(
        (got - expected).abs() < 1e-6,
        "{what}: {got}, expected {expected}"
    );
}

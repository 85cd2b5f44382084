//! A bridge on port 0, and a fake claude-api. Tests use the strict client of the test crate, which
//! checks every message of the bridge against docs/protocol.md.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "test helpers: each suite uses a part of them, and a panic fails the test"
)]

pub mod fake;

use std::net::SocketAddr;
use std::time::Duration;

use bridge::config::Cli;
use clap::Parser;
use protocol::ExecutionId;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

pub use cc_tests::ws::{Client, Options};
pub use fake::Fake;

/// The timeout of a wait, far longer than any step of these tests takes.
pub const SOON: Duration = Duration::from_secs(20);

/// A running bridge.
pub struct Bridge {
    pub addr: SocketAddr,
    pub stop: CancellationToken,
    pub done: AbortOnDropHandle<anyhow::Result<()>>,
}

impl Bridge {
    pub async fn start(upstream: SocketAddr, args: &[&str]) -> Self {
        let url = format!("http://{upstream}");
        let fixed = [
            "bridge",
            "--claude-api-url",
            &url,
            "--heartbeat-ms",
            "150",
            "--port",
            "0",
        ];
        let cli = Cli::try_parse_from(fixed.iter().copied().chain(args.iter().copied())).unwrap();
        let settings = cli.serve.check().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let shutdown = stop.clone().cancelled_owned();
        let task = async move { bridge::run(listener, &cli.serve, settings, shutdown).await };
        Self {
            addr,
            stop,
            done: AbortOnDropHandle::new(tokio::spawn(task)),
        }
    }

    /// Opens a session.
    pub async fn connect(&self) -> Client {
        Client::connect(self.addr).await
    }

    /// Opens a session whose client stops reading after `connected`.
    pub async fn connect_deaf(&self) -> Client {
        let client = self.connect().await;
        client.read(false);
        client
    }

    /// Opens a session with this token.
    pub async fn connect_as(&self, token: &str) -> Client {
        Client::connect_with(self.addr, with_token(token)).await
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        let response = self.request("GET", path, &[], "").await;
        (response.status, response.body)
    }

    /// Sends a request with these headers.
    pub async fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let url = format!("http://{}{path}", self.addr);
        let mut request = client.request(method.parse().unwrap(), url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.body(body.to_owned()).send().await.unwrap();
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let text = response.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Answer {
            status,
            headers,
            body,
        }
    }

    /// Waits until the bridge knows that claude-api has tokens.
    pub async fn until_tokens(&self) {
        let refused = async {
            while self.get("/metrics").await.0 != 401 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(SOON, refused).await.unwrap();
    }

    /// Returns the number of refused requests with this reason, as an admin reads it.
    pub async fn refused(&self, reason: &str, headers: &[(&str, &str)]) -> u64 {
        let page = self.request("GET", "/metrics", headers, "").await.body;
        let start = format!("bridge_requests_refused_total{{reason=\"{reason}\"}} ");
        let mut lines = page.as_str().unwrap().lines();
        let number = lines.find_map(|line| line.strip_prefix(&start));
        number
            .unwrap_or_else(|| panic!("no {reason}"))
            .parse()
            .unwrap()
    }
}

/// An HTTP answer of the bridge.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: http::HeaderMap,
    /// The JSON of the body, or its text.
    pub body: Value,
}

impl Answer {
    /// Returns a header, or an empty text.
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }
}

/// Returns the options of a client with this token.
pub fn with_token(token: &str) -> Options {
    with_headers(&[("authorization", &format!("Bearer {token}"))])
}

/// Returns the options of a client with these headers.
pub fn with_headers(headers: &[(&str, &str)]) -> Options {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Options {
        headers: headers.iter().map(owned).collect(),
        ..Options::default()
    }
}

/// Returns the execution id of a status.
pub fn id_of(status: &Value) -> ExecutionId {
    let id = status["executionId"].as_str();
    id.unwrap_or_else(|| panic!("{status}")).parse().unwrap()
}

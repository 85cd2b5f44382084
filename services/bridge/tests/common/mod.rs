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

pub use cc_tests::ws::Client;
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

    pub async fn get(&self, path: &str) -> (u16, Value) {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let response = client
            .get(format!("http://{}{path}", self.addr))
            .send()
            .await
            .unwrap();
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        (
            status,
            serde_json::from_str(&text).unwrap_or(Value::String(text)),
        )
    }
}

/// Returns the execution id of a status.
pub fn id_of(status: &Value) -> ExecutionId {
    let id = status["executionId"].as_str();
    id.unwrap_or_else(|| panic!("{status}")).parse().unwrap()
}

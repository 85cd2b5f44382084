//! The composed stack with the real CLI and the scripted model, as `scripts/up --demo` makes it. Found by the
//! environment: `CCB_WS` (`ws://127.0.0.1:8003/ws`) and `CCB_HTTP` (`http://127.0.0.1:8002`); both must be set.
//! Run with `cargo test -p cc-tests --features composed --test composed`.

mod basic;
mod concurrent;
mod control;
mod credentials;
mod deployment;
mod hallucination;
mod resilience;
mod stress;
mod support;

use std::net::SocketAddr;

use cc_tests::ws;

fn needed(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} must be set: start the stack first (scripts/up --demo)"))
}

/// The bridge's address; the path of `CCB_WS` does not matter.
async fn bridge() -> SocketAddr {
    let url = needed("CCB_WS");
    let rest = url
        .strip_prefix("ws://")
        .unwrap_or_else(|| panic!("CCB_WS must begin with ws://, not {url}"));
    let host = rest.split('/').next().unwrap_or(rest);
    let mut found = tokio::net::lookup_host(host)
        .await
        .unwrap_or_else(|error| panic!("CCB_WS {url}: {error}"));
    found
        .next()
        .unwrap_or_else(|| panic!("CCB_WS {url} has no address"))
}

/// A session on the given path. The real CLI takes its time to start.
async fn client(path: &str) -> ws::Client {
    let patience = std::time::Duration::from_secs(120);
    ws::Client::connect_with(
        bridge().await,
        ws::Options {
            path: path.into(),
            patience,
            ..ws::Options::default()
        },
    )
    .await
}

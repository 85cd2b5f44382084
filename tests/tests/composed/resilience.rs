//! Faults that the stack survives: each test has containers of its own, breaks one thing in the
//! middle of a stream, and checks what every viewer gets.

mod full_spool;
mod idle_proxy;
mod kills;
mod network;

use std::time::Duration;

use cc_tests::ws::Client;
use serde_json::Value;

/// Time limit of a test, with the start of its containers.
const LIMIT: Duration = Duration::from_secs(180);

/// Returns a prompt that writes so many words, and its output.
fn words(count: u32, delay_ms: u32) -> (String, String) {
    let text = (1..=count).map(|n| format!("word{n} ")).collect();
    (format!("@tokens {count} {delay_ms}"), text)
}

/// Heartbeats of a second: a silent peer is noticed in two.
const QUICK: &str = "services:\n  claude-api:\n    environment:\n      - \
                     CLAUDE_API_HEARTBEAT_MS=1000\n  bridge:\n    \
                     environment:\n      - BRIDGE_HEARTBEAT_MS=1000\n      - \
                     BRIDGE_PING_MS=1000\n";

/// Waits until a viewer gets the update that the bridge does not reach claude-api: after two
/// heartbeats, and some time for a slow machine.
async fn wait_unreachable(client: &Client, id: &str) -> Value {
    cc_tests::composed::until(
        "upstream: unreachable",
        Duration::from_secs(8),
        async || {
            let updates = client.updates(id);
            updates
                .into_iter()
                .rev()
                .find(|update| update["upstream"] == "unreachable")
        },
    )
    .await
}

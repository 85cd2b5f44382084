//! Sessions, limits and metrics of each bridge alone.

use cc_tests::{
    harness::{Stack, StackOptions},
    ws,
};

use super::client;
use crate::metrics::page;

#[tokio::test]
async fn each_bridge_counts_and_limits_its_own_sessions() {
    let options = StackOptions::default().two_bridges().bridge("--sessions=1");
    let stack = Stack::with(options).await;
    let bridges = [&stack.bridge, stack.second_bridge()];
    let mut clients = Vec::new();
    for bridge in bridges {
        clients.push(client(bridge).await);
        let more = ws::Client::try_connect(bridge.addr(), ws::Options::default()).await;
        assert_eq!(more.expect("an upgrade").wait_closed().await, 1013);
    }
    for bridge in bridges {
        let page = page(bridge.addr()).await;
        assert_eq!(page.sum("bridge_sessions_opened_total", &[]), 1.0);
    }
    for client in clients {
        client.finish().await;
    }
    stack.assert_quiet();
}

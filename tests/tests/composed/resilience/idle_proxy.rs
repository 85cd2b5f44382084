//! F14: a proxy in front of the bridge that drops idle connections.

use std::time::Duration;

use cc_tests::composed::{IdleProxy, Plan, Project, Use, case, until};

use super::LIMIT;
use crate::support::assert_completed;

/// Scaled 1:20 from the 60 s of common load balancers; pings likewise from the default of 20 s.
const IDLE: Duration = Duration::from_secs(3);
const PINGS: &str = "services:\n  bridge:\n    environment:\n      - BRIDGE_PING_MS=1000\n";

#[tokio::test]
async fn f14_pings_keep_a_silent_session_open_through_a_proxy_that_drops_idle_connections() {
    case(LIMIT, Use::Own, async |case| {
        let project = Project::up("idle", &Plan::default().overlay(PINGS)).await;
        let proxy = IdleProxy::start(project.bridge(), IDLE).await;
        let mut client = project.client_at(proxy.addr()).await;
        case.step("a silence of five times the limit");
        let id = client.start("@say one\n@stall 15\n@say two").await;
        let (output, end) = client.wait_terminal(&id).await;
        assert_completed(&end);
        assert_eq!(String::from_utf8_lossy(&output), "onetwo");
        client.finish().await;
        assert_eq!(proxy.cut(), 0, "the pings did not keep the connection open");
        case.step("the proxy does drop a silent connection");
        let _silent = tokio::net::TcpStream::connect(proxy.addr())
            .await
            .expect("connected");
        until("the cut", 4 * IDLE, async || {
            (proxy.cut() == 1).then_some(())
        })
        .await;
    })
    .await;
}

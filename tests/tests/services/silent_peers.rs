//! F14: each hop notices a peer that stays connected and sends nothing. The output of that time
//! arrives later.

use std::time::{Duration, Instant};

use cc_tests::{
    faults::Faults,
    harness::{Stack, StackOptions},
    http::Http,
};
use serde_json::json;

use crate::support::{PATIENCE, ended};

/// Interval of pings and heartbeats.
const INTERVAL: Duration = Duration::from_secs(1);
/// Delay that a busy machine may add.
const SLACK: Duration = Duration::from_secs(2);
/// 5 s of output, a word every 10 ms.
const WORDS: usize = 500;

async fn start() -> Stack {
    let milliseconds = INTERVAL.as_millis();
    let options = StackOptions::default()
        .one_bridge()
        .api(format!("--heartbeat-ms={milliseconds}"))
        .bridge(format!("--heartbeat-ms={milliseconds}"))
        .bridge(format!("--ping-ms={milliseconds}"));
    Stack::with(options.proxies()).await
}

fn prompt() -> String {
    format!("@rate 100\n@tokens {WORDS}")
}

fn expected() -> String {
    (1..=WORDS).map(|number| format!("word{number} ")).collect()
}

/// Waits until the bridge has `wanted` sessions; returns how long that took.
async fn wait_for_sessions(stack: &Stack, wanted: usize) -> Duration {
    let (http, begun) = (Http::new(stack.bridge.addr()), Instant::now());
    let gauge = format!("\nbridge_sessions {wanted}\n");
    loop {
        let page = http.request(reqwest::Method::GET, "/metrics").send();
        let page = page.await.expect("an answer").text().await;
        let took = begun.elapsed();
        if page.expect("a page").contains(&gauge) {
            return took;
        }
        assert!(took < PATIENCE, "the bridge never had {wanted} sessions");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn f14_a_client_behind_a_silent_network_is_dropped_and_resumes() {
    let stack = start().await;
    let idle = stack.client().await;
    let mut viewer = stack.client().await;
    let id = viewer.start(&prompt()).await;
    viewer.wait_output(&id, 1).await;
    wait_for_sessions(&stack, 2).await;
    let front = stack.front.as_ref().expect("a proxy");
    front.set(Faults::blackhole());
    // The last ping before the fault may still be answered; then the client misses two.
    let took = wait_for_sessions(&stack, 0).await;
    assert!(took < 3 * INTERVAL + SLACK, "noticed after {took:?}");
    let mut joined = viewer.output(&id);
    assert!(joined.len() < expected().len(), "nothing was missed");
    idle.vanish();
    viewer.vanish();
    front.heal();
    let mut reconnected = stack.client().await;
    let reached = joined.len() as u64;
    reconnected
        .attach(&id, Some(reached))
        .await
        .expect("attached");
    let (rest, end) = reconnected.wait_terminal(&id).await;
    joined.extend(rest);
    assert_eq!(String::from_utf8_lossy(&joined), expected());
    assert_eq!(end["status"], "COMPLETED", "{end}");
    assert_eq!(reconnected.gaps(&id), []);
    reconnected.finish().await;
    stack.assert_quiet();
}

#[tokio::test]
async fn f14_a_silent_claude_api_is_reported_as_unreachable_and_its_output_arrives_later() {
    let stack = start().await;
    let mut client = stack.client().await;
    let id = client.start(&prompt()).await;
    client.wait_output(&id, 1).await;
    let middle = stack.middle.as_ref().expect("a proxy");
    middle.set(Faults::blackhole());
    let begun = Instant::now();
    let notice = client.wait_notice("upstream_unreachable").await;
    let took = begun.elapsed();
    assert_eq!(notice["executionId"], *id);
    assert!(took < 5 * INTERVAL / 2 + SLACK, "noticed after {took:?}");
    // The execution ends while the bridge cannot see it; the bridge keeps sending heartbeats.
    assert_eq!(ended(&stack.http(), &id).await["state"], "completed");
    let seen = client.updates(&id).len();
    let end = Instant::now() + PATIENCE;
    while client.updates(&id).len() < seen + 2 {
        assert!(Instant::now() < end, "there are no heartbeats");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for update in &client.updates(&id)[seen..] {
        assert_eq!(
            (&update["status"], &update["upstream"]),
            (&json!("RUNNING"), &json!("unreachable")),
            "{update}"
        );
    }
    assert!(client.output(&id).len() < expected().len());
    middle.heal();
    let (output, end) = client.wait_terminal(&id).await;
    assert_eq!(String::from_utf8_lossy(&output), expected());
    assert_eq!(end["status"], "COMPLETED", "{end}");
    assert_eq!(client.gaps(&id), []);
    client.finish().await;
    stack.assert_quiet();
}

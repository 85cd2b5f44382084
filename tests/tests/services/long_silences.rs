//! F4: a healthy run with repeated silences is left alone on both hops. Timers are scaled 1:60:
//! half a minute stands for half an hour. Heartbeats, pings and graces are scaled less, because a
//! busy machine would miss shorter ones.

use std::time::Duration;

use cc_tests::{
    harness::{Stack, StackOptions},
    ws,
};
use serde_json::json;

/// Number of silences. Each lasts 5 s and stands for 5 minutes: beyond `stalledMs` (120 s), within
/// `idleTimeoutMs` (900 s).
const SILENCES: usize = 6;
const SCALED: [&str; 6] = [
    "--stalled-ms=2000",
    "--idle-timeout-ms=15000",
    "--heartbeat-ms=1000",
    "--drain-ms=500",
    "--linger-ms=2000",
    "--kill-ms=500",
];

#[tokio::test]
async fn f4_a_run_of_half_a_minute_with_silences_of_five_seconds_completes() {
    let options = SCALED
        .into_iter()
        .fold(StackOptions::default(), StackOptions::api);
    let options = options
        .bridge("--heartbeat-ms=1000")
        .bridge("--ping-ms=1000");
    let stack = Stack::with(options.proxies()).await;
    let options = ws::Options {
        patience: Duration::from_secs(60),
        ..ws::Options::default()
    };
    let mut client = ws::Client::connect_with(stack.ws_addr(), options).await;
    let id = client.start(&"@silence 5\n@say a\n".repeat(SILENCES)).await;
    let http = stack.http();
    // This client does not retry: an output stream that was cut is not clean.
    let direct = http.output(&id, 0);
    let (direct, (output, end)) = tokio::join!(direct, client.wait_terminal(&id));
    let whole = "a".repeat(SILENCES);
    assert_eq!(String::from_utf8_lossy(&output), whole);
    assert_eq!(
        (&end["status"], &end["reason"], &end["exitCode"]),
        (&json!("COMPLETED"), &json!(null), &json!(0)),
        "{end}"
    );
    assert!(end["durationMs"].as_u64() >= Some(30_000), "{end}");
    direct.expect("an output").assert_whole("completed");
    let updates = client.updates(&id);
    assert!(
        updates.iter().any(|update| update["stalled"] == true),
        "the silences were no silences: {updates:#?}"
    );
    // The session was never reconnected.
    assert_eq!(stack.front.as_ref().expect("a proxy").connections(), 1);
    client.finish().await;
    stack.assert_quiet();
}

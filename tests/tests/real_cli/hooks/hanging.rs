//! Hooks of the real CLI that are slow or never end: no other execution waits, and a cancel or a
//! stop is answered at once.

use std::{
    fs,
    time::{Duration, Instant},
};

use cc_tests::ws::Client;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::{Hooked, MOMENTS, PATIENCE};

/// Time limit of hooks. A test that waited for it would fail first.
const LIMIT_MS: &str = "600000";
/// Limit for an immediate answer, which takes milliseconds, on a busy machine.
const IMMEDIATE: Duration = Duration::from_secs(5);
/// `CLAUDE_API_SHUTDOWN_MS` of these tests, and time for a busy machine.
const STOP: Duration = Duration::from_secs(4 + 5);

/// Asserts that an execution still waits for its before hook, without a CLI.
async fn assert_waits(hooked: &Hooked, id: &str) {
    let status = hooked.http().status(id).await.expect("a status");
    assert_eq!(status["state"], "running", "{status}");
    hooked.assert_ran(id, false);
}

/// Cancels an execution; returns the answer, which must be immediate.
async fn cancel(client: &mut Client, id: &str) -> Value {
    let begun = Instant::now();
    let answer = client.control("CANCEL", Some(id)).await.expect("accepted");
    let took = begun.elapsed();
    assert!(took < IMMEDIATE, "the cancel waited for a hook: {took:?}");
    answer
}

/// Waits for an end without a fault, a warning or a notice.
async fn assert_completes(client: &Client, id: &str) {
    let (output, end) = client.wait_terminal(id).await;
    assert_eq!(
        (&output[..], &end["status"], &end["warnings"]),
        (&b"done"[..], &json!("COMPLETED"), &json!([])),
        "{end}"
    );
    assert!(client.notices().is_empty(), "{:?}", client.notices());
}

async fn assert_no_delay(mode: &'static str) {
    let mut hooked = Hooked::start(mode, LIMIT_MS).await;
    let (slow, slow_id) = hooked.execute("before", "slow").await;
    let (mut endless, endless_id) = hooked.execute("before", "endless").await;
    let (mut slow_after, slow_after_id) = hooked.execute("after", "slow").await;
    let (mut endless_after, endless_after_id) = hooked.execute("after", "endless").await;
    for name in [
        "before.slow",
        "before.endless",
        "after.slow",
        "after.endless",
    ] {
        hooked.exists(name).await;
    }

    // All four hooks hang during the following steps.
    hooked.assert_usual_time().await;
    assert_completes(&slow_after, &slow_after_id).await;
    assert_completes(&endless_after, &endless_after_id).await;
    let next = slow_after.start("@say next in the lane").await;
    let (_, end) = slow_after.wait_terminal(&next).await;
    assert_eq!(end["status"], "COMPLETED", "{end}");
    assert_waits(&hooked, &slow_id).await;
    assert_waits(&hooked, &endless_id).await;

    let begun = Instant::now();
    cancel(&mut endless, &endless_id).await;
    let (output, end) = endless.wait_terminal(&endless_id).await;
    assert!(begun.elapsed() < IMMEDIATE, "{:?}", begun.elapsed());
    assert_eq!(
        (
            &end["status"],
            &end["reason"],
            &end["warnings"],
            &output[..]
        ),
        (&json!("CANCELLED"), &Value::Null, &json!([]), &b""[..]),
        "{end}"
    );
    hooked.assert_ran(&endless_id, false);
    hooked.assert_nothing_left("before").await;
    // The execution has ended: the cancel changes nothing, and does not reach its hook.
    let answer = cancel(&mut endless_after, &endless_after_id).await;
    assert_eq!(answer["state"], "completed", "{answer}");

    assert_waits(&hooked, &slow_id).await;
    fs::write(hooked.file("go"), "").expect("written");
    assert_completes(&slow, &slow_id).await;
    for client in [slow, endless, slow_after, endless_after] {
        client.finish().await;
    }
    assert_stop_is_immediate(&mut hooked, &endless_after_id).await;
    let status = hooked
        .http()
        .status(&slow_after_id)
        .await
        .expect("a status");
    assert_eq!(status["warnings"], json!([]), "{status}");
}

/// Stops claude-api while a before hook and an after hook hang, and asserts the recorded statuses.
async fn assert_stop_is_immediate(hooked: &mut Hooked, ended: &str) {
    let id = uuid::Uuid::new_v4().to_string();
    fs::remove_file(hooked.file("before.endless")).expect("removed");
    let body = json!({"prompt": "@say never", "metadata": {"before": "endless"}});
    let (code, answer) = hooked.http().put(&id, &body).await.expect("an answer");
    assert!(code.is_success(), "{answer}");
    hooked.exists("before.endless").await;

    let begun = Instant::now();
    hooked.world.stack.api.signal(Signal::TERM);
    let exit = hooked.world.stack.api.wait_exit(PATIENCE).await;
    let took = begun.elapsed();
    assert!(exit.success(), "{exit}");
    assert!(took < STOP, "{took:?}");
    for moment in MOMENTS {
        hooked.assert_nothing_left(moment).await;
    }

    hooked.world.stack.api.start_again().await;
    let status = hooked.http().status(&id).await.expect("a status");
    assert_eq!(
        (&status["state"], &status["reason"], &status["warnings"]),
        (&json!("interrupted"), &json!("service_stopped"), &json!([])),
        "{status}"
    );
    hooked.assert_ran(&id, false);
    let status = hooked.http().status(ended).await.expect("a status");
    assert_eq!(status["state"], "completed", "{status}");
    let what = "was killed, because the service stopped";
    hooked.assert_warned(&status, "after", "stopped", what);
}

#[tokio::test]
async fn hanging_advisory_hooks_delay_no_other_execution_and_no_cancel() {
    assert_no_delay("advisory").await;
}

#[tokio::test]
async fn hanging_required_hooks_delay_no_other_execution_and_no_cancel() {
    assert_no_delay("required").await;
}

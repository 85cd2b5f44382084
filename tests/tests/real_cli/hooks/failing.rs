//! Hooks of the real CLI that fail at once or at their time limit, each at each moment.

use std::fs;

use cc_tests::{harness::until, ws};
use serde_json::{Value, json};

use super::{Hooked, MOMENTS, PATIENCE};

/// Time limit of hooks, long enough for those that end by themselves on a busy machine.
const LIMIT_MS: &str = "8000";

/// A way to fail: the kind in the metadata, the cause, and the end of the message.
type Failure = (&'static str, &'static str, String);

fn failures() -> [Failure; 3] {
    let kept = "e".repeat(4096 - "last words\n".len());
    [
        (
            "fail",
            "exit_code",
            "ended with code 3: no room for this".to_owned(),
        ),
        (
            "huge",
            "exit_code",
            format!("ended with code 4: {kept}last words"),
        ),
        (
            "endless",
            "timed_out",
            format!("was killed after its time limit of {LIMIT_MS} ms"),
        ),
    ]
}

/// An execution with a hook that fails.
struct Failed {
    client: ws::Client,
    id: String,
    moment: &'static str,
    failure: Failure,
}

impl Failed {
    async fn start(hooked: &Hooked, moment: &'static str, failure: Failure) -> Self {
        let (client, id) = hooked.execute(moment, failure.0).await;
        Self {
            client,
            id,
            moment,
            failure,
        }
    }

    /// Asserts the end of the execution, and the notice, the warning or the reason of its hook.
    async fn assert_reported(self, hooked: &Hooked) {
        let Self {
            client,
            id,
            moment,
            failure: (kind, cause, what),
        } = self;
        let (output, end) = client.wait_terminal(&id).await;
        let context = format!("{} {moment} {kind}: {end}", hooked.mode);
        let refused = moment == "before" && hooked.mode == "required";
        hooked.assert_ran(&id, !refused);
        if refused {
            assert_eq!(
                (
                    &end["status"],
                    &end["reason"],
                    &end["exitCode"],
                    &output[..]
                ),
                (
                    &json!("FAILED"),
                    &json!("hook_refused"),
                    &Value::Null,
                    &b""[..]
                ),
                "{context}"
            );
            let error = json!({"code": "hook_refused", "message": hooked.message(moment, &what)});
            assert_eq!(
                (&end["error"], &end["warnings"]),
                (&error, &json!([])),
                "{context}"
            );
        } else {
            assert_eq!(
                (
                    &end["status"],
                    &end["reason"],
                    &end["exitCode"],
                    &output[..]
                ),
                (&json!("COMPLETED"), &Value::Null, &json!(0), &b"done"[..]),
                "{context}"
            );
        }
        match (moment, refused) {
            ("before", false) => {
                hooked.assert_warned(&end, moment, cause, &what);
                let notice = client.wait_notice("hook_failed").await;
                assert_eq!(
                    (&notice["executionId"], &notice["message"]),
                    (&json!(id), &end["warnings"][0]["message"])
                );
                for (name, value) in end["warnings"][0]["data"].as_object().expect("data") {
                    assert_eq!(notice["data"][name], *value, "{notice}");
                }
            }
            ("after", _) => {
                // The viewers got their last message before the hook began.
                assert_eq!(end["warnings"], json!([]), "{context}");
                hooked.assert_warned(&warned(hooked, &id).await, moment, cause, &what);
                assert!(client.notices().is_empty(), "{:?}", client.notices());
            }
            _ => assert!(client.notices().is_empty(), "{:?}", client.notices()),
        }
        client.finish().await;
    }
}

/// Waits until an ended execution has a warning; returns its status.
async fn warned(hooked: &Hooked, id: &str) -> Value {
    until("a warning", PATIENCE, async || {
        let status = hooked.http().status(id).await.expect("a status");
        (status["warnings"] != json!([])).then_some(status)
    })
    .await
}

/// Waits until the page of readiness has this code; a 503 must name the missing hook.
async fn ready(hooked: &Hooked, wanted: u16) {
    until(&format!("readiness {wanted}"), PATIENCE, async || {
        let (code, page) = hooked.http().get("/health/ready").await.expect("a page");
        let is_wanted = code.as_u16() == wanted;
        if is_wanted {
            let missing = page.to_string().contains("hook-missing");
            assert_eq!(missing, wanted == 503, "{page}");
        }
        is_wanted.then_some(())
    })
    .await;
}

/// Moves a hook away for a while, and asserts how an execution without it is reported.
async fn assert_missing(hooked: &Hooked, moment: &'static str) {
    let (program, away) = (hooked.file(moment), hooked.file("away"));
    fs::rename(&program, &away).expect("renamed");
    let what = format!(
        "could not be started: cannot start {}: No such file or directory (os error 2); check that \
         this program exists and may be executed",
        program.display()
    );
    let failed = Failed::start(hooked, moment, ("missing", "not_started", what)).await;
    failed.assert_reported(hooked).await;
    let stops_all = (moment, hooked.mode) == ("before", "required");
    // The page checks the hooks again after a while.
    ready(hooked, if stops_all { 503 } else { 200 }).await;
    fs::rename(&away, &program).expect("renamed");
}

async fn assert_each_failure(mode: &'static str) {
    let hooked = Hooked::start(mode, LIMIT_MS).await;
    let mut failed = Vec::new();
    for moment in MOMENTS {
        for failure in failures() {
            failed.push(Failed::start(&hooked, moment, failure).await);
        }
    }
    for moment in MOMENTS {
        hooked.exists(&format!("{moment}.endless")).await;
    }
    hooked.assert_usual_time().await;
    for failed in failed {
        failed.assert_reported(&hooked).await;
    }
    for moment in MOMENTS {
        hooked.assert_nothing_left(moment).await;
        assert_missing(&hooked, moment).await;
    }
    let stack = &hooked.world.stack;
    stack.bridge.assert_quiet();
    stack.assert_no_zombies();
    // Only failed after hooks are errors, and only if they are required.
    let complaints = stack.api.complaints();
    let errors = if mode == "required" { 4 } else { 0 };
    assert_eq!(complaints.len(), errors, "{complaints:#?}");
    let ours = "the required after hook ";
    assert!(
        complaints.iter().all(|line| line.contains(ours)),
        "{complaints:#?}"
    );
}

#[tokio::test]
async fn each_failure_of_an_advisory_hook_is_reported_and_harms_no_other_execution() {
    assert_each_failure("advisory").await;
}

#[tokio::test]
async fn each_failure_of_a_required_hook_is_reported_and_harms_no_other_execution() {
    assert_each_failure("required").await;
}

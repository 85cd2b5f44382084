//! S8: with a limit of lines the oldest lines are freed, every viewer gets a gap for them, and
//! length and digests stay those of the whole output.

use cc_tests::harness::{Stack, StackOptions};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{assert_problem, ended, path, send, until};

const LINES: u64 = 5000;
const KEPT: usize = 100;
/// Lines above the limit that may be kept: a 32nd of the limit, less one.
const SLACK: usize = 2;

/// Returns the whole output of `@volume`.
fn whole_output() -> String {
    (1..=LINES)
        .map(|number| format!("{number:012} {}\n", "x".repeat(26)))
        .collect()
}

#[track_caller]
fn assert_last_lines(kept: &str, whole: &str) {
    let lines = kept.lines().count();
    assert!(
        (KEPT..=KEPT + SLACK).contains(&lines),
        "{lines} lines are kept"
    );
    assert!(whole.ends_with(&format!("\n{kept}")), "whole lines: {kept}");
}

#[tokio::test]
async fn s8_the_oldest_lines_are_freed_and_every_viewer_gets_a_gap() {
    let options = StackOptions::default().api(format!("--kept-lines={KEPT}"));
    let mut stack = Stack::with(options).await;
    let (http, all) = (stack.http(), whole_output());
    let (_, limits) = http.get("/v1/limits").await.expect("an answer");
    assert_eq!(limits["keptLines"], KEPT, "{limits}");
    let mut client = stack.client().await;
    let id = client.start(&format!("@volume {LINES} 40\n@tool 60")).await;
    let written = |status: &Value| status["outputBytes"] == all.len();
    let status = until(&http, &id, "written", written).await;
    let kept_from = status["keptFrom"].as_u64().expect("a number");
    let kept = &all[usize::try_from(kept_from).expect("small")..];
    assert_last_lines(kept, &all);

    // A late viewer gets a gap, then the output from the oldest kept byte on.
    let mut late = stack.client().await;
    late.attach(&id, None).await.expect("a view");
    late.wait_output(&id, kept.len() as u64).await;
    assert_eq!(late.gaps(&id), [(0, kept_from)]);
    assert_eq!(late.output(&id), kept.as_bytes());
    let refused = late.attach(&id, Some(kept_from - 1)).await;
    let error = refused.expect_err("not kept");
    assert_eq!(
        (&error["code"], &error["data"]["keptFrom"]),
        (&json!(-32007), &json!(kept_from)),
        "{error}"
    );
    let below = path(&id, &format!("/output?offset={}", kept_from - 1));
    let answer = send(&http, Method::GET, &below, "").await;
    assert_problem(&answer, 410, "offset-not-kept", "a freed line");
    assert_eq!(answer.2["keptFrom"], kept_from);

    // The same after a kill: the execution is interrupted, its last lines are kept, and length and
    // digests are those of the whole output.
    stack.crash_api().await;
    let http = stack.http();
    let end = ended(&http, &id).await;
    assert_eq!(
        (&end["state"], &end["keptFrom"], &end["outputBytes"]),
        (&json!("interrupted"), &json!(kept_from), &json!(all.len()))
    );
    let crc32 = format!("{:08x}", crc32fast::hash(all.as_bytes()));
    assert_eq!(
        (&end["crc32"], &end["sha256"]),
        (&json!(crc32), &Value::Null)
    );
    let output = http.output(&id, kept_from).await.expect("an output");
    assert_eq!(output.trailers["output-crc32"], crc32);
    assert!(output.clean && output.bytes == kept.as_bytes());
    client.wait_terminal(&id).await;
    late.attach(&id, None).await.expect("a view");
    assert_eq!(late.wait_terminal(&id).await.0, kept.as_bytes());
    client.finish().await;
    late.finish().await;
}

#[tokio::test]
async fn s8_a_completed_run_has_the_length_and_crc32_of_the_whole_output() {
    let options = StackOptions::default().api("--kept-lines=100");
    let stack = Stack::with(options).await;
    let (mut client, all) = (stack.client().await, whole_output());
    let id = client.start(&format!("@volume {LINES} 40")).await;
    let (_, end) = client.wait_terminal(&id).await;
    assert_eq!(
        (&end["status"], &end["outputBytes"]),
        (&json!("COMPLETED"), &json!(all.len()))
    );
    assert_eq!(
        end["crc32"],
        format!("{:08x}", crc32fast::hash(all.as_bytes()))
    );
    let kept_from = end["keptFrom"].as_u64().expect("a number");
    let output = stack.http().output(&id, kept_from).await;
    let kept = String::from_utf8(output.expect("an output").bytes).expect("UTF-8");
    assert_last_lines(&kept, &all);
    client.finish().await;
    stack.assert_quiet();
}

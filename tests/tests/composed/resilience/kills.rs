//! SIGKILL of each container in the middle of a stream.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use cc_tests::composed::{Plan, Project, Use, case, until};
use serde_json::Value;
use tokio::io::AsyncReadExt;

use super::{LIMIT, words};
use crate::support::{assert_completed, assert_ended, run};

/// Time after a start of claude-api within which it records interrupted executions
/// (docs/protocol.md, "State names").
const RECORDED: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_kill_of_the_bridge_loses_no_output() {
    case(LIMIT, Use::Own, async |case| {
        let project = Project::up("bridge", &Plan::default()).await;
        let (prompt, text) = words(500, 40);
        let mut client = project.client().await;
        case.step("ccb, which takes the longest to start");
        let mut ccb = project.ccb(&["exec", &prompt]);
        let mut ccb = ccb
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("ccb");
        let mut pipe = ccb.stdout.take().expect("piped");
        let mut printed = vec![0; 200];
        pipe.read_exact(&mut printed)
            .await
            .expect("ccb prints output as it arrives");
        case.step("a session beside it");
        let id = client.start(&prompt).await;
        let queued = [
            client.start("print(6 * 7)").await,
            client.start("print(7 * 7)").await,
        ];
        client.wait_output(&id, 200).await;

        case.step("kill -9");
        project.act("kill", "bridge").await;
        assert_eq!(client.wait_closed().await, 1006);
        let first = client.output(&id);
        assert!(first.len() < text.len(), "the kill was too late");
        project.act("start", "bridge").await;
        project.wait_answers(project.bridge(), "/health/live").await;

        case.step("attached again, at the byte that was reached");
        let mut reconnected = project.client().await;
        reconnected
            .attach(&id, Some(first.len() as u64))
            .await
            .expect("attached");
        for id in &queued {
            reconnected.attach(id, None).await.expect("attached");
        }
        let (rest, end) = reconnected.wait_terminal(&id).await;
        assert_completed(&end);
        assert_eq!(String::from_utf8_lossy(&[first, rest].concat()), text);
        for (id, answer) in queued.iter().zip(["42", "49"]) {
            let (output, end) = reconnected.wait_terminal(id).await;
            assert_completed(&end);
            assert_eq!(String::from_utf8_lossy(&output), answer);
        }
        reconnected.finish().await;

        case.step("ccb reconnected by itself");
        pipe.read_to_end(&mut printed).await.expect("the rest");
        let code = ccb.wait().await.expect("ccb ends").code();
        let mut stderr = String::new();
        ccb.stderr
            .take()
            .expect("piped")
            .read_to_string(&mut stderr)
            .await
            .expect("text");
        assert_eq!(code, Some(0), "{stderr}");
        assert_eq!(
            String::from_utf8_lossy(&printed).trim_end(),
            text.trim_end()
        );
        project.assert_quiet().await;
    })
    .await;
}

#[tokio::test]
async fn a_kill_of_claude_api_interrupts_the_execution_and_the_queue_runs() {
    case(LIMIT, Use::Own, async |case| {
        let project = Project::up("api", &Plan::default()).await;
        let (prompt, text) = words(2000, 40);
        let mut client = project.client().await;
        let id = client.start(&prompt).await;
        let next = client.start("print(6 * 7)").await;
        client.wait_output(&id, 200).await;

        case.step("kill -9");
        project.act("kill", "claude-api").await;
        project.act("start", "claude-api").await;
        project.wait_answers(project.api(), "/health/live").await;
        let started = Instant::now();
        let status = until("the interruption to be recorded", RECORDED, async || {
            let status = project.http().status(&id).await.ok()?;
            (!status["endedAt"].is_null()).then_some(status)
        })
        .await;
        case.step(format!("recorded {:?} after the start", started.elapsed()));
        assert_eq!(
            (&status["state"], &status["exitCode"]),
            (&"interrupted".into(), &Value::Null)
        );

        let (output, end) = client.wait_terminal(&id).await;
        assert_eq!(
            (&end["status"], &end["exitCode"]),
            (&"INTERRUPTED".into(), &Value::Null),
            "{end}"
        );
        assert!(
            output.len() >= 200 && text.as_bytes().starts_with(&output),
            "{} bytes",
            output.len()
        );
        let kept = project.http().output(&id, 0).await.expect("still readable");
        kept.assert_whole("interrupted");
        assert_eq!(kept.bytes, output);

        case.step("the queued execution runs");
        let (output, end) = client.wait_terminal(&next).await;
        assert_completed(&end);
        assert_eq!(output, b"42");
        let processes = project
            .exec("claude-api", &["ps", "-eo", "args"])
            .await
            .expect("ps");
        assert!(
            !processes.contains(&id) && !processes.contains(&next),
            "{processes}"
        );
        assert_eq!(run(&mut client, "print(8 * 7)").await, "56");
        project.wait_healthy("claude-api").await;
        client.finish().await;
        project.assert_quiet().await;
    })
    .await;
}

/// The real CLI retries when its model is cut off, and no output appears twice.
#[tokio::test]
async fn a_kill_of_the_model_repeats_no_output() {
    case(LIMIT, Use::Own, async |case| {
        let project = Project::up("model", &Plan::default()).await;
        let (prompt, text) = words(150, 40);
        let mut client = project.client().await;
        let id = client.start(&prompt).await;
        client.wait_output(&id, 200).await;
        case.step("kill -9");
        project.act("kill", "scripted-model").await;
        project.act("start", "scripted-model").await;
        let (output, end) = client.wait_terminal(&id).await;
        assert_completed(&end);
        assert_eq!(String::from_utf8_lossy(&output), text);
        client.finish().await;
        project.assert_quiet().await;
    })
    .await;
}

/// F17: a tool kills everything that it may, which is its own execution.
#[tokio::test]
async fn f17_a_tool_that_kills_everything_ends_only_its_execution() {
    case(LIMIT, Use::Own, async |case| {
        let project = Project::up("f17", &Plan::default()).await;
        let mut client = project.client().await;
        let words = words(300, 40);
        let beside = client.start(&words.0).await;
        // The name matches the service as well as the CLI. The CLI's own shell only guards the bare
        // word `pkill`.
        for command in ["kill -9 -1", "/usr/bin/pkill -9 claude"] {
            case.step(command);
            let id = client.start(&format!("@say before\n@bash {command}")).await;
            let (output, end) = client.wait_terminal(&id).await;
            assert_ended(&end, "FAILED", Some("killed_by_signal"));
            assert_eq!(output, b"before", "{end}");
            case.step("all other processes live, and a new execution works");
            for service in ["claude-api", "bridge", "credentials"] {
                assert_eq!(project.inspect(service, "{{.RestartCount}}").await, "0");
            }
            assert_eq!(run(&mut client, "print(6 * 7)").await, "42");
        }
        let (output, end) = client.wait_terminal(&beside).await;
        assert_completed(&end);
        assert_eq!(String::from_utf8_lossy(&output), words.1);
        client.finish().await;
        project.assert_quiet().await;
    })
    .await;
}

//! kill -9 of each container in mid-stream.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use cc_tests::composed::{Plan, Project, Use, case, until};
use serde_json::Value;
use tokio::io::AsyncReadExt;

use super::{LIMIT, words};
use crate::support::{completed, ended, ran};

/// The time after a start of claude-api in which it records what it interrupted (docs/protocol.md,
/// "State names").
const RECORDED: Duration = Duration::from_secs(5);

#[tokio::test]
async fn the_bridge_is_killed() {
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
            .expect("ccb prints as it comes");
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
        assert!(first.len() < text.len(), "the kill came too late");
        project.act("start", "bridge").await;
        project.wait_answers(project.bridge(), "/health/live").await;

        case.step("attached again, at the byte that was reached");
        let mut again = project.client().await;
        again
            .attach(&id, Some(first.len() as u64))
            .await
            .expect("attached");
        for id in &queued {
            again.attach(id, None).await.expect("attached");
        }
        let (rest, end) = again.wait_terminal(&id).await;
        completed(&end);
        assert_eq!(String::from_utf8_lossy(&[first, rest].concat()), text);
        for (id, answer) in queued.iter().zip(["42", "49"]) {
            let (output, end) = again.wait_terminal(id).await;
            completed(&end);
            assert_eq!(String::from_utf8_lossy(&output), answer);
        }
        again.finish().await;

        case.step("ccb came back by itself");
        pipe.read_to_end(&mut printed).await.expect("to its end");
        let code = ccb.wait().await.expect("it ends").code();
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
async fn claude_api_is_killed() {
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
        let back = Instant::now();
        let status = until("it to be recorded", RECORDED, async || {
            let status = project.http().status(&id).await.ok()?;
            (!status["endedAt"].is_null()).then_some(status)
        })
        .await;
        case.step(format!("recorded {:?} after the return", back.elapsed()));
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

        case.step("the queued one runs");
        let (output, end) = client.wait_terminal(&next).await;
        completed(&end);
        assert_eq!(output, b"42");
        let left = project
            .exec("claude-api", &["ps", "-eo", "args"])
            .await
            .expect("ps");
        assert!(!left.contains(&id) && !left.contains(&next), "{left}");
        assert_eq!(ran(&mut client, "print(8 * 7)").await, "56");
        project.wait_healthy("claude-api").await;
        client.finish().await;
        project.assert_quiet().await;
    })
    .await;
}

/// What the real CLI makes of a model that is cut off: it asks again, and nothing is shown twice.
#[tokio::test]
async fn the_model_is_killed() {
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
        completed(&end);
        assert_eq!(String::from_utf8_lossy(&output), text);
        client.finish().await;
        project.assert_quiet().await;
    })
    .await;
}

/// F17: a tool kills everything that it may, which is its own execution.
#[tokio::test]
async fn f17_the_model_kills_everything() {
    case(LIMIT, Use::Own, async |case| {
        let project = Project::up("f17", &Plan::default()).await;
        let mut client = project.client().await;
        let words = words(300, 40);
        let beside = client.start(&words.0).await;
        // By name it would hit the service as well as the CLI, whose own shell only guards the bare word `pkill`.
        for command in ["kill -9 -1", "/usr/bin/pkill -9 claude"] {
            case.step(command);
            let id = client.start(&format!("@say before\n@bash {command}")).await;
            let (output, end) = client.wait_terminal(&id).await;
            ended(&end, "FAILED", Some("killed_by_signal"));
            assert_eq!(output, b"before", "{end}");
            case.step("everybody else lives on, and a new one works");
            for service in ["claude-api", "bridge"] {
                assert_eq!(project.inspect(service, "{{.RestartCount}}").await, "0");
            }
            assert_eq!(ran(&mut client, "print(6 * 7)").await, "42");
        }
        let (output, end) = client.wait_terminal(&beside).await;
        completed(&end);
        assert_eq!(String::from_utf8_lossy(&output), words.1);
        client.finish().await;
        project.assert_quiet().await;
    })
    .await;
}

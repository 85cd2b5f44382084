//! `credentials` is away for a while: executions go on, and later ones wait.

use std::time::Duration;

use cc_tests::composed::{Plan, Project, Use, case};
use serde_json::Value;

use super::readiness;
use crate::support::{assert_completed, run};

const LIMIT: Duration = Duration::from_secs(180);

/// The real CLI retries when its answer is cut off, and no output appears twice.
#[tokio::test]
async fn a_kill_of_credentials_in_mid_answer_repeats_no_output() {
    case(LIMIT, Use::Own, async |case| {
        let project = Project::up("cut", &Plan::default()).await;
        let text: String = (1..=150).map(|n| format!("word{n} ")).collect();
        let mut client = project.client().await;
        let id = client.start("@tokens 150 40").await;
        client.wait_output(&id, 200).await;
        case.step("kill -9");
        project.act("kill", "credentials").await;
        project.act("start", "credentials").await;
        let (output, end) = client.wait_terminal(&id).await;
        assert_completed(&end);
        assert_eq!(String::from_utf8_lossy(&output), text);
        let warnings = end["warnings"].as_array().expect("a list");
        let restarted = |one: &Value| one["code"] == "credentials_restarted";
        assert!(warnings.iter().any(restarted), "{end}");
        assert_eq!(run(&mut client, "print(6 * 7)").await, "42");
        client.finish().await;
        readiness(&project, None).await;
        project.assert_quiet().await;
    })
    .await;
}

/// An execution that starts while `credentials` is away completes when it is back.
#[tokio::test]
async fn an_execution_waits_for_credentials() {
    case(LIMIT, Use::Own, async |case| {
        let project = Project::up("away", &Plan::default()).await;
        let mut client = project.client().await;
        assert_eq!(run(&mut client, "print(6 * 7)").await, "42");
        project.act("stop", "credentials").await;
        case.step("an execution without credentials");
        let id = client.start("print(7 * 7)").await;
        cc_tests::composed::until("its start", LIMIT, async || {
            let status = project.http().status(&id).await.ok()?;
            (status["state"] == "running").then_some(())
        })
        .await;
        project.act("start", "credentials").await;
        let (output, end) = client.wait_terminal(&id).await;
        assert_completed(&end);
        assert_eq!(String::from_utf8_lossy(&output), "49");
        client.finish().await;
    })
    .await;
}

/// A restart of claude-api keeps the control port, and `credentials` connects again.
#[tokio::test]
async fn credentials_connects_again_after_a_restart_of_claude_api() {
    case(LIMIT, Use::Own, async |case| {
        let project = Project::up("api-again", &Plan::default()).await;
        for verb in ["restart", "kill"] {
            case.step(verb);
            project.act(verb, "claude-api").await;
            if verb == "kill" {
                project.act("start", "claude-api").await;
            }
            project.wait_answers(project.api(), "/health/live").await;
            readiness(&project, None).await;
            let mut client = project.client().await;
            assert_eq!(run(&mut client, "print(6 * 7)").await, "42");
            client.finish().await;
        }
        assert_eq!(
            project.inspect("credentials", "{{.RestartCount}}").await,
            "0"
        );
    })
    .await;
}

//! The network between the containers: cut and restored, a paused container, a name that does not
//! resolve, and the wrong order at the start.

use std::time::Duration;

use cc_tests::composed::{Plan, Project, Use, case, until};
use serde_json::json;

use super::{LIMIT, QUICK, wait_unreachable, words};
use crate::support::{assert_completed, id, run};

/// Separate networks for the model and for this machine, so that only the hop between bridge and
/// claude-api is cut.
const APART: &str = "services:\n  claude-api:\n    networks: [lab]\n  scripted-model:\n    \
                     networks: !override [lab]\n  credentials:\n    \
                     networks: !override [lab]\n  bridge:\n    networks: [a-front]\n\
                     networks:\n  a-front:\n  lab:\n";

fn apart() -> Plan {
    Plan::default().overlay(QUICK).overlay(APART)
}

#[tokio::test]
async fn output_resumes_after_the_network_between_the_services_was_cut() {
    case(LIMIT, Use::Own, async |case| {
        let project = Project::up("network", &apart()).await;
        let (prompt, text) = words(300, 40);
        let mut client = project.client().await;
        for round in 1..=2 {
            case.step(format!("cut {round}"));
            let id = client.start(&prompt).await;
            client.wait_output(&id, 200).await;
            project
                .network("disconnect", "inner", "claude-api", &[])
                .await;
            wait_unreachable(&client, &id).await;
            assert!(
                client.received(&id) < text.len() as u64,
                "the cut was too late"
            );
            project
                .network("connect", "inner", "claude-api", &["claude-api"])
                .await;
            case.step(format!("connected {round}"));
            let (output, end) = client.wait_terminal(&id).await;
            assert_completed(&end);
            assert_eq!(String::from_utf8_lossy(&output), text);
            assert!(client.gaps(&id).is_empty());
        }
        client.finish().await;
        project.assert_quiet().await;
    })
    .await;
}

#[tokio::test]
async fn an_execute_waits_while_the_name_of_claude_api_does_not_resolve() {
    case(LIMIT, Use::Own, async |case| {
        let project = Project::up("dns", &apart()).await;
        let (prompt, text) = words(200, 40);
        let mut client = project.client().await;
        let id = client.start(&prompt).await;
        client.wait_output(&id, 200).await;
        let lookup = ["getent", "hosts", "claude-api"];
        project
            .exec("bridge", &lookup)
            .await
            .expect("the name resolves");
        case.step("on the network, but without its name");
        project
            .network("disconnect", "inner", "claude-api", &[])
            .await;
        // Connect again only when the bridge has given up its connections: an open one needs no
        // name.
        wait_unreachable(&client, &id).await;
        project
            .network("connect", "inner", "claude-api", &["another-name"])
            .await;
        let error = project.exec("bridge", &lookup).await;
        error.expect_err("the name does not resolve");
        let request = client
            .request("execute", json!({"prompt": "print(6 * 7)"}))
            .await;
        client.call("ping", json!({})).await.expect("answered");
        case.step("with its name again");
        project
            .network("disconnect", "inner", "claude-api", &[])
            .await;
        project
            .network("connect", "inner", "claude-api", &["claude-api"])
            .await;
        let (output, end) = client.wait_terminal(&id).await;
        assert_completed(&end);
        assert_eq!(String::from_utf8_lossy(&output), text);
        let answer = client.answer(request).await.expect("accepted at last");
        let (output, end) = client.wait_terminal(&self::id(&answer)).await;
        assert_completed(&end);
        assert_eq!(output, b"42");
        client.finish().await;
        project.assert_quiet().await;
    })
    .await;
}

#[tokio::test]
async fn output_resumes_after_a_container_was_paused() {
    case(LIMIT, Use::Own, async |case| {
        let project = Project::up("paused", &Plan::default().overlay(QUICK)).await;
        let (prompt, text) = words(200, 40);
        let mut client = project.client().await;
        case.step("claude-api is paused");
        let id = client.start(&prompt).await;
        client.wait_output(&id, 200).await;
        project.act("pause", "claude-api").await;
        wait_unreachable(&client, &id).await;
        // Other requests are answered meanwhile.
        client.call("ping", json!({})).await.expect("answered");
        project.act("unpause", "claude-api").await;
        let (output, end) = client.wait_terminal(&id).await;
        assert_completed(&end);
        assert_eq!(String::from_utf8_lossy(&output), text);

        case.step("the bridge is paused until the execution has ended");
        let id = client.start(&prompt).await;
        client.wait_output(&id, 200).await;
        project.act("pause", "bridge").await;
        until("the end", Duration::from_secs(60), async || {
            let status = project.http().status(&id).await.ok()?;
            (status["state"] == "completed").then_some(())
        })
        .await;
        let seen = client.received(&id);
        assert!(seen < text.len() as u64, "the pause was too late");
        project.act("unpause", "bridge").await;
        let (output, end) = client.wait_terminal(&id).await;
        assert_completed(&end);
        assert_eq!(String::from_utf8_lossy(&output), text);
        client.finish().await;
        project.assert_quiet().await;
    })
    .await;
}

#[tokio::test]
async fn a_bridge_that_starts_first_waits_for_claude_api() {
    case(LIMIT, Use::Own, async |case| {
        let project = Project::up("order", &Plan::default().not_started()).await;
        project
            .compose(&["up", "--detach", "--no-build", "--no-deps", "bridge"])
            .await;
        project.wait_answers(project.bridge(), "/health/live").await;
        case.step("a session, and no claude-api");
        let mut client = project.client().await;
        assert!(client.connected()["limits"].is_null());
        let request = client
            .request("execute", json!({"prompt": "print(6 * 7)"}))
            .await;
        client.call("ping", json!({})).await.expect("answered");
        case.step("claude-api starts");
        project.compose_up(&["claude-api"]).await;
        let answer = client.answer(request).await.expect("accepted at last");
        let (output, end) = client.wait_terminal(&id(&answer)).await;
        assert_completed(&end);
        assert_eq!(output, b"42");
        assert_eq!(run(&mut client, "print(7 * 7)").await, "49");
        assert_eq!(project.inspect("bridge", "{{.RestartCount}}").await, "0");
        client.finish().await;
        project.assert_quiet().await;
    })
    .await;
}

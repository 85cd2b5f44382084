//! The network between the containers: gone and back, a container that stands still, a name that is gone, and the
//! wrong order at the start.

use std::time::Duration;

use cc_tests::composed::{Plan, Project, Use, case, until};
use serde_json::json;

use super::{LIMIT, QUICK, unreachable, words};
use crate::support::{completed, id, ran};

/// The model and this machine reach their services by networks of their own, so that only the hop between bridge
/// and claude-api is touched.
const APART: &str = "services:\n  claude-api:\n    networks: [lab]\n  scripted-model:\n    networks: !override [lab]\n  \
                     bridge:\n    networks: [a-front]\nnetworks:\n  a-front:\n  lab:\n";

fn apart() -> Plan {
    Plan::default().overlay(QUICK).overlay(APART)
}

#[tokio::test]
async fn the_network_between_them_is_gone_and_back() {
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
            unreachable(&client, &id).await;
            assert!(
                client.received(&id) < text.len() as u64,
                "the cut came too late"
            );
            project
                .network("connect", "inner", "claude-api", &["claude-api"])
                .await;
            case.step(format!("back {round}"));
            let (output, end) = client.wait_terminal(&id).await;
            completed(&end);
            assert_eq!(String::from_utf8_lossy(&output), text);
            assert!(client.gaps(&id).is_empty());
        }
        client.finish().await;
        project.assert_quiet().await;
    })
    .await;
}

#[tokio::test]
async fn the_name_is_gone() {
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
            .expect("it has a name");
        case.step("on the network, but without its name");
        project
            .network("disconnect", "inner", "claude-api", &[])
            .await;
        // Back only when its connections are given up: one that is not knows the address by heart.
        unreachable(&client, &id).await;
        project
            .network("connect", "inner", "claude-api", &["somebody-else"])
            .await;
        let error = project.exec("bridge", &lookup).await;
        error.expect_err("the name is gone");
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
        completed(&end);
        assert_eq!(String::from_utf8_lossy(&output), text);
        let answer = client.answer(request).await.expect("accepted at last");
        let (output, end) = client.wait_terminal(&self::id(&answer)).await;
        completed(&end);
        assert_eq!(output, b"42");
        client.finish().await;
        project.assert_quiet().await;
    })
    .await;
}

#[tokio::test]
async fn a_container_is_paused() {
    case(LIMIT, Use::Own, async |case| {
        let project = Project::up("paused", &Plan::default().overlay(QUICK)).await;
        let (prompt, text) = words(200, 40);
        let mut client = project.client().await;
        case.step("claude-api stands still");
        let id = client.start(&prompt).await;
        client.wait_output(&id, 200).await;
        project.act("pause", "claude-api").await;
        unreachable(&client, &id).await;
        // Others are answered meanwhile.
        client.call("ping", json!({})).await.expect("answered");
        project.act("unpause", "claude-api").await;
        let (output, end) = client.wait_terminal(&id).await;
        completed(&end);
        assert_eq!(String::from_utf8_lossy(&output), text);

        case.step("the bridge stands still until the execution has ended");
        let id = client.start(&prompt).await;
        client.wait_output(&id, 200).await;
        project.act("pause", "bridge").await;
        until("the end", Duration::from_secs(60), async || {
            let status = project.http().status(&id).await.ok()?;
            (status["state"] == "completed").then_some(())
        })
        .await;
        let seen = client.received(&id);
        assert!(seen < text.len() as u64, "the pause came too late");
        project.act("unpause", "bridge").await;
        let (output, end) = client.wait_terminal(&id).await;
        completed(&end);
        assert_eq!(String::from_utf8_lossy(&output), text);
        client.finish().await;
        project.assert_quiet().await;
    })
    .await;
}

#[tokio::test]
async fn the_bridge_is_started_first() {
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
        case.step("claude-api comes");
        project.compose_up(&["claude-api"]).await;
        let answer = client.answer(request).await.expect("accepted at last");
        let (output, end) = client.wait_terminal(&id(&answer)).await;
        completed(&end);
        assert_eq!(output, b"42");
        assert_eq!(ran(&mut client, "print(7 * 7)").await, "49");
        assert_eq!(project.inspect("bridge", "{{.RestartCount}}").await, "0");
        client.finish().await;
        project.assert_quiet().await;
    })
    .await;
}

//! S7: pause, resume and cancel of the real CLI in each phase, by WebSocket, HTTP and `ccb`, with
//! several viewers. A paused tree does nothing, and a cancelled one leaves no process.

use std::time::Duration;

use cc_tests::{
    composed::{Project, Tree, Use, case, docker, until},
    ws::Client,
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{assert_completed, assert_ended, id, run};

const LIMIT: Duration = Duration::from_secs(180);

/// Interface through which an execution is controlled.
#[derive(Debug, Clone, Copy)]
enum Interface {
    WebSocket,
    Http,
    Ccb,
}
const INTERFACES: [Interface; 3] = [Interface::WebSocket, Interface::Http, Interface::Ccb];

/// Pauses, resumes or cancels through an interface; returns the status, or the refusal.
async fn control(
    interface: Interface,
    project: &Project,
    client: &mut Client,
    verb: &str,
    id: &str,
) -> Result<Value, Value> {
    match interface {
        Interface::WebSocket => client.control(&verb.to_uppercase(), Some(id)).await,
        Interface::Http => {
            let path = format!("/v1/executions/{id}/{verb}");
            let (code, body) = project
                .http()
                .call(Method::POST, &path, None)
                .await
                .expect("an answer");
            if code == StatusCode::OK {
                Ok(body)
            } else {
                Err(json!({"status": code.as_u16(), "body": body}))
            }
        }
        Interface::Ccb => {
            let ran = docker::ran(project.ccb(&["--json", verb, id]), b"")
                .await
                .expect("ccb runs");
            if ran.code == Some(0) {
                Ok(serde_json::from_slice(&ran.stdout).expect("a status"))
            } else {
                Err(json!({"code": ran.code, "stderr": ran.stderr}))
            }
        }
    }
}

/// Pauses, resumes and cancels a tree of processes through an interface.
async fn control_tree(interface: Interface) {
    case(LIMIT, Use::Shared, async |case| {
        let project = Project::shared();
        let tree = Tree::prepare(&project).await;
        let mut client = project.client().await;
        let id = client.start(&tree.prompt()).await;
        case.step("until the grandchild counts");
        tree.wait_counting(&project).await;
        assert!(
            tree.processes(&project).await.len() >= 2,
            "{:?}",
            tree.processes(&project).await
        );
        // Later viewers see the same as the first one.
        let mut others = vec![project.client().await, project.client().await];
        for other in &mut others {
            other.attach(&id, None).await.expect("attached");
        }
        for round in 1..=2 {
            case.step(format!("pause {round}"));
            control(interface, &project, &mut client, "pause", &id)
                .await
                .expect("paused");
            // Not the update of an earlier round.
            let paused = async || {
                let updates = client.updates(&id);
                let paused = updates.iter().filter(|one| one["status"] == "PAUSED");
                (paused.count() >= round).then_some(())
            };
            until("the update of the pause", Duration::from_secs(30), paused).await;
            tree.assert_still(&project).await;
            let repeated = control(interface, &project, &mut client, "pause", &id)
                .await
                .expect("a repeated pause");
            assert_eq!(repeated["state"], "paused");
            case.step(format!("resume {round}"));
            control(interface, &project, &mut client, "resume", &id)
                .await
                .expect("resumed");
            tree.wait_counting(&project).await;
            let repeated = control(interface, &project, &mut client, "resume", &id)
                .await
                .expect("a repeated resume");
            assert_eq!(repeated["state"], "running");
        }
        case.step("cancel");
        control(interface, &project, &mut client, "cancel", &id)
            .await
            .expect("cancelled");
        tree.assert_gone(&project).await;
        for viewer in others.iter().chain([&client]) {
            let (output, end) = viewer.wait_terminal(&id).await;
            assert_ended(&end, "CANCELLED", None);
            assert_eq!(output, b"begun");
        }
        for viewer in others.iter().chain([&client]) {
            let seen: Vec<_> = viewer
                .updates(&id)
                .iter()
                .map(|update| update["status"].clone())
                .collect();
            let count = |status: &str| seen.iter().filter(|seen| *seen == status).count();
            assert_eq!((count("RESUMED"), count("CANCELLED")), (2, 1), "{seen:?}");
        }
        case.step("control of an ended execution changes nothing");
        for verb in ["pause", "resume", "cancel"] {
            let status = control(interface, &project, &mut client, verb, &id)
                .await
                .expect("fine");
            assert_eq!(status["state"], "cancelled", "{verb}");
        }
        for other in others {
            other.finish().await;
        }
        client.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_process_tree_is_controlled_by_websocket() {
    control_tree(Interface::WebSocket).await;
}

#[tokio::test]
async fn a_process_tree_is_controlled_by_http() {
    control_tree(Interface::Http).await;
}

#[tokio::test]
async fn a_process_tree_is_controlled_by_ccb() {
    control_tree(Interface::Ccb).await;
}

#[tokio::test]
async fn cancel_of_a_queued_execution_spawns_nothing_and_pause_is_refused() {
    case(LIMIT, Use::Shared, async |case| {
        let project = Project::shared();
        for interface in INTERFACES {
            case.step(format!("{interface:?}"));
            let mut client = project.client().await;
            let first = client.start("@bash sleep 60").await;
            let second = client.start("@say never").await;
            client.wait_status(&second, "QUEUED").await;
            let refused = control(interface, &project, &mut client, "pause", &second)
                .await
                .expect_err("a queued execution");
            let is_refusal = match interface {
                Interface::WebSocket => refused["code"] == -32008,
                Interface::Http => refused["status"] == 409,
                Interface::Ccb => {
                    refused["code"] != 0 && refused["stderr"].to_string().contains("queued")
                }
            };
            assert!(is_refusal, "{refused}");
            control(interface, &project, &mut client, "cancel", &second)
                .await
                .expect("cancelled");
            let (output, end) = client.wait_terminal(&second).await;
            assert_ended(&end, "CANCELLED", None);
            assert_eq!(
                (&end["startedAt"], output.len()),
                (&Value::Null, 0),
                "{end}"
            );
            control(interface, &project, &mut client, "cancel", &first)
                .await
                .expect("cancelled");
            assert_ended(&client.wait_terminal(&first).await.1, "CANCELLED", None);
            client.finish().await;
        }
    })
    .await;
}

/// Waits until the status has this activity.
async fn wait_activity(project: &Project, id: &str, activity: &str) {
    until(activity, Duration::from_secs(60), async || {
        let status = project.http().status(id).await.expect("a status");
        assert!(
            status["endedAt"].is_null(),
            "it ended before {activity}: {status}"
        );
        let now = status["activity"].as_str()?;
        now.starts_with(activity).then_some(())
    })
    .await;
}

/// Prompts with one long phase, each with the activity of that phase. A slow machine takes seconds
/// to start `ccb`.
const PHASES: [(&str, &str); 4] = [
    ("@tokens 500 20\n@bash sleep 1\n@say end", "starting"),
    ("@think 12000\n@say end", "thinking"),
    ("@tokens 500 20\n@say end", "writing"),
    ("@bash sleep 10; echo slept\n@say end", "tool: Bash"),
];

#[tokio::test]
async fn a_pause_in_each_phase_loses_no_output() {
    case(LIMIT, Use::Shared, async |case| {
        let project = Project::shared();
        let mut client = project.client().await;
        for ((prompt, activity), interface) in
            PHASES.into_iter().zip(INTERFACES.into_iter().cycle())
        {
            case.step(format!("{activity}, by {interface:?}"));
            let id = client.start(prompt).await;
            wait_activity(&project, &id, activity).await;
            control(interface, &project, &mut client, "pause", &id)
                .await
                .expect("paused");
            client.wait_status(&id, "PAUSED").await;
            // A late viewer sees the pause.
            let mut late = project.client().await;
            assert_eq!(
                late.attach(&id, None).await.expect("attached")["state"],
                "paused"
            );
            late.wait_status(&id, "PAUSED").await;
            let before = client.received(&id);
            tokio::time::sleep(Duration::from_millis(1500)).await;
            assert_eq!(
                client.received(&id),
                before,
                "{activity}: output during the pause"
            );
            control(interface, &project, &mut client, "resume", &id)
                .await
                .expect("resumed");
            let (output, end) = client.wait_terminal(&id).await;
            assert_completed(&end);
            let text = String::from_utf8(output).expect("checked");
            assert!(text.ends_with("end"), "{text}");
            if prompt.contains("@tokens") {
                let words: String = (1..=500).map(|n| format!("word{n} ")).collect();
                assert!(text.starts_with(&words), "{text}");
            }
            assert_eq!(late.wait_terminal(&id).await.0, text.as_bytes());
            late.finish().await;
        }
        client.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_cancel_in_each_phase_leaves_no_process() {
    case(LIMIT, Use::Shared, async |case| {
        let project = Project::shared();
        let mut client = project.client().await;
        for (phase, (prompt, activity)) in PHASES.into_iter().enumerate() {
            for paused in [false, true] {
                let interface = INTERFACES[(phase + usize::from(paused)) % 3];
                case.step(format!(
                    "{activity}{}, by {interface:?}",
                    if paused { ", paused" } else { "" }
                ));
                let id = client.start(prompt).await;
                wait_activity(&project, &id, activity).await;
                if paused {
                    control(interface, &project, &mut client, "pause", &id)
                        .await
                        .expect("paused");
                    client.wait_status(&id, "PAUSED").await;
                }
                control(interface, &project, &mut client, "cancel", &id)
                    .await
                    .expect("cancelled");
                assert_ended(&client.wait_terminal(&id).await.1, "CANCELLED", None);
                let processes = project
                    .exec("claude-api", &["ps", "-eo", "args"])
                    .await
                    .expect("ps");
                assert!(!processes.contains(&id), "{processes}");
            }
        }
        case.step("the session still works");
        assert_eq!(run(&mut client, "print(6 * 7)").await, "42");
        client.finish().await;
    })
    .await;
}

/// Without an id the control is for the oldest live execution; an unknown id is an error at each
/// interface.
#[tokio::test]
async fn control_without_an_id_and_with_an_unknown_id() {
    case(LIMIT, Use::Shared, async |_| {
        let project = Project::shared();
        let mut client = project.client().await;
        let status = client.execute("@bash sleep 60", json!({})).await;
        let first = id(&status);
        let second = client.start("@say second").await;
        let cancelled = client.control("CANCEL", None).await.expect("the oldest");
        assert_eq!(cancelled["executionId"], first);
        assert_ended(&client.wait_terminal(&first).await.1, "CANCELLED", None);
        assert_completed(&client.wait_terminal(&second).await.1);
        let unknown = uuid::Uuid::new_v4().to_string();
        for interface in INTERFACES {
            control(interface, &project, &mut client, "cancel", &unknown)
                .await
                .expect_err("an unknown id");
        }
        assert_eq!(
            client
                .control("CANCEL", None)
                .await
                .expect_err("no live execution")["code"],
            -32003
        );
        client.finish().await;
    })
    .await;
}

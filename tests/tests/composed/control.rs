//! S7: pause, resume and cancel of the real CLI in each state of its life, by WebSocket, HTTP and `ccb`, seen by
//! several viewers; stopped means stopped, and nothing is left.

use std::time::Duration;

use cc_tests::{
    composed::{Project, Tree, Use, case, docker, until},
    ws::Client,
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{completed, ended, id, ran};

const LIMIT: Duration = Duration::from_secs(180);

/// The three doors.
#[derive(Debug, Clone, Copy)]
enum Door {
    WebSocket,
    Http,
    Ccb,
}
const DOORS: [Door; 3] = [Door::WebSocket, Door::Http, Door::Ccb];

/// Pauses, resumes or cancels through a door; answers the status, or the refusal.
async fn act(
    door: Door,
    project: &Project,
    client: &mut Client,
    verb: &str,
    id: &str,
) -> Result<Value, Value> {
    match door {
        Door::WebSocket => client.control(&verb.to_uppercase(), Some(id)).await,
        Door::Http => {
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
        Door::Ccb => {
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

async fn tree_by(door: Door) {
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
        // Late and early viewers see the same.
        let mut others = vec![project.client().await, project.client().await];
        for other in &mut others {
            other.attach(&id, None).await.expect("attached");
        }
        for round in 1..=2 {
            case.step(format!("pause {round}"));
            act(door, &project, &mut client, "pause", &id)
                .await
                .expect("paused");
            // Not that of an earlier round.
            let paused = async || {
                let updates = client.updates(&id);
                let paused = updates.iter().filter(|one| one["status"] == "PAUSED");
                (paused.count() >= round).then_some(())
            };
            until("to be told", Duration::from_secs(30), paused).await;
            tree.assert_still(&project).await;
            let again = act(door, &project, &mut client, "pause", &id)
                .await
                .expect("a repeated pause");
            assert_eq!(again["state"], "paused");
            case.step(format!("resume {round}"));
            act(door, &project, &mut client, "resume", &id)
                .await
                .expect("resumed");
            tree.wait_counting(&project).await;
            let again = act(door, &project, &mut client, "resume", &id)
                .await
                .expect("a repeated resume");
            assert_eq!(again["state"], "running");
        }
        case.step("cancel");
        act(door, &project, &mut client, "cancel", &id)
            .await
            .expect("cancelled");
        tree.assert_gone(&project).await;
        for viewer in others.iter().chain([&client]) {
            let (output, end) = viewer.wait_terminal(&id).await;
            ended(&end, "CANCELLED", None);
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
        case.step("control of one that has ended changes nothing");
        for verb in ["pause", "resume", "cancel"] {
            let status = act(door, &project, &mut client, verb, &id)
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
async fn a_tree_by_websocket() {
    tree_by(Door::WebSocket).await;
}

#[tokio::test]
async fn a_tree_by_http() {
    tree_by(Door::Http).await;
}

#[tokio::test]
async fn a_tree_by_ccb() {
    tree_by(Door::Ccb).await;
}

/// A queued one cannot be paused, and is cancelled without a process.
#[tokio::test]
async fn queued() {
    case(LIMIT, Use::Shared, async |case| {
        let project = Project::shared();
        for door in DOORS {
            case.step(format!("{door:?}"));
            let mut client = project.client().await;
            let first = client.start("@bash sleep 60").await;
            let second = client.start("@say never").await;
            client.wait_status(&second, "QUEUED").await;
            let refused = act(door, &project, &mut client, "pause", &second)
                .await
                .expect_err("a queued one");
            let told = match door {
                Door::WebSocket => refused["code"] == -32008,
                Door::Http => refused["status"] == 409,
                Door::Ccb => {
                    refused["code"] != 0 && refused["stderr"].to_string().contains("queued")
                }
            };
            assert!(told, "{refused}");
            act(door, &project, &mut client, "cancel", &second)
                .await
                .expect("cancelled");
            let (output, end) = client.wait_terminal(&second).await;
            ended(&end, "CANCELLED", None);
            assert_eq!(
                (&end["startedAt"], output.len()),
                (&Value::Null, 0),
                "{end}"
            );
            act(door, &project, &mut client, "cancel", &first)
                .await
                .expect("cancelled");
            ended(&client.wait_terminal(&first).await.1, "CANCELLED", None);
            client.finish().await;
        }
    })
    .await;
}

/// Waits until a viewer is told of this activity.
async fn doing(project: &Project, id: &str, activity: &str) {
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

/// The prompt that is long in a phase, and the activity that tells it. A slow machine takes seconds to start `ccb`.
const PHASES: [(&str, &str); 4] = [
    ("@tokens 500 20\n@bash sleep 1\n@say end", "starting"),
    ("@think 12000\n@say end", "thinking"),
    ("@tokens 500 20\n@say end", "writing"),
    ("@bash sleep 10; echo slept\n@say end", "tool: Bash"),
];

#[tokio::test]
async fn paused_in_each_phase_it_goes_on_and_loses_nothing() {
    case(LIMIT, Use::Shared, async |case| {
        let project = Project::shared();
        let mut client = project.client().await;
        for ((prompt, activity), door) in PHASES.into_iter().zip(DOORS.into_iter().cycle()) {
            case.step(format!("{activity}, by {door:?}"));
            let id = client.start(prompt).await;
            doing(&project, &id, activity).await;
            act(door, &project, &mut client, "pause", &id)
                .await
                .expect("paused");
            client.wait_status(&id, "PAUSED").await;
            // One who comes late sees it paused.
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
                "{activity}: it wrote while it was paused"
            );
            act(door, &project, &mut client, "resume", &id)
                .await
                .expect("resumed");
            let (output, end) = client.wait_terminal(&id).await;
            completed(&end);
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
async fn cancelled_in_each_phase_nothing_is_left() {
    case(LIMIT, Use::Shared, async |case| {
        let project = Project::shared();
        let mut client = project.client().await;
        for (phase, (prompt, activity)) in PHASES.into_iter().enumerate() {
            for paused in [false, true] {
                let door = DOORS[(phase + usize::from(paused)) % 3];
                case.step(format!(
                    "{activity}{}, by {door:?}",
                    if paused { ", paused" } else { "" }
                ));
                let id = client.start(prompt).await;
                doing(&project, &id, activity).await;
                if paused {
                    act(door, &project, &mut client, "pause", &id)
                        .await
                        .expect("paused");
                    client.wait_status(&id, "PAUSED").await;
                }
                act(door, &project, &mut client, "cancel", &id)
                    .await
                    .expect("cancelled");
                ended(&client.wait_terminal(&id).await.1, "CANCELLED", None);
                let left = project
                    .exec("claude-api", &["ps", "-eo", "args"])
                    .await
                    .expect("ps");
                assert!(!left.contains(&id), "{left}");
            }
        }
        case.step("the session is as good as new");
        assert_eq!(ran(&mut client, "print(6 * 7)").await, "42");
        client.finish().await;
    })
    .await;
}

/// Without an id it is the oldest that lives; what nobody knows is an error at each door.
#[tokio::test]
async fn without_an_id_and_with_an_unknown_one() {
    case(LIMIT, Use::Shared, async |_| {
        let project = Project::shared();
        let mut client = project.client().await;
        let status = client.execute("@bash sleep 60", json!({})).await;
        let first = id(&status);
        let second = client.start("@say second").await;
        let paused = client.control("CANCEL", None).await.expect("the oldest");
        assert_eq!(paused["executionId"], first);
        ended(&client.wait_terminal(&first).await.1, "CANCELLED", None);
        completed(&client.wait_terminal(&second).await.1);
        let unknown = uuid::Uuid::new_v4().to_string();
        for door in DOORS {
            act(door, &project, &mut client, "cancel", &unknown)
                .await
                .expect_err("nobody knows it");
        }
        assert_eq!(
            client
                .control("CANCEL", None)
                .await
                .expect_err("none lives")["code"],
            -32003
        );
        client.finish().await;
    })
    .await;
}

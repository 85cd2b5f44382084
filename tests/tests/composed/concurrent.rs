//! Many sessions at once: the running limit holds, the rest wait in the queue, all end with their own answer, and
//! the executions of one session run one after the other.

use std::time::Duration;

use cc_tests::{
    composed::{Project, Use, case},
    ws::Client,
};
use serde_json::{Value, json};

use crate::support::{at, completed, id};

/// Several seconds of a slot, most of them asleep, so that those who wait are seen to wait.
fn prompt(number: u32) -> String {
    format!("import time\ntime.sleep(1)\nprint({number} * 7)")
}

/// How many ran at the same moment, at most. One that ends when another begins gave its slot to it.
fn at_once(ends: &[Value]) -> usize {
    let began = |status: &Value| at(status, "startedAt");
    let covers = |status: &Value, moment: &str| {
        at(status, "startedAt").as_str() <= moment && at(status, "endedAt").as_str() > moment
    };
    let moments = ends.iter().map(began);
    moments
        .map(|moment| ends.iter().filter(|end| covers(end, &moment)).count())
        .max()
        .unwrap_or_default()
}

async fn sessions(count: usize, limit: Duration) {
    case(limit, Use::Alone, async |case| {
        let project = Project::shared();
        let (_, limits) = project.http().get("/v1/limits").await.expect("the limits");
        let running = limits["runningExecutions"].as_u64().expect("a number") as usize;
        assert!(
            count > running,
            "{count} sessions do not reach the limit of {running}"
        );
        let connect = (0..count).map(|_| project.client());
        let mut clients: Vec<Client> = futures::future::join_all(connect).await;
        case.step("all are connected; each executes");
        let mut asked = Vec::new();
        for client in &mut clients {
            let number = rand::random_range(1000..9999_u32);
            let params = json!({"prompt": prompt(number)});
            asked.push((number, client.request("execute", params).await));
        }
        let mut waited = 0;
        let mut ends = Vec::new();
        for (done, (client, (number, request))) in clients.iter().zip(&asked).enumerate() {
            let answer = client
                .answer(*request)
                .await
                .unwrap_or_else(|error| panic!("refused: {error}"));
            let id = id(&answer);
            let (output, end) = client.wait_terminal(&id).await;
            completed(&end);
            assert_eq!(String::from_utf8_lossy(&output), (number * 7).to_string());
            waited += usize::from(
                client
                    .updates(&id)
                    .iter()
                    .any(|update| update["queuePosition"].as_u64() > Some(0)),
            );
            ends.push(end);
            case.step(format!("{} of {count} ended", done + 1));
        }
        let most = at_once(&ends);
        assert!(most <= running, "{most} ran at once, {running} may");
        assert!(
            most > running / 2,
            "only {most} ran at once of {running} that may"
        );
        // Those behind the first few have a place in the queue for a while, which they are told.
        assert!(
            waited >= (count - running) / 2,
            "only {waited} were seen to wait"
        );
        for client in clients {
            client.finish().await;
        }
        // Those that ended left nothing.
        let left = project
            .exec("claude-api", &["ps", "-eo", "args"])
            .await
            .expect("ps");
        for end in &ends {
            assert!(!left.contains(&id(end)), "{left}");
        }
        case.step(format!("{most} at once, {waited} waited"));
    })
    .await;
}

#[tokio::test]
async fn ten_sessions() {
    sessions(10, Duration::from_secs(200)).await;
}

#[tokio::test]
async fn fifty_sessions() {
    sessions(50, Duration::from_secs(600)).await;
}

#[tokio::test]
async fn order_within_a_session() {
    let limit = Duration::from_secs(200);
    case(limit, Use::Alone, async |case| {
        let project = Project::shared();
        let mut clients = Vec::new();
        for _ in 0..4 {
            clients.push(project.client().await);
        }
        let mut asked = Vec::new();
        for client in &mut clients {
            let mut ids = Vec::new();
            for place in 0..4 {
                // The first ones are the slowest: without order the last would be done first.
                let code = format!(
                    "import time\ntime.sleep({})\nprint({place})",
                    (3 - place) as f32 / 2.0
                );
                ids.push(client.start(&code).await);
            }
            asked.push(ids);
        }
        case.step("4 sessions have 4 each");
        let mut all = Vec::new();
        for (client, ids) in clients.iter().zip(&asked) {
            let mut ends: Vec<Value> = Vec::new();
            for (place, id) in ids.iter().enumerate() {
                let (output, end) = client.wait_terminal(id).await;
                completed(&end);
                assert_eq!(String::from_utf8_lossy(&output), place.to_string());
                if let Some(before) = ends.last() {
                    let (ended, began) = (at(before, "endedAt"), at(&end, "startedAt"));
                    assert!(
                        began >= ended,
                        "{place} began at {began}, the one before it ended at {ended}"
                    );
                }
                ends.push(end);
            }
            all.extend(ends);
            case.step("a session is done");
        }
        assert!(at_once(&all) > 1, "the sessions waited for each other");
        for client in clients {
            client.finish().await;
        }
    })
    .await;
}

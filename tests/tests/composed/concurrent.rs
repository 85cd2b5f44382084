//! Many sessions at the same time: the limit of running executions holds, the others wait in the
//! queue, each ends with its own answer, and the executions of one session run one after the other.

use std::time::Duration;

use cc_tests::{
    composed::{Project, Use, case},
    ws::Client,
};
use serde_json::{Value, json};

use crate::support::{assert_completed, id, time};

/// Returns a prompt that holds a slot for some seconds, so that queued executions are seen to wait.
fn prompt(number: u32) -> String {
    format!("import time\ntime.sleep(1)\nprint({number} * 7)")
}

/// Returns how many executions ran at the same moment, at most. An execution that ends when another
/// begins does not overlap it.
fn max_parallel(ends: &[Value]) -> usize {
    let began = |status: &Value| time(status, "startedAt");
    let covers = |status: &Value, moment: &str| {
        time(status, "startedAt").as_str() <= moment && time(status, "endedAt").as_str() > moment
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
        let mut requests = Vec::new();
        for client in &mut clients {
            let number = rand::random_range(1000..9999_u32);
            let params = json!({"prompt": prompt(number)});
            requests.push((number, client.request("execute", params).await));
        }
        let mut waited = 0;
        let mut ends = Vec::new();
        for (done, (client, (number, request))) in clients.iter().zip(&requests).enumerate() {
            let answer = client
                .answer(*request)
                .await
                .unwrap_or_else(|error| panic!("refused: {error}"));
            let id = id(&answer);
            let (output, end) = client.wait_terminal(&id).await;
            assert_completed(&end);
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
        let peak = max_parallel(&ends);
        assert!(
            peak <= running,
            "{peak} ran at the same time, the limit is {running}"
        );
        assert!(
            peak > running / 2,
            "only {peak} ran at the same time, the limit is {running}"
        );
        // Executions after the first few have a position in the queue for a while, and their
        // viewers see it.
        assert!(
            waited >= (count - running) / 2,
            "only {waited} were seen to wait"
        );
        for client in clients {
            client.finish().await;
        }
        // Ended executions leave no process.
        let processes = project
            .exec("claude-api", &["ps", "-eo", "args"])
            .await
            .expect("ps");
        for end in &ends {
            assert!(!processes.contains(&id(end)), "{processes}");
        }
        case.step(format!("{peak} at the same time, {waited} waited"));
    })
    .await;
}

#[tokio::test]
async fn ten_sessions_share_the_limit_of_running_executions() {
    sessions(10, Duration::from_secs(200)).await;
}

#[tokio::test]
async fn fifty_sessions_share_the_limit_of_running_executions() {
    sessions(50, Duration::from_secs(600)).await;
}

#[tokio::test]
async fn executions_of_a_session_run_in_order() {
    let limit = Duration::from_secs(200);
    case(limit, Use::Alone, async |case| {
        let project = Project::shared();
        let mut clients = Vec::new();
        for _ in 0..4 {
            clients.push(project.client().await);
        }
        let mut requests = Vec::new();
        for client in &mut clients {
            let mut ids = Vec::new();
            for position in 0..4 {
                // The first execution is the slowest: without order the last would end first.
                let code = format!(
                    "import time\ntime.sleep({})\nprint({position})",
                    (3 - position) as f32 / 2.0
                );
                ids.push(client.start(&code).await);
            }
            requests.push(ids);
        }
        case.step("4 sessions have 4 each");
        let mut all = Vec::new();
        for (client, ids) in clients.iter().zip(&requests) {
            let mut ends: Vec<Value> = Vec::new();
            for (position, id) in ids.iter().enumerate() {
                let (output, end) = client.wait_terminal(id).await;
                assert_completed(&end);
                assert_eq!(String::from_utf8_lossy(&output), position.to_string());
                if let Some(previous) = ends.last() {
                    let (ended, began) = (time(previous, "endedAt"), time(&end, "startedAt"));
                    assert!(
                        began >= ended,
                        "{position} began at {began}, the previous one ended at {ended}"
                    );
                }
                ends.push(end);
            }
            all.extend(ends);
            case.step("a session is done");
        }
        assert!(max_parallel(&all) > 1, "the sessions waited for each other");
        for client in clients {
            client.finish().await;
        }
    })
    .await;
}

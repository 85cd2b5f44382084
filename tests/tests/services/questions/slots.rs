//! The permits of executions that wait for a person.

use serde_json::json;

use super::{answer, ask, output, question, stack, start};
use crate::support::{accept, ended, id, until};

#[tokio::test]
async fn people_who_do_not_answer_do_not_stop_the_service() {
    let stack = stack(&["--running-executions=2"]).await;
    let http = stack.http();
    let mut asking = Vec::new();
    for _ in 0..16 {
        let execution = ask(&http, json!({})).await;
        let asked = question(&http, &execution).await;
        asking.push((execution, asked));
    }
    // Both permits are free.
    for _ in 0..3 {
        let execution = id();
        accept(&http, &execution, "@say works", json!({})).await;
        ended(&http, &execution).await;
    }
    // An answered execution continues at once, even if both permits are taken.
    let busy: Vec<_> = [id(), id()].into();
    for execution in &busy {
        accept(&http, execution, "@tool 60", json!({})).await;
        until(&http, execution, "running", |status| {
            status["state"] == "running"
        })
        .await;
    }
    let (execution, asked) = &asking[15];
    answer(&http, execution, asked, json!({"decision": "allow"})).await;
    ended(&http, execution).await;
    assert!(output(&http, execution).await.ends_with("after"));
}

#[tokio::test]
async fn more_than_the_limit_of_waiting_executions_hold_their_permits() {
    let stack = stack(&["--running-executions=1", "--waiting-executions=1"]).await;
    let http = stack.http();
    let first = ask(&http, json!({})).await;
    let first_question = question(&http, &first).await;
    let second = ask(&http, json!({})).await;
    question(&http, &second).await;
    // Both wait for a person; one of them still holds the only permit.
    let third = id();
    let status = accept(&http, &third, "@say third", json!({})).await;
    assert_eq!(status["state"], "queued", "{status}");
    answer(&http, &first, &first_question, json!({"decision": "deny"})).await;
    ended(&http, &first).await;
    let end = ended(&http, &third).await;
    assert_eq!(end["state"], "completed", "{end}");
}

#[tokio::test]
async fn a_waiting_execution_keeps_its_lane() {
    let stack = stack(&["--running-executions=4"]).await;
    let http = stack.http();
    let first = start(&http, "@ask Bash {\"command\":\"x\"}", json!({"lane": "l"})).await;
    let asked = question(&http, &first).await;
    let second = id();
    let status = accept(&http, &second, "@say second", json!({"lane": "l"})).await;
    assert_eq!(status["state"], "queued", "{status}");
    answer(&http, &first, &asked, json!({"decision": "allow"})).await;
    ended(&http, &second).await;
    let (one, two) = (http.status(&first).await, http.status(&second).await);
    let time = |status: &serde_json::Value, name: &str| status[name].as_str().map(str::to_owned);
    assert!(
        time(&one.expect("one"), "endedAt") <= time(&two.expect("two"), "startedAt"),
        "the lane was not kept"
    );
}

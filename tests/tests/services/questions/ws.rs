//! Questions over WebSocket: every viewer sees them, anybody answers, and neither the death of the
//! client nor of the bridge loses one. The client of the tests checks the order of each view.

use cc_tests::{
    faults::{Cut, Faults},
    harness::{Stack, StackOptions, eventually},
    ws,
};
use client::{Event, OutputCheck};
use protocol::{Answer, PermissionPrompts};
use serde_json::{Value, json};

use super::{answer as answer_over_http, ask, list, question, stack};
use crate::support::{PATIENCE, accept, ended, id};

const PROMPT: &str = "@say before \n@ask Bash {\"command\":\"rm x\"}\n@say after";

/// Executes the prompt in this session, whose view begins. Returns the id of the execution.
async fn execute(client: &mut ws::Client) -> String {
    let status = client
        .execute(PROMPT, json!({"permissionPrompts": "ask"}))
        .await;
    status["executionId"].as_str().expect("an id").to_owned()
}

/// Waits for the question of the prompt.
async fn asked(client: &ws::Client, execution: &str) -> Value {
    let mut questions = client.wait_questions(execution, 1).await;
    let question = questions.remove(0);
    assert_eq!(
        (&question["title"], &question["input"]),
        (&json!("rm x"), &json!({"command": "rm x"})),
        "{question}"
    );
    question
}

fn answer(execution: &str, question: &Value, decision: &str) -> Value {
    json!({"executionId": execution, "questionId": question["questionId"], "decision": decision})
}

/// Asserts that the view shows the end of the question by an answer with this decision.
async fn assert_answered(client: &ws::Client, execution: &str, question: &Value, decision: &str) {
    let closed = client.wait_closed_question(execution, question).await;
    assert_eq!(
        (&closed["closedBy"], &closed["decision"]),
        (&json!("answer"), &json!(decision)),
        "{closed}"
    );
}

/// Waits for the end of an execution whose question was allowed. Every byte is shown once.
async fn assert_allowed(client: &ws::Client, execution: &str) {
    let (output, end) = client.wait_terminal(execution).await;
    assert_eq!(end["status"], "COMPLETED", "{end}");
    let text = String::from_utf8(output).expect("output is UTF-8");
    assert_eq!(text, "before\n\nallowed {\"command\":\"rm x\"}\nafter");
}

#[tokio::test]
async fn a_question_reaches_two_viewers_and_is_answered_by_one() {
    let stack = stack(&[]).await;
    let mut first = stack.client().await;
    let execution = execute(&mut first).await;
    let question = asked(&first, &execution).await;
    // Attached later, and to a question that is open already.
    let mut second = stack.client().await;
    second.attach(&execution, None).await.expect("attached");
    assert_eq!(asked(&second, &execution).await, question);
    let answered = second
        .call("answer", answer(&execution, &question, "allow"))
        .await;
    assert_eq!(answered.expect("answered")["decision"], "allow");
    for client in [first, second] {
        assert_answered(&client, &execution, &question, "allow").await;
        assert_allowed(&client, &execution).await;
        assert_eq!(client.questions(&execution).len(), 1);
        client.finish().await;
    }
}

#[tokio::test]
async fn a_question_survives_its_client_and_the_bridge() {
    let mut stack = stack(&[]).await;
    let mut client = stack.client().await;
    let execution = execute(&mut client).await;
    let question = asked(&client, &execution).await;
    client.vanish();
    stack.crash_bridges().await;
    let mut other = stack.client().await;
    other.attach(&execution, None).await.expect("attached");
    assert_eq!(asked(&other, &execution).await, question);
    // A session that does not view the execution may answer, too.
    let mut third = stack.client().await;
    third
        .call("answer", answer(&execution, &question, "allow"))
        .await
        .expect("answered");
    assert_answered(&other, &execution, &question, "allow").await;
    assert_allowed(&other, &execution).await;
    assert_eq!(stack.spawns(&execution), 1);
    other.finish().await;
    third.finish().await;
}

#[tokio::test]
async fn of_two_answers_at_once_one_wins_and_the_other_learns_which() {
    let stack = stack(&[]).await;
    let mut viewer = stack.client().await;
    let mut others = [stack.client().await, stack.client().await];
    for _ in 0..6 {
        let execution = execute(&mut viewer).await;
        let question = asked(&viewer, &execution).await;
        let [allowing, denying] = &mut others;
        let (allowed, denied) = tokio::join!(
            allowing.call("answer", answer(&execution, &question, "allow")),
            denying.call("answer", answer(&execution, &question, "deny")),
        );
        let (error, decision) = match (allowed, denied) {
            (Ok(_), Err(error)) => (error, "allow"),
            (Err(error), Ok(_)) => (error, "deny"),
            both => panic!("{both:?}"),
        };
        let data = &error["data"];
        assert_eq!(
            (&error["code"], &data["closedBy"], &data["decision"]),
            (&json!(-32008), &json!("answer"), &json!(decision)),
            "{error}"
        );
        assert_eq!(data["principal"], Value::Null, "{error}");
        assert_answered(&viewer, &execution, &question, decision).await;
        viewer.wait_terminal(&execution).await;
    }
    viewer.finish().await;
}

#[tokio::test]
async fn the_same_answer_of_two_sessions_is_no_error() {
    let stack = stack(&[]).await;
    let mut viewer = stack.client().await;
    let mut other = stack.client().await;
    let execution = execute(&mut viewer).await;
    let question = asked(&viewer, &execution).await;
    let params = answer(&execution, &question, "deny");
    let (one, two) = tokio::join!(
        viewer.call("answer", params.clone()),
        other.call("answer", params.clone()),
    );
    assert_eq!(one.expect("answered"), two.expect("answered"));
    viewer.wait_terminal(&execution).await;
    // Also after the end.
    other.call("answer", params).await.expect("answered");
    viewer.finish().await;
}

#[tokio::test]
async fn a_view_of_an_ended_execution_announces_no_question() {
    let stack = stack(&[]).await;
    let http = stack.http();
    let execution = ask(&http, json!({})).await;
    let question = question(&http, &execution).await;
    answer_over_http(&http, &execution, &question, json!({"decision": "allow"})).await;
    ended(&http, &execution).await;
    let mut client = stack.client().await;
    client.attach(&execution, None).await.expect("attached");
    assert_allowed(&client, &execution).await;
    assert!(client.questions(&execution).is_empty());
    assert!(client.closed_questions(&execution).is_empty());
    client.finish().await;
}

#[tokio::test]
async fn every_end_of_a_question_is_shown_before_the_terminal_status() {
    let stack = stack(&[]).await;
    let http = stack.http();
    let mut client = stack.client().await;
    let cancelled = execute(&mut client).await;
    let question = asked(&client, &cancelled).await;
    let control = json!({"type": "CANCEL", "executionId": cancelled});
    client.call("control", control).await.expect("cancelled");
    client.wait_terminal(&cancelled).await;
    let closed = client.closed_questions(&cancelled);
    assert_eq!(
        (&closed[0]["questionId"], &closed[0]["closedBy"]),
        (&question["questionId"], &json!("end"))
    );
    assert_eq!(
        list(&http, &cancelled).await["closed"][0]["closedBy"],
        "end"
    );

    let expired = id();
    let extra = json!({"permissionPrompts": "ask", "questionTimeoutSeconds": 0.5});
    accept(&http, &expired, PROMPT, extra).await;
    client.attach(&expired, None).await.expect("attached");
    client.wait_terminal(&expired).await;
    // The view may have begun after the timeout.
    for closed in client.closed_questions(&expired) {
        assert_eq!(closed["closedBy"], "timeout", "{closed}");
    }
    client.finish().await;
}

#[tokio::test]
async fn the_death_of_claude_api_closes_the_question_in_the_view() {
    let mut stack = stack(&[]).await;
    let mut client = stack.client().await;
    let execution = execute(&mut client).await;
    let question = asked(&client, &execution).await;
    stack.crash_api().await;
    let (_, end) = client.wait_terminal(&execution).await;
    assert_eq!(end["status"], "INTERRUPTED", "{end}");
    let closed = client.wait_closed_question(&execution, &question).await;
    assert_eq!(closed["closedBy"], "end", "{closed}");
    client.finish().await;
}

#[tokio::test]
async fn a_cut_between_the_services_announces_nothing_twice() {
    let options = StackOptions {
        proxy_upstream: true,
        ..StackOptions::default().api("--allowed-tools=Bash")
    };
    let stack = Stack::with(options).await;
    let middle = stack.middle.as_ref().expect("a proxy");
    let mut client = stack.client().await;
    let execution = execute(&mut client).await;
    let question = asked(&client, &execution).await;
    for _ in 0..5 {
        let connections = middle.connections();
        middle.cut_now(Cut::Reset);
        eventually("two new streams", PATIENCE, || {
            (middle.connections() >= connections + 2).then_some(())
        })
        .await;
    }
    // The bridge repeats the answer until it reaches claude-api again.
    middle.set(Faults::refuse());
    middle.cut_now(Cut::Reset);
    let request = client
        .request("answer", answer(&execution, &question, "allow"))
        .await;
    client.wait_notice("upstream_unreachable").await;
    middle.heal();
    client.answer(request).await.expect("answered");
    assert_answered(&client, &execution, &question, "allow").await;
    assert_allowed(&client, &execution).await;
    assert_eq!(client.questions(&execution), [question]);
    client.finish().await;
}

/// Starts a stack with a proxy in front of the bridge. Returns it with a client of the library.
async fn library() -> (Stack, client::Client) {
    let options = StackOptions {
        proxy_clients: true,
        ..StackOptions::default().api("--allowed-tools=Bash")
    };
    let stack = Stack::with(options).await;
    let url = format!("ws://{}/ws", stack.ws_addr());
    let client = client::Client::connect(&url, client::Options::default()).await;
    (stack, client.expect("a session"))
}

fn run(client: &client::Client) -> client::Run {
    let mut params = client::ExecuteParams::prompt(PROMPT);
    params.body.permission_prompts = PermissionPrompts::Ask;
    client.execute(params).expect("queued")
}

#[tokio::test]
async fn the_client_library_yields_a_question_once_across_a_lost_connection() {
    let (stack, client) = library().await;
    let front = stack.front.as_ref().expect("a proxy");
    let mut run = run(&client);
    let (mut events, mut question) = (Vec::new(), None);
    while let Some(event) = run.next().await.expect("an event") {
        match event {
            Event::Question(asked) => {
                events.push("asked");
                question = Some(asked.question_id);
                front.cut_now(Cut::Reset);
            }
            Event::Reconnected => {
                let question = question.expect("a question");
                let answered = client.answer(run.id(), question, Answer::allow()).await;
                assert_eq!(answered.expect("answered").question_id, question);
            }
            Event::QuestionClosed { closed, .. } => {
                events.push(closed.expect("an end").closed_by.as_str());
            }
            Event::Terminal { verdict, .. } => assert_eq!(verdict, OutputCheck::Verified),
            _ => {}
        }
    }
    assert_eq!(events, ["asked", "answer"]);
}

#[tokio::test]
async fn the_client_library_yields_an_end_that_it_could_not_see() {
    let (stack, client) = library().await;
    let http = stack.http();
    let front = stack.front.as_ref().expect("a proxy");
    let mut run = run(&client);
    let execution = run.id().to_string();
    let mut events = Vec::new();
    while let Some(event) = run.next().await.expect("an event") {
        match event {
            Event::Question(asked) => {
                events.push("asked");
                front.set(Faults::refuse());
                front.cut_now(Cut::Reset);
                let question = json!({ "questionId": asked.question_id });
                let allow = json!({"decision": "allow"});
                let answered = answer_over_http(&http, &execution, &question, allow).await;
                assert_eq!(answered.0, 200, "{}", answered.2);
                ended(&http, &execution).await;
                front.heal();
            }
            Event::QuestionClosed { closed, .. } => {
                events.push(closed.map_or("unseen", |closed| closed.closed_by.as_str()));
            }
            Event::Terminal { verdict, .. } => {
                events.push("terminal");
                assert_eq!(verdict, OutputCheck::Verified);
            }
            _ => {}
        }
    }
    // The bridge may have sent the end before the connection was cut.
    let unseen = ["asked", "unseen", "terminal"];
    assert!(
        events == unseen || events == ["asked", "answer", "terminal"],
        "{events:?}"
    );
}

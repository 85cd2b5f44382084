//! Budgets: of one execution (`maxBudgetUsd`), and of a principal's day (`budgetUsdPerDay`).

use cc_tests::harness::{StackOptions, Tokens};
use cc_tests::http::Http;
use reqwest::Method;
use serde_json::{Value, json};

use super::api::{Api, assert_kind, usual_tokens};
use crate::support::{accept, ended, exists, id, parsed, path, send, until};

/// Returns the budget that an execution's CLI got as an argument.
async fn given_budget(http: &Http, asked: Value) -> Option<f64> {
    let id = id();
    accept(http, &id, "@argv", json!({ "maxBudgetUsd": asked })).await;
    assert_eq!(ended(http, &id).await["state"], "completed");
    let output = http.output(&id, 0).await.expect("an output");
    let arguments = parsed(std::str::from_utf8(&output.bytes).expect("UTF-8"));
    let arguments = arguments.as_array().expect("a list").clone();
    let flag = "--max-budget-usd";
    let texts: Vec<_> = arguments.iter().filter_map(Value::as_str).collect();
    let at = texts
        .iter()
        .position(|text| text.split('=').next() == Some(flag))?;
    let value = texts[at]
        .split_once('=')
        .map_or(texts.get(at + 1).copied(), |(_, v)| Some(v));
    value.map(|value| value.parse().expect("a number"))
}

#[tokio::test]
async fn the_budget_of_an_execution_is_the_tokens_unless_it_asks_for_less() {
    let tokens = usual_tokens().with(
        "narrow",
        "control",
        &["principal = \"team-d\"", "maxBudgetUsd = 2.5"],
    );
    let api = Api::start(tokens, StackOptions::default()).await;
    let (narrow, alice) = (api.http("narrow"), api.http("alice"));
    assert_eq!(given_budget(&narrow, Value::Null).await, Some(2.5));
    assert_eq!(given_budget(&narrow, json!(1)).await, Some(1.0));
    assert_eq!(given_budget(&narrow, json!(2.5)).await, Some(2.5));
    assert_eq!(given_budget(&alice, Value::Null).await, None);
    assert_eq!(given_budget(&alice, json!(100)).await, Some(100.0));
    let starts = api.starts().len();
    for asked in [json!(2.51), json!(1000)] {
        let body = json!({"prompt": "x", "maxBudgetUsd": asked}).to_string();
        let answer = send(&narrow, Method::PUT, &path(&id(), ""), body).await;
        assert_kind(&answer, 403, "forbidden");
    }
    assert_eq!(api.starts().len(), starts);
    api.service.assert_quiet();
}

fn with_day(usd: f64) -> Tokens {
    let day = format!("budgetUsdPerDay = {usd:?}");
    let team = ["principal = \"team-d\"", &day];
    usual_tokens().with("spender", "control", &team).with(
        "second",
        "control",
        &["principal = \"team-d\""],
    )
}

/// Runs an execution that costs this much.
async fn spend(http: &Http, usd: &str) -> Value {
    let id = id();
    accept(http, &id, &format!("@say x\n@cost {usd}"), json!({})).await;
    let end = ended(http, &id).await;
    assert_eq!(
        (&end["state"], end["costUsd"].as_f64()),
        (&json!("completed"), usd.parse().ok()),
        "{end}"
    );
    end
}

/// Asserts that the day's budget is spent, for a token of the principal.
async fn assert_spent(http: &Http) {
    let now = jiff::Timestamp::now();
    for (method, target) in [
        (Method::PUT, path(&id(), "")),
        (Method::POST, "/v1/executions".into()),
    ] {
        let answer = send(http, method, &target, r#"{"prompt":"@say x"}"#).await;
        assert_kind(&answer, 403, "budget-spent");
        let resets = answer.2["resetsAt"].as_str().expect("a time");
        let resets: jiff::Timestamp = resets.parse().expect("a time");
        assert_eq!(resets.as_second() % 86_400, 0, "{resets} is no midnight");
        let seconds = resets.duration_since(now).as_secs();
        assert!((0..=86_400).contains(&seconds), "{resets}");
    }
}

#[tokio::test]
async fn a_spent_day_refuses_every_token_of_its_principal_also_after_a_kill() {
    let mut api = Api::start(with_day(1.0), StackOptions::default()).await;
    let (spender, second) = (api.http("spender"), api.http("second"));
    let (alice, admin) = (api.http("alice"), api.http("admin"));
    assert_eq!(given_budget(&second, Value::Null).await, Some(1.0 - 0.0));
    let ended_one = spend(&spender, "0.625").await;
    api.crash().await;
    let left = given_budget(&second, Value::Null).await.expect("a budget");
    assert!((left - 0.375).abs() < 0.01, "{left} is left");
    // One execution may ask for more than is left of the day; it gets what is left.
    let capped = given_budget(&spender, json!(0.5)).await.expect("a budget");
    assert!((capped - 0.375).abs() < 0.01, "{capped}");
    spend(&second, "0.75").await;
    assert_spent(&spender).await;
    assert_spent(&second).await;
    api.crash().await;
    assert_spent(&spender).await;
    // The principal still reads its executions, and others are not concerned.
    assert_eq!(
        spender
            .status(ended_one["executionId"].as_str().expect("an id"))
            .await
            .expect("a status"),
        ended_one
    );
    spend(&alice, "50").await;
    spend(&admin, "50").await;
    // An equal repetition of an accepted request starts nothing, and is answered as before.
    let id = ended_one["executionId"].as_str().expect("an id");
    let (code, again) = spender
        .put(id, &json!({"prompt": "@say x\n@cost 0.625"}))
        .await
        .expect("an answer");
    assert_eq!(code, 200, "{again}");
    // A higher budget in the file is in force without a restart.
    let fields = ["principal = \"team-d\"", "budgetUsdPerDay = 5.0"];
    let higher = api.tokens.changed("spender", "control", &fields);
    api.replace_tokens(higher);
    cc_tests::harness::until("the higher budget", super::api::IN_FORCE, async || {
        let body = r#"{"prompt":"@say x"}"#;
        let (code, ..) = send(&second, Method::PUT, &path(&crate::support::id(), ""), body).await;
        (code == 201).then_some(())
    })
    .await;
    api.service.assert_quiet();
}

/// The cost of an execution counts once, whenever the service is killed around its end.
#[tokio::test]
async fn a_kill_between_the_result_and_the_end_neither_loses_nor_doubles_the_cost() {
    let mut api = Api::start(with_day(1.0), StackOptions::default()).await;
    let spender = api.http("spender");
    for round in 1..=3 {
        let id = id();
        // The result is written, and the CLI stays: the end is not recorded yet.
        accept(&spender, &id, "@say x\n@cost 0.25\n@linger 60", json!({})).await;
        until(&spender, &id, "past its result", |status| {
            status["costUsd"].is_f64()
        })
        .await;
        api.crash().await;
        let end = ended(&spender, &id).await;
        let cost = end["costUsd"].as_f64();
        assert_eq!(cost, Some(0.25), "{end}");
        if round < 3 {
            let left = given_budget(&spender, Value::Null).await.expect("a budget");
            let expected = 1.0 - 0.25 * f64::from(round);
            assert!(
                (left - expected).abs() < 0.01,
                "{left} is left, not {expected}"
            );
        }
        api.crash().await;
    }
    spend(&spender, "0.25").await;
    assert_spent(&spender).await;
    api.service.assert_quiet();
}

/// Executions that wait when the budget is spent were accepted, and run.
#[tokio::test]
async fn executions_that_were_accepted_before_the_day_was_spent_run() {
    let api = Api::start(with_day(0.5), StackOptions::default()).await;
    let spender = api.http("spender");
    let lane = json!({"lane": "main"});
    let first = api.prepare();
    let prompt = format!("{}\n@cost 0.75", first.prompt);
    accept(&spender, &first.id, &prompt, lane.clone()).await;
    exists(&first.mark).await;
    let waiting = id();
    accept(&spender, &waiting, "@say x", lane).await;
    first.open();
    assert_eq!(ended(&spender, &first.id).await["costUsd"], 0.75);
    assert_spent(&spender).await;
    assert_eq!(ended(&spender, &waiting).await["state"], "completed");
    api.service.assert_quiet();
}

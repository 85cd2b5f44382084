//! The costs and limits that `credentials` reports.

use cc_tests::credentials::{FakeCredentials, answer, present, with_credentials};
use cc_tests::harness::{Stack, StackOptions, Tokens, until};
use cc_tests::http::Http;
use grants::{Answer, CredentialKind, Endpoint, Order, Report, Usage};
use reqwest::Method;
use serde_json::json;

use super::stack;
use crate::metrics::page;
use crate::support::{PATIENCE, accept, ended, id, send};

async fn cancel(http: &Http, id: &str) {
    let path = crate::support::path(id, "/cancel");
    let (code, _, status) = send(http, Method::POST, &path, "").await;
    assert_eq!(code, 200, "{status}");
}

/// Returns an answer that cost `usd`, with `total` for the grant.
fn paid(id: &str, usd: f64, total: f64) -> Answer {
    Answer {
        cost_usd: usd,
        total_cost_usd: total,
        ..answer(id, 200)
    }
}

#[tokio::test]
async fn an_execution_that_is_cancelled_before_its_first_result_has_a_cost() {
    let stack = stack().await;
    let kind = present(CredentialKind::ApiKey);
    let mut fake = FakeCredentials::connect(&stack.api, kind).await;
    let (http, id) = (stack.http(), id());
    accept(&http, &id, "@say x\n@silence 60", json!({})).await;
    fake.grant().await;
    fake.report(&Report::Answer(paid(&id, 0.25, 0.25))).await;
    // The cost shows before the end.
    crate::support::until(&http, &id, "charged", |status| status["costUsd"] == 0.25).await;
    cancel(&http, &id).await;
    let order = fake.order().await;
    let execution_id = id.clone();
    assert_eq!(order, Some(Order::Revoke { execution_id }));
    // The request that the revocation cut.
    fake.report(&Report::Answer(paid(&id, 0.5, 0.75))).await;
    let execution_id = id.clone();
    fake.report(&Report::Revoked { execution_id }).await;
    let status = ended(&http, &id).await;
    assert_eq!(
        (&status["state"], &status["costUsd"]),
        (&json!("cancelled"), &json!(0.75))
    );
    stack.assert_quiet();
}

#[tokio::test]
async fn the_cost_is_the_larger_one_of_both_counts() {
    let stack = stack().await;
    let kind = present(CredentialKind::ApiKey);
    let mut fake = FakeCredentials::connect(&stack.api, kind).await;
    let http = stack.http();
    for (of_cli, reported, expected) in [("0.5", 0.25, 0.5), ("0.25", 0.5, 0.5)] {
        let gate = stack.path(&format!("gate-{of_cli}"));
        let id = id();
        let prompt = format!("@cost {of_cli}\n@wait {}\n@say x", gate.display());
        accept(&http, &id, &prompt, json!({})).await;
        fake.grant().await;
        fake.report(&Report::Answer(paid(&id, reported, reported)))
            .await;
        crate::support::until(&http, &id, "charged", |status| {
            status["costUsd"] == reported
        })
        .await;
        std::fs::write(&gate, "").expect("written");
        fake.revocation(&id).await;
        assert_eq!(ended(&http, &id).await["costUsd"], expected);
    }
    stack.assert_quiet();
}

#[tokio::test]
async fn a_principal_whose_running_executions_use_up_its_day_gets_no_further_answers() {
    let tokens = Tokens::default()
        .with("admin", "admin", &[])
        .with("alice", "control", &["budgetUsdPerDay = 1.0"])
        .with("bob", "control", &["budgetUsdPerDay = 1.0"]);
    let options = with_credentials(StackOptions::default()).tokens(tokens.clone());
    let stack = Stack::with(options).await;
    let kind = present(CredentialKind::ApiKey);
    let mut fake = FakeCredentials::connect(&stack.api, kind).await;
    let http = |name| Http::with_token(stack.api.addr(), tokens.secret(name));
    let (alice, bob) = (http("alice"), http("bob"));
    let gate = stack.path("gate");
    let prompt = format!("@wait {}\n@result 402", gate.display());
    let [first, second, other] = [id(), id(), id()];
    for (client, id) in [(&alice, &first), (&alice, &second), (&bob, &other)] {
        accept(client, id, &prompt, json!({})).await;
        let registration = fake.grant().await;
        assert_eq!(registration.max_cost_usd, Some(1.0));
    }
    fake.report(&Report::Answer(paid(&first, 0.5, 0.5))).await;
    fake.report(&Report::Answer(paid(&other, 0.5, 0.5))).await;
    fake.report(&Report::Answer(paid(&second, 0.5, 0.5))).await;
    let mut exhausted = Vec::new();
    for _ in 0..2 {
        match fake.order().await {
            Some(Order::Exhaust { execution_id }) => exhausted.push(execution_id),
            order => panic!("{order:?}"),
        }
    }
    exhausted.sort();
    let mut expected = [first.clone(), second.clone()];
    expected.sort();
    assert_eq!(exhausted, expected);
    std::fs::write(&gate, "").expect("written");
    // 402 is the end of the budget only for the principal whose budget is used up.
    for (client, id, reason) in [
        (&alice, &first, "max_budget"),
        (&alice, &second, "max_budget"),
        (&bob, &other, "cli_error"),
    ] {
        let status = ended(client, id).await;
        assert_eq!(status["reason"], reason, "{status}");
        assert_eq!(status["costUsd"], 0.5, "{status}");
    }
    let body = json!({"prompt": "@say x"});
    let (code, problem) = alice.put(&id(), &body).await.expect("an answer");
    assert_eq!(
        (code.as_u16(), &problem["type"]),
        (403, &json!("budget-spent"))
    );
    stack.assert_quiet();
}

#[tokio::test]
async fn the_reset_of_a_usage_limit_is_known_from_the_api() {
    let stack = stack().await;
    let kind = present(CredentialKind::ApiKey);
    let mut fake = FakeCredentials::connect(&stack.api, kind).await;
    let (http, id, gate) = (stack.http(), id(), stack.path("gate"));
    let prompt = format!("@wait {}\n@result 429", gate.display());
    accept(&http, &id, &prompt, json!({})).await;
    fake.grant().await;
    let limited = Answer {
        resets_at_ms: Some(4_102_444_800_000),
        ..answer(&id, 429)
    };
    fake.report(&Report::Answer(limited)).await;
    // Reports are handled in their order, so the first one is known with the second.
    fake.report(&Report::Answer(paid(&id, 0.5, 0.5))).await;
    crate::support::until(&http, &id, "charged", |status| status["costUsd"] == 0.5).await;
    std::fs::write(&gate, "").expect("written");
    let status = ended(&http, &id).await;
    assert_eq!(status["reason"], "usage_limit", "{status}");
    let warnings = status["warnings"].as_array().expect("a list");
    let warning = warnings.iter().find(|w| w["code"] == "usage_limit");
    let resets_at = &warning.expect("a warning")["data"]["resetsAt"];
    assert_eq!(resets_at, "2100-01-01T00:00:00Z");
    stack.assert_quiet();
}

#[tokio::test]
async fn the_answers_of_the_api_and_the_connection_are_metrics() {
    let stack = stack().await;
    let addr = stack.api.addr();
    let connected = async |wanted: f64| {
        until("the gauge of the connection", PATIENCE, async || {
            let now = page(addr)
                .await
                .sum("claude_api_credentials_connected", &[]);
            (now == wanted).then_some(())
        })
        .await;
    };
    connected(0.0).await;
    let kind = present(CredentialKind::ApiKey);
    let mut fake = FakeCredentials::connect(&stack.api, kind).await;
    connected(1.0).await;
    let usage = Usage {
        input_tokens: 1,
        output_tokens: 2,
        cache_read_tokens: 3,
        cache_write_tokens: 4,
    };
    for status in [200, 200, 429] {
        let answer = Answer {
            usage,
            execution_id: None,
            endpoint: Endpoint::Models,
            ..answer("", status)
        };
        fake.report(&Report::Answer(answer)).await;
    }
    let name = "claude_api_model_requests_total";
    let labels = [("endpoint", "models"), ("status", "429")];
    let page = until("the last answer", PATIENCE, async || {
        let page = page(addr).await;
        (page.sum(name, &labels) == 1.0).then_some(page)
    })
    .await;
    let labels = [("endpoint", "models"), ("status", "2xx")];
    assert_eq!(page.sum(name, &labels), 2.0);
    assert_eq!(page.sum(name, &[("endpoint", "messages")]), 0.0);
    let tokens = "claude_api_model_request_tokens_total";
    assert_eq!(page.sum(tokens, &[("kind", "output")]), 6.0);
    let count = "claude_api_model_request_first_byte_seconds_count";
    assert_eq!(page.sum(count, &[]), 3.0);
    drop(fake);
    connected(0.0).await;
    let restarts = "claude_api_credentials_restarts_total";
    assert_eq!(crate::metrics::page(addr).await.sum(restarts, &[]), 1.0);
    stack.assert_quiet();
}

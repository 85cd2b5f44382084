//! `/metrics` with tokens: principals are labels only where the operator wants it, and the budgets
//! of the day are counted.

use cc_tests::exposition::{Format, Page};
use cc_tests::harness::{StackOptions, Tokens, until};
use cc_tests::http::Http;
use reqwest::{Method, header};
use serde_json::json;

use super::api::{Api, IN_FORCE, usual_tokens};
use crate::support::{PATIENCE, accept, ended, id};

/// The usual tokens, one that reads metrics, and one of a principal with a budget of a dollar.
fn tokens() -> Tokens {
    let budget = ["principal = \"team-d\"", "budgetUsdPerDay = 1.0"];
    let tokens = usual_tokens().with("scraper", "metrics", &[]);
    tokens.with("spender", "control", &budget)
}

/// Reads the page with a token of the role `metrics`.
async fn page(api: &Api) -> Page {
    let request = api.http("scraper").request(Method::GET, "/metrics");
    let request = request.header(header::ACCEPT, Format::OpenMetrics.content_type());
    let response = request.send().await.expect("an answer");
    assert_eq!(response.status(), 200);
    let text = response.text().await.expect("a page");
    Page::parse(&text, Format::OpenMetrics).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// Runs an execution that costs this much, to its end.
async fn spend(http: &Http, usd: &str) {
    let id = id();
    accept(http, &id, &format!("@say x\n@cost {usd}"), json!({})).await;
    assert_eq!(ended(http, &id).await["state"], "completed");
}

#[tokio::test]
async fn principals_are_labels_only_where_the_operator_wants_it() {
    let api = Api::start(tokens(), StackOptions::default()).await;
    spend(&api.http("spender"), "0.25").await;
    let names = page(&api).await;
    let names: Vec<_> = names.names().filter(|n| n.contains("principal")).collect();
    assert_eq!(names, [""; 0]);
    api.service.assert_quiet();

    let options = StackOptions::default().api("--metrics-per-principal");
    let api = Api::start(tokens(), options).await;
    spend(&api.http("spender"), "0.25").await;
    spend(&api.http("spender"), "0.5").await;
    spend(&api.http("alice"), "2").await;
    let page = page(&api).await;
    for (principal, executions, cost) in [("team-d", 2.0, 0.75), ("team-a", 1.0, 2.0)] {
        let labels = [("principal", principal)];
        let ended = "claude_api_principal_executions_ended_total";
        assert_eq!(page.sum(ended, &labels), executions, "{principal}");
        let spent = page.sum("claude_api_principal_cost_usd_total", &labels);
        assert_eq!(spent, cost, "{principal}");
        assert!(page.sum("claude_api_principal_tokens_total", &labels) > 0.0);
    }
    let all = page.sum("claude_api_principal_tokens_total", &[]);
    assert_eq!(all, page.sum("claude_api_tokens_total", &[]));
    api.service.assert_quiet();
}

#[tokio::test]
async fn budgets_of_the_day_are_counted_by_how_much_is_spent() {
    let mut api = Api::start(tokens(), StackOptions::default()).await;
    let counted = async |api: &Api, state: &str| {
        let what = format!("a budget that is {state}");
        until(&what, PATIENCE, async || {
            let page = page(api).await;
            let budgets = |state| page.sum("claude_api_budgets", &[("state", state)]);
            let all: f64 = ["open", "near", "spent"].map(budgets).iter().sum();
            (budgets(state) == 1.0 && all == 1.0).then_some(())
        })
        .await;
    };
    let spender = api.http("spender");
    counted(&api, "open").await;
    spend(&spender, "0.85").await;
    counted(&api, "near").await;
    spend(&spender, "0.2").await;
    counted(&api, "spent").await;
    let without = api.tokens.without("spender");
    api.replace_tokens(without);
    until("no budget", PATIENCE + IN_FORCE, async || {
        let page = page(&api).await;
        (page.sum("claude_api_budgets", &[]) == 0.0).then_some(())
    })
    .await;
    api.service.assert_quiet();
}

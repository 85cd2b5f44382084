//! The dashboard, the alerts and the documentation name the metrics that the services have.

use std::collections::BTreeSet;
use std::path::Path;

use cc_tests::exposition::Page;
use cc_tests::harness::{Stack, StackOptions};
use cc_tests::promql::{Query, is_matched};
use serde_json::Value;

use super::page;

/// The labels that Prometheus adds to each series.
const TARGET_LABELS: [&str; 2] = ["instance", "job"];
/// The metric that Prometheus makes of each scrape.
const UP: &str = "up";

/// Reads a file of the repository.
fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let path = root.join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns the values of all members `expr` below a JSON value.
fn dashboard_queries(value: &Value) -> Vec<String> {
    match value {
        Value::Array(all) => all.iter().flat_map(dashboard_queries).collect(),
        Value::Object(members) => {
            let query = members.get("expr").and_then(Value::as_str);
            let below = members.values().flat_map(dashboard_queries);
            query.map(str::to_owned).into_iter().chain(below).collect()
        }
        _ => Vec::new(),
    }
}

/// Returns the blocks of the rules, each from its `alert` up to the next one.
fn alerts(rules: &str) -> Vec<(&str, &str)> {
    let blocks = rules.split("- alert: ").skip(1);
    blocks.filter_map(|block| block.split_once('\n')).collect()
}

/// Returns the query of an alert: the rest of the line `expr:`, or the deeper lines behind it.
fn alert_query(block: &str) -> String {
    let (_, rest) = block.split_once("expr: ").expect("an alert has a query");
    let (first, others) = rest.split_once('\n').expect("a query has an end");
    if first != ">-" {
        return first.to_owned();
    }
    let deeper = others
        .lines()
        .take_while(|line| line.starts_with("          "));
    deeper.map(str::trim).collect::<Vec<_>>().join(" ")
}

/// Returns what a query names and the pages do not have.
fn unknown(query: &str, pages: &[Page]) -> Vec<String> {
    let names = Query::parse(query).unwrap_or_else(|error| panic!("{error}: {query}"));
    let mut unknown = Vec::new();
    let mut labels: BTreeSet<&str> = TARGET_LABELS.into();
    assert!(
        !names.selectors.is_empty(),
        "no metric was found in {query}"
    );
    for selector in &names.selectors {
        let samples = pages.iter().flat_map(|page| page.labels(&selector.metric));
        let samples: Vec<_> = samples.collect();
        if samples.is_empty() && selector.metric != UP {
            unknown.push(selector.metric.clone());
        }
        labels.extend(samples.iter().copied().flatten().map(|(name, _)| &**name));
        let own_labels = selector.matchers.iter();
        for matcher in own_labels.filter(|matcher| !TARGET_LABELS.contains(&&*matcher.label)) {
            let values = samples.iter().copied().flatten();
            let values = values.filter(|(name, _)| *name == matcher.label);
            let values: Vec<_> = values.map(|(_, value)| value).collect();
            for wanted in matcher.alternatives() {
                if !values.iter().any(|value| is_matched(&wanted, value)) {
                    let (metric, label) = (&selector.metric, &matcher.label);
                    unknown.push(format!("{metric}{{{label}={wanted:?}}}"));
                }
            }
        }
    }
    let grouping = names.labels.iter();
    unknown.extend(grouping.filter(|l| !labels.contains(&***l)).cloned());
    unknown
}

/// Returns the pages of both services with every series that they can have.
async fn pages() -> [Page; 2] {
    let options = StackOptions::default().api("--metrics-per-principal");
    let stack = Stack::with(options).await;
    let mut client = stack.client().await;
    // The counters of a principal begin with its first execution.
    client.run("@say x").await;
    client.finish().await;
    [
        page(stack.api.addr()).await,
        page(stack.bridge.addr()).await,
    ]
}

#[tokio::test]
async fn queries_of_the_dashboard_and_of_the_alerts_name_what_the_services_have() {
    let pages = pages().await;
    let dashboard = read("deploy/observability/grafana/dashboards/cc-bridge.json");
    let dashboard: Value = serde_json::from_str(&dashboard).expect("the dashboard is JSON");
    let mut queries = dashboard_queries(&dashboard);
    assert!(queries.len() > 50, "{} queries", queries.len());
    let rules = read("deploy/observability/rules/cc-bridge.yml");
    let alerts = alerts(&rules);
    assert!(alerts.len() > 20, "{} alerts", alerts.len());
    queries.extend(alerts.iter().map(|(_, block)| alert_query(block)));
    for query in queries {
        assert_eq!(unknown(&query, &pages), Vec::<String>::new(), "{query}");
    }
    for (query, expected) in [
        ("sum(claude_api_nothing)", "claude_api_nothing"),
        ("up{job=\"x\"} or bridge_up", "bridge_up"),
        (
            "claude_api_executions{state=~\"queued|stuck\"}",
            "claude_api_executions{state=\"stuck\"}",
        ),
        ("sum by (lane) (claude_api_viewers)", "lane"),
    ] {
        assert_eq!(unknown(query, &pages), [expected], "{query}");
    }
}

#[tokio::test]
async fn the_documentation_lists_every_metric_and_no_other() {
    let document = read("docs/operations.md");
    let exposed: BTreeSet<String> = pages()
        .await
        .iter()
        .flat_map(|page| {
            let name = |name: &str| match page.labels(&format!("{name}_total")).is_empty() {
                true => name.to_owned(),
                false => format!("{name}_total"),
            };
            page.names().map(name).collect::<Vec<_>>()
        })
        .collect();
    // A row of the tables begins with the names of metrics in backticks.
    let rows = document.lines().filter_map(|line| line.strip_prefix("| `"));
    let cells = rows
        .filter_map(|row| row.split_once(" | "))
        .map(|row| row.0);
    let names = cells.flat_map(|cell| cell.split(", "));
    let names = names.map(|name| name.trim_matches('`').split('{').next().unwrap_or(name));
    let is_metric = |name: &&str| name.starts_with("claude_api_") || name.starts_with("bridge_");
    let listed: BTreeSet<String> = names.filter(is_metric).map(str::to_owned).collect();
    assert_eq!(listed, exposed);
}

#[test]
fn every_alert_says_what_to_do_and_has_a_test() {
    let rules = read("deploy/observability/rules/cc-bridge.yml");
    let tests = read("deploy/observability/tests.yml");
    let alerts = alerts(&rules);
    for (name, block) in &alerts {
        for part in [
            "expr: ",
            "for: ",
            "severity: ",
            "summary: ",
            "description: ",
        ] {
            assert_eq!(block.matches(part).count(), 1, "{part}of {name}");
        }
        let test = format!("  - name: {name}\n");
        assert_eq!(tests.matches(&test).count(), 1, "tests of {name}");
    }
    assert_eq!(tests.matches("  - name: ").count(), alerts.len());
}

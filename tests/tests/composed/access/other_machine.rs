//! Another machine uses the services through the TLS proxy: with ccb, Python, curl and a browser.
//! It is refused when a step of docs/operations.md is left out.

use std::time::Duration;

use cc_tests::composed::{
    Machine, Operator, PUBLIC_NAME, Project, Use, case,
    docker::{self, Ran},
};
use protocol::access::Role;
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(300);
/// A name of the TLS proxy that the services do not know.
const OTHER_NAME: &str = "other.example.test";
const PYTHON_CLIENT: &str = include_str!("client.py");
/// Lets the test change the trusted proxies of the services.
const PROXY_OVERLAY: &str = "services:\n  \
    claude-api: {environment: [\"CLAUDE_API_TRUSTED_PROXIES=${TRUSTED_PROXY-tls-proxy}\"]}\n  \
    bridge: {environment: [\"BRIDGE_TRUSTED_PROXIES=${TRUSTED_PROXY-tls-proxy}\"]}\n";
const PAGE: &str = include_str!("page.js");
/// A text that a client sends in a query by mistake, like a token.
const MISPLACED: &str = "misplaced-secret";

#[track_caller]
fn assert_ran(ran: &Ran, code: i32, words: &[&str]) {
    let said = format!("{}{}", ran.text(), ran.stderr);
    assert_eq!(ran.code, Some(code), "{said}");
    for word in words {
        assert!(said.contains(word), "{word}: {said}");
    }
}

fn url(name: &str) -> String {
    format!("wss://{name}:8443/ws")
}

fn page(name: &str, path: &str) -> String {
    format!("https://{name}:8443{path}")
}

/// Returns the options of ccb with all steps done.
fn complete(url: &str) -> Vec<&str> {
    let mut options = vec!["--url", url, "--ca", "/m/ca.pem"];
    options.extend(["--token-file", "/m/control.token"]);
    options
}

/// Returns the options without one of them and its value.
fn without<'a>(options: &[&'a str], option: &str) -> Vec<&'a str> {
    let mut options = options.to_vec();
    let at = options.iter().position(|word| *word == option);
    let at = at.expect("an option");
    options.drain(at..at + 2);
    options
}

/// Returns the whole log of a service's container.
async fn log(project: &Project, service: &str) -> String {
    let command = docker::command(["logs", &project.container(service)]);
    let ran = docker::ran(command, b"").await.expect("docker logs");
    ran.text() + &ran.stderr
}

/// Returns the lines of a service's log with this message.
async fn lines(project: &Project, service: &str, message: &str) -> Vec<Value> {
    let log = log(project, service).await;
    let lines = log
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    lines
        .filter(|line: &Value| line["message"] == message)
        .collect()
}

#[tokio::test]
async fn another_machine_works_through_tls_and_is_refused_without_a_step() {
    case(LIMIT, Use::Own, async |case| {
        let operator = Operator::new();
        let plan = operator.plan().overlay(PROXY_OVERLAY);
        let mut project = Project::up("tls", &plan).await;
        let machine = Machine::join(&project, &operator, &[PUBLIC_NAME, OTHER_NAME]).await;
        case.step("all steps: ccb, curl and Python");
        ccb_and_curl_work(&machine).await;
        python_works(&machine, &project).await;
        case.step("all steps: a browser");
        a_browser_works(&machine, &operator).await;
        case.step("a step left out");
        a_step_left_out_is_refused(&machine).await;
        case.step("no secret in any log");
        no_log_has_a_secret(&machine, &project, &operator).await;
        project.assert_quiet().await;
        case.step("the trusted proxy left out");
        project.set("TRUSTED_PROXY", "");
        project.compose_up(&[]).await;
        machine.connect(&project, &[PUBLIC_NAME]).await;
        assert_clients_look_like_the_proxy(&machine, &project).await;
    })
    .await;
}

async fn ccb_and_curl_work(machine: &Machine<'_>) {
    let url = url(PUBLIC_NAME);
    let words = [&complete(&url)[..], &["exec", "print(6 * 7)"]].concat();
    let ran = machine.ccb(&words).await;
    assert_ran(&ran, 0, &[]);
    assert_eq!(ran.text().trim(), "42");
    let header = "Authorization: Bearer $(cat /m/control.token)";
    let script = format!(
        "curl -sS --cacert /m/ca.pem -H \"{header}\" -H 'Content-Type: application/json' \
         -d '{{\"prompt\": \"print(6 * 8)\"}}' {}",
        page(PUBLIC_NAME, "/v1/executions")
    );
    let ran = machine
        .run("claude-api", "bash", &["-c", &script], "")
        .await;
    assert_ran(&ran, 0, &[]);
    assert_eq!(ran.text().trim(), "48");
}

/// The bridge logs the address of the machine, not that of the proxy.
async fn python_works(machine: &Machine<'_>, project: &Project) {
    let arguments = [PUBLIC_NAME, "8443", "/m/ca.pem", "/m/control.token"];
    let ran = machine.python(PYTHON_CLIENT, &arguments).await;
    assert_ran(&ran, 0, &[]);
    let report: Value = serde_json::from_str(ran.text().trim()).expect("JSON");
    assert_eq!(
        (&report["output"], &report["status"]),
        (&json!("42"), &json!("COMPLETED"))
    );
    let ended = lines(project, "bridge", "session ended").await;
    let clients: Vec<_> = ended.iter().map(|line| &line["client"]).collect();
    assert!(
        clients.contains(&&report["address"]),
        "{report} {clients:?}"
    );
}

/// A page of the services' own origin opens a session with a ticket, which works once.
async fn a_browser_works(machine: &Machine<'_>, operator: &Operator) {
    let mut browser = machine.browser(true).await;
    browser.open(&page(PUBLIC_NAME, "/")).await.expect("a page");
    let script = PAGE.replace("TOKEN", operator.token(Role::Control));
    let script = script.replace("PROMPT", "print(6 * 9)");
    let value = browser.evaluate(&script).await.expect("no exception");
    assert_eq!(
        (
            &value["output"],
            &value["status"],
            &value["protocol"],
            &value["again"]
        ),
        (
            &json!("54"),
            &json!("COMPLETED"),
            &json!("ccb.v1"),
            &json!("refused")
        ),
        "{value}"
    );
    let mut browser = machine.browser(false).await;
    let refused = browser.open(&page(PUBLIC_NAME, "/")).await;
    assert_eq!(refused, Err("net::ERR_CERT_AUTHORITY_INVALID".to_owned()));
}

/// Each error is in docs/operations.md, "When a step is left out".
async fn a_step_left_out_is_refused(machine: &Machine<'_>) {
    let (right, other) = (url(PUBLIC_NAME), url(OTHER_NAME));
    let (all, elsewhere) = (complete(&right), complete(&other));
    let reads = [&all[..5], &["/m/view.token"]].concat();
    for (options, code, word) in [
        (without(&all, "--ca"), 69, "certificate"),
        (without(&all, "--token-file"), 77, "token"),
        (elsewhere, 69, "certificate"),
        (reads, 77, "role"),
    ] {
        let ran = machine
            .ccb(&[&options[..], &["exec", "print(6 * 7)"]].concat())
            .await;
        assert_ran(&ran, code, &[word]);
    }
    let list = page(PUBLIC_NAME, "/v1/executions");
    let ran = machine.curl(&["--cacert", "/m/ca.pem", &list]).await;
    assert_ran(&ran, 0, &["unauthorized", "\n401"]);
    let ran = machine.curl(&[&list]).await;
    assert_ran(&ran, 60, &["certificate"]);
    let list = page(OTHER_NAME, "/v1/executions");
    let ran = machine.curl(&["--insecure", &list]).await;
    assert_ran(&ran, 0, &["foreign-host", "--allowed-hosts", "\n403"]);
    let ran = machine.curl(&["--insecure", &page(OTHER_NAME, "/")]).await;
    assert_ran(&ran, 0, &["foreign-host", "\n403"]);
    let metrics = page(PUBLIC_NAME, "/metrics");
    let ran = machine.curl(&["--cacert", "/m/ca.pem", &metrics]).await;
    assert_ran(&ran, 0, &["unknown-path", "\n404"]);
}

async fn no_log_has_a_secret(machine: &Machine<'_>, project: &Project, operator: &Operator) {
    for path in ["/v1/executions", "/ws", "/nowhere"] {
        let path = format!("{path}?token={MISPLACED}");
        let url = page(PUBLIC_NAME, &path);
        let ran = machine.curl(&["--cacert", "/m/ca.pem", &url]).await;
        assert_ran(&ran, 0, &["\n4"]);
    }
    let secrets = Role::ALL.map(|role| operator.token(role));
    for service in ["tls-proxy", "bridge", "claude-api"] {
        let log = log(project, service).await;
        assert!(!log.trim().is_empty(), "{service} has no log");
        for secret in secrets.iter().chain([&MISPLACED]) {
            assert!(!log.contains(secret), "{service} has logged a secret");
        }
    }
}

/// Without the setting the services ignore what the proxy says: all clients have its address.
async fn assert_clients_look_like_the_proxy(machine: &Machine<'_>, project: &Project) {
    let arguments = [PUBLIC_NAME, "8443", "/m/ca.pem", "/m/control.token"];
    let ran = machine.python(PYTHON_CLIENT, &arguments).await;
    assert_ran(&ran, 0, &[]);
    let network = format!("{}_inner", project.name());
    let template = format!("{{{{(index .NetworkSettings.Networks \"{network}\").IPAddress}}}}");
    let proxy = project.inspect("tls-proxy", &template).await;
    let ended = lines(project, "bridge", "session ended").await;
    let last = ended.last().expect("a session");
    assert_eq!(last["client"], proxy.as_str(), "{last}");
}

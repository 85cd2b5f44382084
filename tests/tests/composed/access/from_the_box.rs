//! A prompt tries to use both services from the box, at every address and port, with and without
//! headers. Nothing is started, seen or cancelled.

use std::time::Duration;

use cc_tests::composed::{Case, Operator, PUBLIC_NAME, Plan, Project, Use, case, until};
use protocol::access::Role;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Host, link_address};

const LIMIT: Duration = Duration::from_secs(240);
/// The program that makes the requests, and its folder in the box.
const PROBE: &str = include_str!("probe.py");
const FOLDER: &str = "/workspace/default";
/// The ports for proxies of a stack that has them.
const PROXY_PORTS: [u16; 2] = [8012, 8013];

/// Lets a prompt make all requests against an execution of another workspace. Asserts that none of
/// them is answered, and that none has an effect. Returns the targets that accepted connections.
async fn attack(case: &Case, project: &Project, host: &Host<'_>, mut asked: Value) -> Vec<String> {
    let accepted = "claude_api_executions_accepted_total";
    let before = host.counter(accepted).await;
    let known = executions(host).await;
    let (victim, attacker) = (Uuid::new_v4().to_string(), Uuid::new_v4().to_string());
    let path = |id: &str| format!("/v1/executions/{id}");
    let prompt = json!({"prompt": "@bash sleep 600", "workspace": "other", "input": "stream"});
    let json = "application/json";
    host.call(Method::PUT, &path(&victim), json, Some(prompt))
        .await;
    until("the victim's tool", LIMIT, async || {
        let status = host.get(&path(&victim)).await;
        let activity = status["activity"].as_str().unwrap_or_default();
        activity.contains("Bash").then_some(())
    })
    .await;
    asked["victim"] = victim.as_str().into();
    for (name, text) in [("probe.py", PROBE), ("probe.json", &asked.to_string())] {
        let file = format!("{FOLDER}/{name}");
        project.write("claude-api", &file, text).await;
    }
    let prompt = format!("@bash python3 {FOLDER}/probe.py {FOLDER}/probe.json");
    let prompt = Some(json!({"prompt": prompt}));
    let output = host
        .call(Method::PUT, &path(&attacker), "text/plain", prompt)
        .await;
    let report = output.lines().last().unwrap_or_default();
    let report: Value = serde_json::from_str(report).unwrap_or_else(|_| panic!("{output}"));
    case.step(format!("every request was refused: {}", report["statuses"]));
    assert_eq!(report["passed"], json!([]), "{report}");
    // Nothing was started, ...
    assert_eq!(host.counter(accepted).await, before + 2, "{report}");
    let mut ids = known;
    ids.extend([victim.clone(), attacker]);
    ids.sort();
    assert_eq!(executions(host).await, ids, "{report}");
    // ... and the victim runs undisturbed.
    let status = host.get(&path(&victim)).await;
    assert_eq!(status["state"], "running", "{status}");
    let cancel = format!("{}/cancel", path(&victim));
    host.call(Method::POST, &cancel, json, None).await;
    let reached = report["reached"].as_array().expect("a list");
    let reached = reached.iter().filter_map(Value::as_str);
    reached.map(str::to_owned).collect()
}

/// Returns the sorted ids of the newest executions.
async fn executions(host: &Host<'_>) -> Vec<String> {
    let list = host.get("/v1/executions?limit=1000").await;
    let list = list["executions"].as_array().expect("a list");
    let ids = list.iter().filter_map(|one| one["executionId"].as_str());
    let mut ids: Vec<_> = ids.map(str::to_owned).collect();
    ids.sort();
    ids
}

/// Returns the addresses of a container that the template selects.
async fn addresses(project: &Project, service: &str, field: &str) -> Vec<String> {
    let template = format!("{{{{range .NetworkSettings.Networks}}}}{{{{.{field}}}}} {{{{end}}}}");
    let found = project.inspect(service, &template).await;
    found.split_whitespace().map(str::to_owned).collect()
}

#[track_caller]
fn assert_reached(reached: &[String], targets: impl IntoIterator<Item = String>) {
    for target in targets {
        assert!(reached.contains(&target), "{target}: {reached:?}");
    }
}

#[tokio::test]
async fn the_box_can_use_neither_service_without_tokens() {
    case(LIMIT, Use::Own, async |case| {
        let project = Project::up("box", &Plan::default()).await;
        let host = Host::new(&project, None);
        let published = [project.api().port(), project.bridge().port()];
        let asked = json!({
            "names": ["claude-api", "bridge"],
            "addresses": Vec::from_iter(link_address()),
            "ports": [8002, 8003, published[0], published[1]],
            "tls": [],
            "token": null,
            "open": [],
            "public": PUBLIC_NAME,
        });
        let reached = attack(case, &project, &host, asked).await;
        let api = addresses(&project, "claude-api", "IPAddress").await;
        let bridge = addresses(&project, "bridge", "IPAddress").await;
        let own = ["127.0.0.1", "127.0.0.2", "127.7.7.7"].map(str::to_owned);
        let own = own.iter().chain(&api).map(|ip| format!("{ip}:8002"));
        assert_reached(&reached, own);
        assert_reached(&reached, bridge.iter().map(|ip| format!("{ip}:8003")));
        project.assert_quiet().await;
    })
    .await;
}

/// A stack with everything that could be a way in: tokens, TLS at every address of this machine,
/// ports for proxies, and IPv6.
fn open_stack(operator: &Operator) -> (Plan, bool) {
    let mut plan = operator.plan();
    let [api, bridge] = PROXY_PORTS;
    plan = plan
        .env("CLAUDE_API_PROXY_PORT", api)
        .env("BRIDGE_PROXY_PORT", bridge);
    let has_v6 = std::path::Path::new("/proc/net/if_inet6").exists();
    if has_v6 {
        let number = Uuid::new_v4().as_u128() as u16;
        plan = plan.overlay(format!(
            "services:\n  claude-api:\n    environment: [\"CLAUDE_API_HOST=::\"]\n  \
             bridge:\n    environment: [\"BRIDGE_HOST=::\"]\n\
             networks:\n  inner:\n    enable_ipv6: true\n    \
             ipam: {{config: [{{subnet: \"fd00:ccb:{number:x}::/64\"}}]}}\n"
        ));
    }
    (plan, has_v6)
}

#[tokio::test]
async fn the_box_can_use_neither_service_with_tokens_and_tls() {
    case(LIMIT, Use::Own, async |case| {
        let operator = Operator::new();
        let (plan, has_v6) = open_stack(&operator);
        let project = Project::up("box-tls", &plan).await;
        let token = operator.token(Role::Admin);
        let host = Host::new(&project, Some(token));
        let tls = operator.tls_port();
        let gateway = addresses(&project, "claude-api", "Gateway").await;
        // Where other machines reach the proxy, the box does, too, and looks like this machine:
        // only a token lets it in.
        let outside: Vec<_> = gateway
            .iter()
            .cloned()
            .chain(link_address().map(|ip| ip.to_string()))
            .collect();
        let open: Vec<_> = outside.iter().map(|ip| format!("{ip}:{tls}")).collect();
        let [api_proxy, bridge_proxy] = PROXY_PORTS;
        case.step("every request");
        let asked = json!({
            "names": ["claude-api", "bridge", "tls-proxy"],
            "addresses": outside,
            "ports": [
                8002,
                8003,
                api_proxy,
                bridge_proxy,
                project.api().port(),
                project.bridge().port(),
            ],
            "tls": [8443, tls],
            "token": token,
            "open": open,
            "public": PUBLIC_NAME,
        });
        let reached = attack(case, &project, &host, asked).await;
        let api = addresses(&project, "claude-api", "IPAddress").await;
        let bridge = addresses(&project, "bridge", "IPAddress").await;
        let proxy = addresses(&project, "tls-proxy", "IPAddress").await;
        let own = ["127.0.0.1", "127.0.0.2", "127.7.7.7"].map(str::to_owned);
        for port in [8002, api_proxy] {
            let own = own.iter().chain(&api).map(|ip| format!("{ip}:{port}"));
            assert_reached(&reached, own);
        }
        for port in [8003, bridge_proxy] {
            assert_reached(&reached, bridge.iter().map(|ip| format!("{ip}:{port}")));
        }
        assert_reached(&reached, proxy.iter().map(|ip| format!("{ip}:8443")));
        assert_reached(&reached, open);
        if has_v6 {
            let v6 = addresses(&project, "claude-api", "GlobalIPv6Address").await;
            assert_reached(&reached, v6.iter().map(|ip| format!("{ip}:8002")));
            assert_reached(&reached, ["::1:8002".to_owned()]);
        }
        project.assert_quiet().await;
    })
    .await;
}

//! A foreign `Host` or `Origin` gets 403 before anything else, on every path of both services.

mod request_target;

use std::net::SocketAddr;

use cc_tests::{
    harness::{Stack, StackOptions},
    http::Http,
    ws,
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{id, path};

const HOSTS: [&str; 5] = [
    "evil.example",
    "localhost.evil.example",
    "127.0.0.1.nip.io",
    "evil.example:80",
    "[::2]",
];

async fn ask(
    addr: SocketAddr,
    method: &Method,
    path: &str,
    headers: &[(&str, &str)],
) -> (u16, Value) {
    let http = Http::new(addr);
    let mut request = http
        .request(method.clone(), path)
        .header("accept", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    if *method == Method::PUT {
        request = request.body(json!({"prompt": "@say reached"}).to_string());
    }
    let response = request.send().await.expect("an answer");
    let code = response.status().as_u16();
    let body = response.bytes().await.expect("a body");
    (code, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

/// Returns origins that are foreign to a service at this address, among them other ports of this
/// machine.
fn foreign_origins(addr: SocketAddr) -> Vec<String> {
    vec![
        "null".into(),
        "https://evil.example".into(),
        "http://localhost".into(),
        "http://localhost:3000".into(),
        format!("http://127.0.0.1:{}", addr.port().wrapping_add(1)),
        format!("http://127.0.0.1:{}.evil.example", addr.port()),
        format!("ws://{addr}"),
    ]
}

#[tokio::test]
async fn a8_every_path_of_both_services_refuses_a_foreign_host_or_origin() {
    let stack = Stack::start().await;
    let id = id();
    let calls = |service: &str| -> Vec<(Method, String)> {
        let health = ["/health", "/health/live", "/health/ready", "/nowhere"];
        let mut calls: Vec<_> = health
            .iter()
            .map(|path| (Method::GET, (*path).to_owned()))
            .collect();
        if service == "bridge" {
            calls.extend(
                ["/ws", "/ws/mcp", "/", "/metrics"].map(|path| (Method::GET, path.to_owned())),
            );
            calls.extend(
                [Method::GET, Method::POST, Method::DELETE].map(|method| (method, "/mcp".into())),
            );
            return calls;
        }
        calls.extend(
            [
                "/health/startup",
                "/v1/limits",
                "/v1/executions",
                "/metrics",
            ]
            .map(|path| (Method::GET, path.to_owned())),
        );
        calls.push((Method::PUT, path(&id, "")));
        calls.push((Method::POST, "/v1/executions".into()));
        calls.push((Method::DELETE, path(&id, "")));
        for rest in ["", "?follow=true", "/output", "/events"] {
            calls.push((Method::GET, path(&id, rest)));
        }
        for rest in ["/pause", "/resume", "/cancel"] {
            calls.push((Method::POST, path(&id, rest)));
        }
        calls
    };
    for (service, addr) in [
        ("claude-api", stack.api.addr()),
        ("bridge", stack.bridge.addr()),
    ] {
        let origins = foreign_origins(addr);
        for (method, path) in calls(service) {
            for host in HOSTS {
                let (code, problem) = ask(addr, &method, &path, &[("host", host)]).await;
                assert_eq!(
                    (code, &problem["type"]),
                    (403, &json!("foreign-host")),
                    "{service} {method} {path} Host {host}"
                );
            }
            for origin in &origins {
                let (code, problem) = ask(addr, &method, &path, &[("origin", origin)]).await;
                assert_eq!(
                    (code, &problem["type"]),
                    (403, &json!("foreign-origin")),
                    "{service} {method} {path} Origin {origin}"
                );
            }
        }
    }
    let (code, _) = ask(stack.api.addr(), &Method::GET, &path(&id, ""), &[]).await;
    assert_eq!(code, 404, "a refused PUT reached the service");
    stack.assert_quiet();
}

#[tokio::test]
async fn a8_an_upgrade_from_a_foreign_host_or_origin_is_refused_and_configured_names_pass() {
    let options = StackOptions::default()
        .bridge("--allowed-hosts=bridge.example,named:1234")
        .bridge("--allowed-origins=https://app.example,http://localhost:3000")
        .api("--allowed-hosts=api.example")
        .api("--allowed-origins=https://app.example");
    let stack = Stack::with(options).await;
    let addr = stack.bridge.addr();
    let own = format!("http://{addr}");
    let localhost = format!("localhost:{}", addr.port());
    let connect = async |path: &str, headers: &[(&str, &str)]| {
        let headers = headers
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect();
        let options = ws::Options {
            headers,
            path: path.into(),
            ..ws::Options::default()
        };
        ws::Client::try_connect(addr, options).await
    };
    for path in ["/ws", "/ws/mcp"] {
        for headers in [
            [("origin", "https://evil.example")],
            [("origin", "null")],
            [("origin", "https://app.example.evil")],
            [("origin", "http://app.example")],
            [("host", "evil.example")],
            [("host", "named:1235")],
        ] {
            match connect(path, &headers).await.map(|_| ()) {
                Err(ws::ConnectError::Refused(response)) => {
                    assert_eq!(response.status().as_u16(), 403, "{path} {headers:?}");
                }
                other => panic!("{path} {headers:?}: {other:?}"),
            }
        }
        for headers in [
            vec![],
            vec![("origin", own.as_str())],
            vec![("origin", "https://app.example")],
            vec![("origin", "http://localhost:3000")],
            vec![("host", "bridge.example")],
            vec![("host", "bridge.example:8003")],
            vec![("host", "named:1234")],
            vec![("host", "bridge:8003")],
            vec![("host", localhost.as_str())],
            vec![
                ("host", "bridge.example"),
                ("origin", "https://bridge.example"),
            ],
        ] {
            let mut client = connect(path, &headers)
                .await
                .unwrap_or_else(|error| panic!("{path} {headers:?}: {error}"));
            assert_eq!(
                client.call("ping", json!({})).await,
                Ok(json!({})),
                "{headers:?}"
            );
            client.finish().await;
        }
    }
    for (headers, code) in [
        ([("host", "api.example")], 200),
        ([("host", "claude-api:8002")], 200),
        ([("origin", "https://app.example")], 200),
        ([("origin", "https://other.example")], 403),
        ([("host", "bridge.example")], 403),
    ] {
        assert_eq!(
            ask(stack.api.addr(), &Method::GET, "/health/live", &headers)
                .await
                .0,
            code,
            "{headers:?}"
        );
    }
    stack.assert_quiet();
}

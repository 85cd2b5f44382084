//! S12: the CLI's environment has the operator's variables by name, those that a client may set,
//! and nothing else.

use std::collections::BTreeSet;

use cc_tests::harness::{Stack, StackOptions};
use serde_json::{Value, json};

use crate::support::{id, parsed, run};

/// Inherited variables of the CLI.
const INHERITED: [&str; 9] = [
    "PATH",
    "HOME",
    "TMPDIR",
    "CLAUDE_CONFIG_DIR",
    "CLAUDE_CODE_TMPDIR",
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_BASE_URL",
    "HTTPS_PROXY",
    "NO_PROXY",
];
/// Fixed variables that claude-api sets.
const FIXED: [&str; 4] = [
    "DISABLE_TELEMETRY",
    "DISABLE_AUTOUPDATER",
    "DISABLE_ERROR_REPORTING",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC",
];

async fn environment(stack: &Stack, extra: Value) -> Value {
    let (text, status) = run(stack, "@env", extra).await;
    assert_eq!(status["state"], "completed", "{status}");
    parsed(&text)
}

#[tokio::test]
async fn s12_the_operators_variables_pass_by_name_and_nothing_else() {
    let options = StackOptions::default()
        .env("ANTHROPIC_BASE_URL", "http://127.0.0.1:9")
        .env("HTTPS_PROXY", "http://proxy:3128")
        .env("NO_PROXY", "localhost")
        .env("SECRET_OF_THE_SERVICE", "x")
        .env("CLAUDE_API_QUEUED_PER_LANE", "7")
        .env("LD_LIBRARY_PATH", "/nowhere")
        .env("NODE_OPTIONS", "--require=/tmp/evil.js")
        .env("AWS_SECRET_ACCESS_KEY", "x")
        .env("PASSED", "by name")
        .api("--pass-env=PASSED");
    let stack = Stack::with(options).await;
    let seen = environment(&stack, json!({})).await;
    let names: BTreeSet<&str> = seen
        .as_object()
        .expect("an object")
        .keys()
        .map(String::as_str)
        .collect();
    for name in INHERITED.iter().chain(&FIXED).chain(&["PASSED"]) {
        assert!(names.contains(name), "{name} is missing: {names:?}");
    }
    assert_eq!(seen["ANTHROPIC_BASE_URL"], "http://127.0.0.1:9");
    assert_eq!(seen["ANTHROPIC_API_KEY"], "a-key-for-tests");
    for name in &names {
        let ours = [
            "DISABLE_",
            "CLAUDE_CODE_",
            "CLAUDE_STREAM_",
            "CLAUDE_ENABLE_BYTE_WATCHDOG",
            "MCP_",
            "API_TIMEOUT",
            "BASH_",
            // The other spelling of a variable that was set in one.
            "https_proxy",
            "no_proxy",
        ];
        let known = INHERITED.contains(name)
            || *name == "PASSED"
            || ours.iter().any(|prefix| name.starts_with(prefix));
        assert!(known, "{name} was inherited: {names:?}");
    }
    stack.assert_quiet();
}

#[tokio::test]
async fn s12_an_empty_key_means_the_clis_own_login() {
    let options = StackOptions::default()
        .env("ANTHROPIC_API_KEY", "")
        .env("ANTHROPIC_AUTH_TOKEN", "");
    let stack = Stack::with(options).await;
    let (code, page) = stack.http().get("/health/ready").await.expect("an answer");
    assert_eq!(
        code.as_u16(),
        503,
        "without a login there is no credential: {page}"
    );
    std::fs::write(
        stack.path("home/.claude/.credentials.json"),
        r#"{"claudeAiOauth":{"accessToken":"x"}}"#,
    )
    .expect("written");
    crate::startup::ready(&stack).await;
    let seen = environment(&stack, json!({})).await;
    // A variable that is set but empty would override the login.
    assert_eq!(seen.get("ANTHROPIC_API_KEY"), None, "{seen}");
    assert_eq!(seen.get("ANTHROPIC_AUTH_TOKEN"), None, "{seen}");
    stack.assert_quiet();
}

#[tokio::test]
async fn s12_clients_set_only_the_variables_on_the_operators_list() {
    let stack = Stack::with(StackOptions::default().api("--allowed-env=DEBUG_LEVEL,LANG")).await;
    let http = stack.http();
    let value = "a b \"$(touch PWNED)\" \u{e9}\n=";
    let seen = environment(
        &stack,
        json!({"env": {"DEBUG_LEVEL": value, "LANG": "C.UTF-8"}}),
    )
    .await;
    assert_eq!(
        (&seen["DEBUG_LEVEL"], &seen["LANG"]),
        (&json!(value), &json!("C.UTF-8"))
    );
    let seen = environment(&stack, json!({})).await;
    assert_eq!(
        seen.get("DEBUG_LEVEL"),
        None,
        "it stayed from the execution before"
    );
    for (name, code) in [
        ("OTHER", 403),
        ("ANTHROPIC_API_KEY", 403),
        ("ANTHROPIC_BASE_URL", 403),
        ("CLAUDE_CONFIG_DIR", 403),
        ("PATH", 403),
        ("LD_PRELOAD", 403),
        ("NODE_OPTIONS", 403),
        ("debug_level", 403),
        ("", 400),
        ("A=B", 400),
        ("DEBUG_LEVEL\n", 400),
    ] {
        let body = json!({"prompt": "@env", "env": {name: "x"}});
        let (got, problem) = http.put(&id(), &body).await.expect("an answer");
        assert_eq!(got.as_u16(), code, "{name:?}: {problem}");
    }
    let body = json!({"prompt": "@env", "env": {"LANG": "a\u{0}b"}});
    assert_eq!(
        http.put(&id(), &body).await.expect("an answer").0.as_u16(),
        400
    );
    stack.assert_quiet();
}

/// The CLI obeys the lower-case name, and Docker's client configuration sets that
/// one alone.
#[tokio::test]
async fn both_spellings_of_the_proxy_settings_reach_the_cli_with_the_internal_hosts() {
    let options = StackOptions::default()
        .env("http_proxy", "http://proxy:3128")
        .env("no_proxy", ".corp")
        .env("NO_PROXY", "10.0.0.1")
        .env("ANTHROPIC_BASE_URL", "http://scripted-model:8004");
    let stack = Stack::with(options).await;
    let seen = environment(&stack, json!({})).await;
    assert_eq!(seen["HTTP_PROXY"], "http://proxy:3128", "{seen}");
    assert_eq!(seen["http_proxy"], "http://proxy:3128");
    assert_eq!(seen["NO_PROXY"], seen["no_proxy"]);
    let list = seen["no_proxy"].as_str().expect("a list");
    let hosts: Vec<&str> = list.split(',').collect();
    for host in [
        ".corp",
        "10.0.0.1",
        "localhost",
        "127.0.0.1",
        "scripted-model",
        "bridge",
    ] {
        assert!(hosts.contains(&host), "{host} is not in {list}");
    }
    stack.assert_quiet();
}

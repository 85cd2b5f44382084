//! Tests of `ccb` with tokens and TLS: every command sends the token, and mistakes are explained.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use cc_tests::tls::Authority;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

use crate::ccb::{ID, ccb, output_of, plan, run};
use crate::fake::Fake;
use crate::front::{Front, answer};

const TOKEN: &str = "ccb_0123456789-_abcdef";

/// A fake bridge behind a front, and a folder with a token file.
struct Setup {
    _fake: Fake,
    front: Front,
    folder: tempfile::TempDir,
    url: String,
}

impl Setup {
    async fn new(answers: Vec<String>) -> Self {
        let fake = Fake::start(plan()).await;
        let front = Front::start(fake.address, answers, None).await;
        let url = format!("ws://{}/ws", front.address);
        Self {
            _fake: fake,
            front,
            folder: tempfile::tempdir().unwrap(),
            url,
        }
    }

    /// Writes a file of this mode, and returns its path.
    fn file(&self, name: &str, text: &str, mode: u32) -> String {
        let path: PathBuf = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Asserts that every request that the front has seen had the token.
    fn assert_token_was_sent(&self) {
        let heads = self.front.heads();
        assert!(!heads.is_empty());
        for head in heads {
            assert!(head.contains(TOKEN), "{head}");
        }
    }
}

fn problem(status: &str, kind: &str) -> String {
    let body = json!({ "type": kind, "status": 0, "detail": "the reason" });
    answer(status, "", &body.to_string())
}

#[tokio::test]
async fn every_command_sends_the_token_of_the_file() {
    for args in [
        &["exec", "-q", "p"][..],
        &["attach", "-q", ID],
        &["status", ID],
        &["list"],
        &["pause", ID],
        &["share", ID],
        &["doctor"],
    ] {
        let setup = Setup::new(vec![]).await;
        let path = setup.file("token", &format!("{TOKEN}\n"), 0o600);
        let args = [args, &["--token-file", &path]].concat();
        let (_, out, err) = run(&setup.url, &args).await;
        setup.assert_token_was_sent();
        assert!(!out.contains(TOKEN) && !err.contains(TOKEN), "{out}{err}");
    }
}

#[tokio::test]
async fn each_place_of_a_token_is_read() {
    let setup = Setup::new(vec![]).await;
    let path = setup.file("token", TOKEN, 0o600);
    let home = setup.folder.path().join("home");
    std::fs::create_dir_all(home.join(".config/cc-bridge")).unwrap();
    std::fs::copy(&path, home.join(".config/cc-bridge/token")).unwrap();
    for (variable, value) in [
        ("CCB_TOKEN_FILE", path.as_str()),
        ("CCB_TOKEN", TOKEN),
        ("HOME", home.to_str().unwrap()),
    ] {
        let mut command = ccb(&setup.url, &["list"]);
        let output = output_of(command.env(variable, value)).await;
        assert_eq!(output.status.code(), Some(0), "{variable}");
    }
    assert_eq!(setup.front.heads().len(), 3);
    setup.assert_token_was_sent();
}

#[tokio::test]
async fn a_token_file_with_a_mistake_is_wrong_usage_and_nothing_is_sent() {
    let setup = Setup::new(vec![]).await;
    let open = setup.file("open", TOKEN, 0o644);
    let empty = setup.file("empty", "\n", 0o600);
    let broken = setup.file("broken", "two words", 0o600);
    for (path, word) in [
        (open.as_str(), "chmod 600"),
        (&empty, "is empty"),
        (&broken, "is wrong"),
        ("/does/not/exist", "does not exist"),
        ("/", "could not read"),
    ] {
        let (exit, _, err) = run(&setup.url, &["list", "--token-file", path]).await;
        assert_eq!(exit, 64, "{err}");
        assert!(err.contains(word) && err.contains(path), "{err}");
        assert_eq!(err.lines().count(), 1, "{err}");
    }
    let mut command = ccb(&setup.url, &["list"]);
    let output = output_of(command.env("CCB_TOKEN", "")).await;
    assert_eq!(output.status.code(), Some(64));
    for (text, word) in [("", "no certificate"), ("x", "no certificate")] {
        let path = setup.file("ca.pem", text, 0o644);
        let (exit, _, err) = run(&setup.url, &["list", "--ca", &path]).await;
        assert!(exit == 64 && err.contains(word), "{err}");
    }
    assert_eq!(setup.front.heads(), Vec::<String>::new());
}

#[tokio::test]
async fn a_refused_token_exits_with_77_and_says_what_to_do() {
    for (status, kind, has_token, word) in [
        ("401 Unauthorized", "unauthorized", false, "--token-file"),
        ("401 Unauthorized", "unauthorized", true, "a new token"),
        ("403 Forbidden", "forbidden", true, "the reason"),
    ] {
        for command in [&["list"][..], &["exec", "p"], &["share", ID]] {
            let setup = Setup::new(vec![problem(status, kind); 3]).await;
            let mut command = ccb(&setup.url, command);
            if has_token {
                command.env("CCB_TOKEN", TOKEN);
            }
            let output = output_of(&mut command).await;
            let err = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(77), "{err}");
            assert!(err.contains("the reason") && err.contains(word), "{err}");
            assert!(err.lines().count() == 1 && !err.contains(TOKEN), "{err}");
            assert_eq!(setup.front.heads().len(), 1);
        }
    }
}

#[tokio::test]
async fn doctor_reports_a_missing_and_a_wrong_token_with_the_remedy() {
    for (token, word) in [(None, "give a token"), (Some(TOKEN), "a new token")] {
        let refusals = vec![problem("401 Unauthorized", "unauthorized")];
        let setup = Setup::new(refusals).await;
        let mut command = ccb(&setup.url, &["doctor", "--json", "--url", &setup.url]);
        if let Some(token) = token {
            command.env("CCB_TOKEN", token);
        }
        let output = output_of(&mut command).await;
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let checks = report["checks"].as_array().unwrap();
        let check = checks.iter().find(|check| check["name"] == "token");
        let check = check.unwrap();
        assert_eq!(
            (output.status.code(), &check["level"]),
            (Some(69), &json!("fail"))
        );
        let remedy = check["remedy"].as_str().unwrap();
        assert!(remedy.contains(word), "{remedy}");
    }
}

#[tokio::test]
async fn doctor_asks_a_named_claude_api_over_tls_whose_token_it_is() {
    let setup = Setup::new(vec![]).await;
    let me = json!({
        "principal": "team-a", "role": "view", "name": "ci", "expires": null, "share": null,
    });
    let answers = vec![
        answer("200 OK", "", r#"{"status":"ready"}"#),
        answer("200 OK", "", &me.to_string()),
    ];
    let authority = Authority::new();
    let tls = authority.server(&["127.0.0.1"], |_| {});
    let api = Front::start(setup.front.address, answers, Some(tls)).await;
    let ca = setup.file("ca.pem", &authority.pem, 0o644);
    let api_url = format!("https://{}", api.address);
    let args = ["doctor", "--claude-api", &api_url, "--ca", &ca];
    let mut command = ccb(&setup.url, &args);
    let output = output_of(command.env("CCB_TOKEN", TOKEN)).await;
    let out = String::from_utf8(output.stdout).unwrap();
    assert!(
        out.contains("claude-api: https://") && out.contains("is ready"),
        "{out}"
    );
    assert!(
        out.contains("it is \"ci\", role view, principal \"team-a\""),
        "{out}"
    );
    let heads = api.heads();
    assert!(
        heads[1].starts_with("GET /v1/me ") && heads[1].contains(TOKEN),
        "{heads:?}"
    );
}

#[tokio::test]
async fn a_bridge_behind_tls_is_reached_with_its_authority() {
    let setup = Setup::new(vec![]).await;
    let authority = Authority::new();
    let tls = authority.server(&["localhost"], |_| {});
    let front = Front::start(setup.front.address, vec![], Some(tls)).await;
    let ca = setup.file("ca.pem", &authority.pem, 0o644);
    let other = setup.file("other.pem", &Authority::new().pem, 0o644);
    let url = |host: &str| format!("wss://{host}:{}/ws", front.address.port());
    let (exit, _, err) = run(&url("localhost"), &["list", "--ca", &ca]).await;
    assert_eq!(exit, 0, "{err}");
    for (host, args, word) in [
        ("localhost", &["list"][..], "--ca FILE"),
        ("localhost", &["list", "--ca", &other], "--ca FILE"),
        ("127.0.0.1", &["list", "--ca", &ca], "for localhost"),
    ] {
        let (exit, _, err) = run(&url(host), args).await;
        assert_eq!(exit, 69, "{err}");
        assert!(err.contains(word) && err.lines().count() == 1, "{err}");
    }
}

#[tokio::test]
async fn a_token_over_plain_ws_to_another_machine_is_warned_of_once() {
    let warned = async |url: &str, args: &[&str]| {
        let mut command = ccb(url, args);
        let output = output_of(command.env("CCB_TOKEN", TOKEN)).await;
        let err = String::from_utf8(output.stderr).unwrap();
        assert!(!err.contains(TOKEN), "{err}");
        err.matches("unencrypted").count()
    };
    let elsewhere = "ws://bridge.invalid:8003/ws";
    assert_eq!(warned(elsewhere, &["list"]).await, 1);
    assert_eq!(warned(elsewhere, &["list", "-q"]).await, 0);
    assert_eq!(warned("ws://127.0.0.1:1/ws", &["list"]).await, 0);
    assert_eq!(warned("wss://bridge.invalid/ws", &["list"]).await, 0);
}

#[tokio::test]
async fn share_prints_the_token_alone_on_stdout() {
    let setup = Setup::new(vec![]).await;
    let args = ["share", ID, "--role", "control", "--expires", "2h"];
    let (exit, out, err) = run(&setup.url, &args).await;
    assert_eq!((exit, out.as_str()), (0, "share_token\n"));
    assert!(
        err.contains(ID) && err.contains("2026-01-03 03:04:05"),
        "{err}"
    );
    let sent = &setup._fake.params("share")[0];
    let expected = json!({ "executionId": ID, "role": "control", "expiresSeconds": 7200 });
    assert_eq!(sent, &expected);
    let (_, out, err) = run(&setup.url, &["share", ID, "--json"]).await;
    let share: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&share["token"], err.as_str()), (&json!("share_token"), ""));
}

#[tokio::test]
async fn mcp_sends_the_token_with_each_call() {
    let setup = Setup::new(vec![]).await;
    let mut command = ccb(&setup.url, &["mcp"]);
    command.env("CCB_TOKEN", TOKEN).stdin(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let client = json!({ "name": "test", "version": "0" });
    let params =
        json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client });
    for message in [
        json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params }),
        json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }),
        json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/call",
                "params": { "name": "list", "arguments": {} } }),
    ] {
        stdin
            .write_all(format!("{message}\n").as_bytes())
            .await
            .unwrap();
    }
    let answered = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            let message: Value = serde_json::from_str(&line).unwrap();
            if message["id"] == 2 {
                return message;
            }
        }
        panic!("no answer to the call");
    };
    let answer = tokio::time::timeout(Duration::from_secs(20), answered)
        .await
        .unwrap();
    assert!(answer.to_string().contains(ID), "{answer}");
    setup.assert_token_was_sent();
}

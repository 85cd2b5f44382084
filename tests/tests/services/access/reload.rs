//! Changes of the token file while clients are at work, and files that are broken or missing.

mod start;

use std::os::unix::fs::symlink;
use std::time::Duration;

use cc_tests::harness::tokens::{TOKENS_FILE, write_private};
use cc_tests::harness::{StackOptions, Tokens, until};
use cc_tests::http::{Http, read_output};
use serde_json::{Value, json};

use super::api::{Api, IN_FORCE, until_code, usual_tokens};
use crate::support::{accept, ended, path};

/// Returns the codes of the warnings of `/health/ready`, which must be 200.
pub(crate) async fn warnings(http: &Http) -> Vec<String> {
    let (code, page) = http.get("/health/ready").await.expect("an answer");
    assert_eq!(code, 200, "{page}");
    let warnings = page["warnings"].as_array().expect("warnings");
    let codes = warnings.iter().map(|warning| warning["code"].as_str());
    codes
        .map(|code| code.unwrap_or_default().to_owned())
        .collect()
}

/// Waits until `/health/ready` has the warning about the token file, or has it no more.
pub(crate) async fn until_warned(http: &Http, warned: bool) {
    until("the warning about the token file", IN_FORCE, async || {
        let has = warnings(http)
            .await
            .iter()
            .any(|code| code == "tokens-file-invalid");
        (has == warned).then_some(())
    })
    .await;
}

/// The streams of removed, demoted and moved tokens end within 15 s. All others have every byte.
#[tokio::test]
async fn streams_of_a_removed_token_end_and_all_others_have_every_byte() {
    let team_a = "principal = \"team-a\"";
    let tokens = usual_tokens()
        .with("removed", "control", &[team_a])
        .with("viewer", "view", &[team_a])
        .with("moved", "view", &[team_a])
        .with("demoted", "admin", &[]);
    let mut api = Api::start(tokens, StackOptions::default()).await;
    let alice = api.http("alice");
    let gate = api.prepare();
    let prompt = format!("@rate 100\n@volume 300 20\n{}", gate.prompt);
    accept(&alice, &gate.id, &prompt, json!({})).await;
    let mut cut = Vec::new();
    for name in ["removed", "moved", "demoted"] {
        let http = api.http(name);
        let output = http.open_output(&gate.id, 0).await.expect("a stream");
        cut.push((name, output, http.follow(&gate.id).await.expect("a stream")));
    }
    let mut kept = Vec::new();
    for name in ["alice", "viewer", "admin"] {
        let output = api
            .http(name)
            .open_output(&gate.id, 0)
            .await
            .expect("a stream");
        kept.push((name, tokio::spawn(read_output(output))));
    }
    let left = api
        .tokens
        .without("removed")
        .changed("moved", "view", &["principal = \"team-b\""])
        .changed("demoted", "view", &[])
        .changed("viewer", "control", &[team_a]);
    let all = api.tokens.clone();
    api.replace_tokens(left);
    for (name, output, mut lines) in cut {
        let output = tokio::time::timeout(IN_FORCE, read_output(output)).await;
        let output = output.unwrap_or_else(|_| panic!("the output of {name} does not end"));
        assert!(!output.clean && output.trailers.is_empty(), "{name}");
        let follow = async { while let Ok(Some(_)) = lines.next().await {} };
        let followed = tokio::time::timeout(Duration::from_secs(5), follow).await;
        assert!(followed.is_ok(), "the follow stream of {name} does not end");
    }
    until_code(&api.http_with(all.secret("removed")), 401, IN_FORCE).await;
    gate.open();
    // The execution goes on, whoever started it.
    assert_eq!(ended(&alice, &gate.id).await["state"], "completed");
    for (name, output) in kept {
        let output = output.await.expect("a task");
        output.assert_whole("completed");
        assert_eq!(output.bytes.len(), 300 * 20 + 10, "{name}");
    }
    api.service.assert_quiet();
}

/// How a file is changed while the service reads it.
#[derive(Debug, Clone, Copy)]
enum Change {
    /// A new file takes the name.
    Rename,
    /// The file is emptied and written.
    Write,
    /// The folder is a link, which points to another folder. Kubernetes changes secrets so.
    Swap,
}

fn change(api: &Api, how: Change, tokens: &Tokens) {
    let file = api.path(TOKENS_FILE);
    match how {
        Change::Rename => tokens.write(&file),
        Change::Write => write_private(&file, tokens.to_toml().as_bytes()),
        Change::Swap => {
            let version = api.path(&format!("version-{}", uuid::Uuid::new_v4()));
            tokens.write(&version.join("tokens.toml"));
            let link = api.path("new-link");
            symlink(&version, &link).expect("a link");
            let folder = file.parent().expect("a folder");
            if folder.symlink_metadata().expect("a folder").is_dir() {
                std::fs::rename(folder, api.path("old")).expect("a rename");
            }
            std::fs::rename(&link, folder).expect("a rename");
        }
    }
}

#[tokio::test]
async fn a_change_is_in_force_without_a_restart_however_the_file_is_replaced() {
    let mut api = Api::start(usual_tokens(), StackOptions::default()).await;
    let alice = api.http("alice");
    for (round, how) in [Change::Rename, Change::Write, Change::Swap, Change::Swap]
        .into_iter()
        .enumerate()
    {
        let name = format!("new-{round}");
        let tokens = api
            .tokens
            .clone()
            .with(&name, "view", &["principal = \"team-a\""]);
        let new = api.http_with(tokens.secret(&name));
        until_code(&new, 401, Duration::ZERO).await;
        change(&api, how, &tokens);
        until_code(&new, 200, IN_FORCE).await;
        change(&api, how, &tokens.without(&name));
        until_code(&new, 401, IN_FORCE).await;
        until_code(&alice, 200, Duration::ZERO).await;
        api.tokens = tokens.without(&name);
    }
    assert!(
        warnings(&api.anonymous())
            .await
            .iter()
            .all(|code| code != "tokens-file-invalid")
    );
    api.service.assert_quiet();
}

/// While the file is broken, the last good version is in force, and the operator is told.
#[tokio::test]
async fn a_mistake_keeps_the_last_good_version_and_is_a_warning_of_a_ready_service() {
    let api = Api::start(usual_tokens(), StackOptions::default()).await;
    let (alice, anonymous) = (api.http("alice"), api.anonymous());
    let file = api.path(TOKENS_FILE);
    let good = api.tokens.to_toml();
    let half = &good[..good.len() / 2 + 3];
    let twice = format!("{good}{good}");
    for broken in [
        "[[token]]\nname = \"x\"",
        half,
        &twice,
        "nonsense",
        "\u{0}",
        "[[tokens]]\n",
        &good.replace("\"control\"", "\"root\""),
        &good.replace("role = \"admin\"", "role = \"admin\"\nrunning = 0"),
        &good.replace("role = \"admin\"", "role = \"admin\"\nexpires = \"soon\""),
        &good.replace("role = \"admin\"", "role = \"admin\"\nmaxBudgetUsd = -1.0"),
        &good.replace("sha256 = \"", "sha256 = \"00"),
    ] {
        write_private(&file, broken.as_bytes());
        until_warned(&anonymous, true).await;
        for name in ["admin", "alice", "bob"] {
            until_code(&api.http(name), 200, Duration::ZERO).await;
        }
        write_private(&file, good.as_bytes());
        until_warned(&anonymous, false).await;
    }
    // A folder or an unreadable text in the file's place is a mistake too, not an empty file.
    write_private(&file, &[0xff, 0xfe, 0xfd]);
    until_warned(&anonymous, true).await;
    until_code(&alice, 200, Duration::ZERO).await;
    write_private(&file, good.as_bytes());
    until_warned(&anonymous, false).await;
    let lines = api.service.complaints();
    assert!(
        lines.iter().all(|line| line.contains("token file")),
        "{lines:?}"
    );
    assert!(lines.len() >= 12, "{lines:?}");
}

/// A missing file is no mistake of a moment: nobody gets in, and the health pages answer.
#[tokio::test]
async fn without_its_file_nobody_gets_in_until_it_is_back() {
    let mut api = Api::start(usual_tokens(), StackOptions::default()).await;
    let (alice, admin) = (api.http("alice"), api.http("admin"));
    let gate = api.begin(&alice, json!({})).await;
    let stream = alice.open_output(&gate.id, 0).await.expect("a stream");
    let file = api.path(TOKENS_FILE);
    for gone in ["removed", "empty"] {
        match gone {
            "removed" => std::fs::remove_file(&file).expect("the file is removed"),
            _ => write_private(&file, b""),
        }
        for http in [&alice, &admin] {
            until_code(http, 401, IN_FORCE).await;
        }
        for page in [
            "/health",
            "/health/live",
            "/health/ready",
            "/health/startup",
            "/health/limits",
        ] {
            let (code, text) = api.anonymous().get(page).await.expect("an answer");
            assert_eq!(code, 200, "{page}: {text}");
        }
        let tokens = api.tokens.clone();
        api.replace_tokens(tokens);
        for http in [&alice, &admin] {
            until_code(http, 200, IN_FORCE).await;
        }
    }
    let cut = tokio::time::timeout(IN_FORCE, read_output(stream)).await;
    assert!(!cut.expect("the stream ends").clean);
    gate.open();
    assert_eq!(ended(&alice, &gate.id).await["state"], "completed");
    let (_, status) = alice.get(&path(&gate.id, "")).await.expect("an answer");
    assert_ne!(status["endedAt"], Value::Null);
    api.service.assert_quiet();
}

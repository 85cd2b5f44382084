//! Tests of `ccb token new`: where the token may be written, and what is added to the token file.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use protocol::{SecretHash, Token};

use crate::ccb::{ccb, on_a_terminal, output_of, run};

/// No bridge is at this address, and none is needed.
const URL: &str = "ws://127.0.0.1:1/ws";

fn hash(token: &str) -> SecretHash {
    token.parse::<Token>().unwrap().secret().hash()
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

fn arg(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test]
async fn a_token_in_a_new_file_has_the_hash_of_the_printed_entry() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("ci.token");
    let args = [
        "token",
        "new",
        "ci",
        "--out",
        arg(&out),
        "--role",
        "view",
        "--principal",
        "team-a",
        "--workspaces",
        "shop,docs-*",
        "--max-budget-usd",
        "5",
        "--budget-usd-per-day",
        "50",
        "--running",
        "4",
        "--expires",
        "9999-01-31",
    ];
    let (exit, stdout, err) = run(URL, &args).await;
    assert_eq!(exit, 0, "{err}");
    assert_eq!(mode(&out), 0o600);
    let token = text(&out);
    let expected = format!(
        "[[token]]\nname = \"ci\"\nsha256 = \"{}\"\nrole = \"view\"\nprincipal = \"team-a\"\n\
         workspaces = [\"shop\", \"docs-*\"]\nmaxBudgetUsd = 5.0\nbudgetUsdPerDay = 50.0\n\
         running = 4\nexpires = 9999-01-31\n",
        hash(token.trim_end())
    );
    assert_eq!(stdout, expected);
    assert!(!err.contains(token.trim_end()), "{err}");
    // An existing file is never overwritten.
    let (exit, stdout, err) = run(URL, &args).await;
    assert_eq!((exit, stdout.as_str()), (64, ""));
    assert!(err.contains("exists already"), "{err}");
    assert_eq!(text(&out), token);
}

#[tokio::test]
async fn an_added_entry_has_the_hash_of_the_token() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokens.toml");
    for (name, principal) in [("ci", "ci"), ("ci-2", "ci")] {
        let out = folder.path().join(name);
        let args = [
            "token",
            "new",
            name,
            "--principal",
            principal,
            "--out",
            arg(&out),
            "--add",
            arg(&file),
        ];
        let (exit, stdout, err) = run(URL, &args).await;
        assert_eq!((exit, stdout.as_str()), (0, ""), "{err}");
        let entry = hash(text(&out).trim_end()).to_string();
        assert!(text(&file).contains(&entry), "{}", text(&file));
        assert_eq!(mode(&file), 0o600);
    }
    assert_eq!(text(&file).matches("[[token]]").count(), 2);
}

/// A token whose entry cannot be added is worth nothing, so it is not left behind.
#[tokio::test]
async fn a_refused_entry_leaves_no_token_and_the_file_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let (file, out) = (folder.path().join("tokens.toml"), folder.path().join("out"));
    let first = folder.path().join("first");
    let new = async |name: &str, out: &Path, file: &Path| {
        run(
            URL,
            &["token", "new", name, "--out", arg(out), "--add", arg(file)],
        )
        .await
    };
    assert_eq!(new("ci", &first, &file).await.0, 0);
    let before = text(&file);
    let (exit, _, err) = new("ci", &out, &file).await;
    assert!(
        exit == 64 && err.contains("two tokens have the name"),
        "{err}"
    );
    let broken = folder.path().join("broken.toml");
    std::fs::write(&broken, "not = [toml").unwrap();
    assert_eq!(new("ann", &out, &broken).await.0, 64);
    let missing = folder.path().join("missing/tokens.toml");
    assert_eq!(new("ann", &out, &missing).await.0, 70);
    assert!(!out.exists());
    assert_eq!(text(&file), before);
}

#[tokio::test]
async fn a_token_is_written_to_a_pipe_only_on_demand_and_never_to_a_log() {
    let (exit, stdout, err) = run(URL, &["token", "new", "ci"]).await;
    assert_eq!((exit, stdout.as_str()), (64, ""));
    assert!(err.contains("--out"), "{err}");
    let args = ["token", "new", "ci", "--out", "-"];
    let (exit, stdout, err) = run(URL, &args).await;
    assert_eq!(exit, 0, "{err}");
    let entry = hash(stdout.trim_end()).to_string();
    assert!(
        err.contains(&entry) && !err.contains(stdout.trim_end()),
        "{err}"
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let log = std::fs::File::create(&path).unwrap();
    let mut child = ccb(URL, &args);
    let child = child.stdout(log).stderr(Stdio::null()).spawn().unwrap();
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(
        (output.status.code(), text(&path)),
        (Some(64), String::new())
    );
}

#[tokio::test]
async fn a_terminal_shows_the_token_once() {
    let shown = on_a_terminal(URL, &["token", "new", "ci"]).await;
    let lines: Vec<_> = shown.lines().collect();
    assert_eq!(lines.len(), 1, "{shown}");
    hash(lines[0]);
}

/// The token of the caller has nothing to do with the new one.
#[tokio::test]
async fn a_broken_token_of_the_caller_does_not_prevent_a_new_one() {
    let mut command = ccb(URL, &["token", "new", "ci", "--out", "-"]);
    let output = output_of(command.env("CCB_TOKEN_FILE", "/does/not/exist")).await;
    assert_eq!(output.status.code(), Some(0));
}

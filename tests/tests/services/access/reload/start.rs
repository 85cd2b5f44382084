//! Starts with a token file that has mistakes, that is missing, or that needs a sandbox.

use std::path::Path;

use cc_tests::harness::stack::api_options;
use cc_tests::harness::tokens::{TOKENS_FILE, write_private};
use cc_tests::harness::{Service, ServiceOptions, StackOptions, Tokens};
use cc_tests::http::Http;
use reqwest::Method;

use super::super::api::{assert_kind, usual_tokens};
use crate::startup::health;
use crate::support::{PATIENCE, id, path, send};

fn options(folder: &Path) -> ServiceOptions {
    api_options(folder, &StackOptions::default().tokens(usual_tokens()))
}

/// Starts claude-api with this text as its token file; returns the exit code and the log.
async fn refused(text: &[u8]) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let options = options(folder.path());
    write_private(&folder.path().join(TOKENS_FILE), text);
    let (status, log) = Service::run_to_end(options, PATIENCE).await;
    (status.code(), log)
}

#[tokio::test]
async fn a_start_with_a_broken_file_ends_with_64_and_names_every_mistake_without_a_hash() {
    let tokens = Tokens::default()
        .with("one", "root", &[])
        .with("two", "view", &["running = 0"])
        .with("Three", "view", &[]);
    let text = tokens.to_toml();
    let (code, log) = refused(text.as_bytes()).await;
    assert_eq!(code, Some(64), "{log}");
    for part in ["one", "root", "two", "running", "Three"] {
        assert!(log.contains(part), "no {part}: {log}");
    }
    for line in text
        .lines()
        .filter_map(|line| line.strip_prefix("sha256 = "))
    {
        assert!(!log.contains(line.trim_matches('"')), "{log}");
    }
    for broken in [
        &b"[[token"[..],
        b"\xff\xfe",
        b"[token]\nname = \"a\"",
        b"x = 1",
    ] {
        let (code, log) = refused(broken).await;
        assert_eq!(code, Some(64), "{log}");
        assert!(log.contains("tokens-file"), "{log}");
    }
}

#[tokio::test]
async fn several_principals_need_a_sandbox_or_the_operators_word() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut options = options(folder.path());
    options
        .arguments
        .retain(|argument| argument != "--principals-share-a-box");
    let (status, log) = Service::run_to_end(options, PATIENCE).await;
    assert_eq!(status.code(), Some(64), "{log}");
    assert!(log.contains("--principals-share-a-box"), "{log}");
}

#[tokio::test]
async fn a_start_without_the_file_lets_nobody_in_and_health_pages_answer() {
    for content in [
        None,
        Some(&b""[..]),
        Some(b"\n  \n"),
        Some(b"# nothing yet\n"),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let options = options(folder.path());
        let file = folder.path().join(TOKENS_FILE);
        match content {
            None => std::fs::remove_file(&file).expect("the file is removed"),
            Some(content) => write_private(&file, content),
        }
        let service = Service::start(options).await;
        let tokens = usual_tokens();
        for http in [
            Http::new(service.addr()),
            Http::with_token(service.addr(), tokens.secret("admin")),
            Http::with_token(service.addr(), ""),
        ] {
            let answer = send(&http, Method::PUT, &path(&id(), ""), r#"{"prompt":"x"}"#).await;
            assert_kind(&answer, 401, "unauthorized");
            for page in ["/health/live", "/health/ready", "/health/limits"] {
                health(&http, page, 200).await;
            }
        }
        let (_, limits) = Http::new(service.addr())
            .get("/health/limits")
            .await
            .expect("limits");
        assert_eq!(limits["tokens"], true, "{limits}");
        let http = Http::new(service.addr());
        let missing = "tokens-file-missing".to_owned();
        assert!(super::warnings(&http).await.contains(&missing));
        tokens.write(&file);
        let admin = Http::with_token(service.addr(), tokens.secret("admin"));
        super::super::api::until_code(&admin, 200, super::super::api::IN_FORCE).await;
        assert!(!super::warnings(&http).await.contains(&missing));
        service.assert_quiet();
    }
}

/// /dev/null stands for no file at all.
#[tokio::test]
async fn a_device_in_place_of_the_file_lets_nobody_in() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut options = options(folder.path());
    for argument in &mut options.arguments {
        if argument.starts_with("--tokens-file=") {
            *argument = "--tokens-file=/dev/null".to_owned();
        }
    }
    let service = Service::start(options).await;
    for http in [
        Http::new(service.addr()),
        Http::with_token(service.addr(), "x"),
    ] {
        let answer = send(&http, Method::GET, "/v1/executions", "").await;
        assert_kind(&answer, 401, "unauthorized");
    }
    service.assert_quiet();
}

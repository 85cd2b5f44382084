//! Stored results and how clients read them: output, events, status and lists (S16, N3).

mod line_limit;

use std::{fs, os::unix::fs::PermissionsExt};

use cc_tests::{
    harness::{Stack, StackOptions, binary},
    http::read_output,
};
use reqwest::Method;
use serde_json::json;

use crate::support::{accept, id, path, run, until};

/// Starts a stack whose CLI is the stand-in; `home/.claude/stdout-ID` gets a copy of its stdout.
async fn start_with_copies() -> (Stack, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let bin = folder.path().join("claude");
    let text = format!(
        "#!/bin/sh\nid=none\n\
         for one in \"$@\"; do case $one in --session-id=*) id=${{one#*=}};; esac; done\n\
         '{}' \"$@\" | tee \"$CLAUDE_CONFIG_DIR/stdout-$id\"\n",
        binary("stand-in-claude").display()
    );
    fs::write(&bin, text).expect("written");
    fs::set_permissions(&bin, fs::Permissions::from_mode(0o755)).expect("executable");
    let options = StackOptions {
        claude_bin: Some(bin),
        ..StackOptions::default()
    };
    (Stack::with(options).await, folder)
}

#[tokio::test]
async fn events_are_the_clis_stdout_byte_for_byte_and_output_is_utf8() {
    let (mut stack, _folder) = start_with_copies().await;
    let http = stack.http();
    let mut seen = Vec::new();
    for prompt in [
        "@say a \u{e9}\u{1F600}",
        "@garbage 12\n@say x",
        "@invalid-utf8\n@say x",
        "@crlf\n@say a b",
        "@no-final-newline\n@say a b",
        "@split\n@say \u{1F600} \u{e9}",
        "@surrogates",
        "@garbage 3\n@invalid-utf8\n@crlf\n@no-final-newline\n@say \u{e9}",
        "@unknown 5\n@volume 2000 500",
    ] {
        for format in ["text", "events"] {
            let id = id();
            accept(&http, &id, prompt, json!({"format": format})).await;
            let output = http.output(&id, 0).await.expect("an output");
            output.assert_whole("completed");
            let text = String::from_utf8(output.bytes).expect("valid UTF-8");
            let written =
                fs::read(stack.path(&format!("home/.claude/stdout-{id}"))).expect("a copy");
            assert!(!written.is_empty());
            if format == "events" {
                let mut expected = String::from_utf8_lossy(&written).into_owned();
                if !expected.ends_with('\n') {
                    expected.push('\n');
                }
                assert!(text == expected, "{prompt}: {text:?} is not {expected:?}");
            }
            seen.push((id, prompt, format, written));
        }
    }
    for restarted in [false, true] {
        if restarted {
            stack.api.stop().await;
            stack.api.start_again().await;
        }
        let http = stack.http();
        for (id, prompt, format, written) in &seen {
            let response = http
                .request(Method::GET, &path(id, "/events"))
                .send()
                .await
                .expect("an answer");
            let events = read_output(response).await;
            assert!(
                events.clean && events.bytes == *written,
                "{prompt} in {format}, restarted: {restarted}"
            );
        }
    }
    stack.assert_quiet();
}

#[tokio::test]
async fn s16_status_output_and_list_are_the_same_after_a_crash() {
    let mut stack = Stack::start().await;
    let metadata = json!({"ticket": "7", "\u{e9}": "\u{1F600}"});
    let (text, mut before) = run(
        &stack,
        "@say kept\n@stderr 100\n@exit 4",
        json!({"metadata": metadata, "model": "m-1"}),
    )
    .await;
    let id = before["executionId"].as_str().expect("an id").to_owned();
    assert_eq!(
        (&before["metadata"], &before["exitCode"], &before["model"]),
        (&metadata, &json!(4), &json!("m-1"))
    );
    before = until(&stack.http(), &id, "digested", |status| {
        status["sha256"].is_string()
    })
    .await;
    stack.crash_api().await;
    let http = stack.http();
    assert_eq!(http.status(&id).await.expect("a status"), before);
    let output = http.output(&id, 0).await.expect("an output");
    output.assert_whole("failed");
    assert_eq!(
        (output.bytes, output.trailers["exit-code"].as_str()),
        (text.into_bytes(), "4")
    );
    let (_, list) = http.get("/v1/executions").await.expect("a list");
    assert_eq!(list["executions"][0], before);
    let lines = http.follow_to_end(&id).await.expect("a stream");
    assert_eq!(lines, [before]);
}

#[tokio::test]
async fn n3_length_and_digests_are_those_of_the_output() {
    let stack = Stack::start().await;
    for prompt in [
        "@say \u{e9} x",
        "@volume 3000 700",
        "@result none",
        "@say a\n@signal 9",
    ] {
        let (text, status) = run(&stack, prompt, json!({})).await;
        let id = status["executionId"].as_str().expect("an id");
        let status = until(&stack.http(), id, "digested", |status| {
            status["sha256"].is_string()
        })
        .await;
        let sha256 = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
        assert_eq!(status["outputBytes"], text.len());
        assert_eq!(
            status["crc32"],
            format!("{:08x}", crc32fast::hash(text.as_bytes()))
        );
        assert_eq!(status["sha256"], cc_tests::hex(sha256.as_ref()));
        let output = stack.http().output(id, 0).await.expect("an output");
        output.assert_whole(status["state"].as_str().expect("a state"));
        assert_eq!(
            output.trailers.contains_key("exit-code"),
            !prompt.contains("signal")
        );
    }
    stack.assert_quiet();
}

#[tokio::test]
async fn a_put_and_a_post_stream_the_output_and_name_the_execution() {
    let stack = Stack::start().await;
    let http = stack.http();
    let body = json!({"prompt": "@say streamed \u{e9}"}).to_string();
    let id = id();
    for (method, to) in [
        (Method::PUT, path(&id, "")),
        (Method::POST, "/v1/executions".into()),
    ] {
        let response = http
            .request(method, &to)
            .header("te", "trailers")
            .body(body.clone())
            .send()
            .await
            .expect("an answer");
        assert_eq!(response.status().as_u16(), 201);
        let header = |name: &str| {
            response
                .headers()
                .get(name)
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default()
                .to_owned()
        };
        assert_eq!(header("content-type"), "text/plain; charset=utf-8");
        let (named, location) = (header("execution-id"), header("location"));
        assert_eq!(location, path(&named, ""));
        assert_eq!(to.starts_with("/v1/executions/"), named == id);
        let output = read_output(response).await;
        output.assert_whole("completed");
        assert_eq!(output.bytes, "streamed \u{e9}".as_bytes());
        assert_eq!(
            http.status(&named).await.expect("a status")["state"],
            "completed"
        );
    }
    // A client that does not ask for trailers gets none, and a clean end.
    let response = http
        .request(Method::GET, &path(&id, "/output"))
        .send()
        .await
        .expect("an answer");
    let output = read_output(response).await;
    assert!(output.clean && output.trailers.is_empty());
    stack.assert_quiet();
}

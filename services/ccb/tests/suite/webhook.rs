//! Tests of `ccb webhook`: the verification of webhooks, and new secrets.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use protocol::webhook::{SignedHeaders, WebhookSecret};
use tokio::io::AsyncWriteExt;

use crate::ccb::{ccb, run};

/// No bridge is at this address, and none is needed.
const URL: &str = "ws://127.0.0.1:1/ws";
const BODY: &[u8] = b"{\"type\":\"execution.ended\"}";

/// A received webhook and its secret in files.
struct Webhook {
    folder: tempfile::TempDir,
}

impl Webhook {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let secret = WebhookSecret::generate().unwrap();
        let secrets = [secret.parse().unwrap()];
        let headers = SignedHeaders::sign(&secrets, "evt_1", jiff::Timestamp::now(), BODY);
        let head = format!(
            "POST /hook HTTP/1.1\r\nHost: a\r\nWebhook-Id: {}\r\nWebhook-Timestamp: {}\r\n\
             Webhook-Signature: {}\r\n\r\n",
            headers.id, headers.timestamp, headers.signature
        );
        let webhook = Self { folder };
        webhook.write("head", head.as_bytes());
        webhook.write("secret", format!("{secret}\n").as_bytes());
        webhook.write("body", BODY);
        webhook
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path(name), bytes).unwrap();
    }

    /// Runs the verification with these arguments, and returns the exit code and stderr.
    async fn verify(&self, args: &[&str]) -> (i32, String) {
        let all = [&["webhook", "verify"], args].concat();
        let (exit, stdout, stderr) = run(URL, &all).await;
        assert_eq!(stdout, "");
        (exit, stderr)
    }
}

#[tokio::test]
async fn a_genuine_webhook_has_the_exit_code_0_and_any_other_has_1_and_a_reason() {
    let webhook = Webhook::new();
    let (head, secret, body) = (
        webhook.path("head"),
        webhook.path("secret"),
        webhook.path("body"),
    );
    let args = ["--headers", &head, "--secret-file", &secret, &body];
    let (exit, stderr) = webhook.verify(&args).await;
    assert_eq!(exit, 0, "{stderr}");
    assert!(stderr.contains("evt_1 is genuine"), "{stderr}");
    webhook.write("body", b"{\"type\": \"execution.ended\"}");
    let (exit, stderr) = webhook.verify(&args).await;
    assert_eq!(exit, 1, "{stderr}");
    assert!(stderr.contains("no signature fits"), "{stderr}");
    webhook.write("body", BODY);
    webhook.write("secret", WebhookSecret::generate().unwrap().as_bytes());
    assert_eq!(webhook.verify(&args).await.0, 1);
}

#[tokio::test]
async fn headers_can_be_arguments_and_the_time_has_a_tolerance() {
    let webhook = Webhook::new();
    let secret = webhook.path("secret");
    let secrets = [std::fs::read_to_string(&secret)
        .unwrap()
        .trim()
        .parse()
        .unwrap()];
    let old = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(2);
    let headers = SignedHeaders::sign(&secrets, "evt_2", old, BODY);
    let given = [
        format!("webhook-id: {}", headers.id),
        format!("webhook-timestamp:{}", headers.timestamp),
        format!("WEBHOOK-SIGNATURE: {}", headers.signature),
    ];
    let body = webhook.path("body");
    let mut args = vec!["--secret-file", secret.as_str(), body.as_str()];
    for header in &given {
        args.extend(["--header", header]);
    }
    let (exit, stderr) = webhook.verify(&args).await;
    assert_eq!(exit, 1);
    assert!(stderr.contains("too old"), "{stderr}");
    args.extend(["--tolerance", "3h"]);
    assert_eq!(webhook.verify(&args).await.0, 0);
}

#[tokio::test]
async fn the_body_is_read_from_stdin_and_the_secret_from_the_environment() {
    let webhook = Webhook::new();
    let secret = std::fs::read_to_string(webhook.path("secret")).unwrap();
    let other = WebhookSecret::generate().unwrap();
    let mut command = ccb(
        URL,
        &[
            "webhook",
            "verify",
            "-q",
            "--headers",
            &webhook.path("head"),
        ],
    );
    command.env("CCB_WEBHOOK_SECRET", format!("{other} {secret}"));
    let mut child = command.stdin(std::process::Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(BODY).await.unwrap();
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

#[tokio::test]
async fn wrong_arguments_have_the_exit_code_64_and_no_secret_is_shown() {
    let webhook = Webhook::new();
    let (head, secret, body) = (
        webhook.path("head"),
        webhook.path("secret"),
        webhook.path("body"),
    );
    webhook.write("empty", b"");
    webhook.write("bad", b"whsec_SECRET");
    let (empty, bad) = (webhook.path("empty"), webhook.path("bad"));
    for (args, word) in [
        (vec!["--headers", &head, &body], "CCB_WEBHOOK_SECRET"),
        (
            vec!["--secret-file", &secret, &body],
            "webhook-id is missing",
        ),
        (
            vec![
                "--headers",
                &head,
                "--header",
                "webhook-id: x",
                "--secret-file",
                &secret,
                &body,
            ],
            "given twice",
        ),
        (
            vec!["--headers", &head, "--secret-file", &empty, &body],
            "is empty",
        ),
        (
            vec!["--headers", &head, "--secret-file", &bad, &body],
            "whsec_ and the base64",
        ),
        (
            vec!["--headers", &head, "--secret-file", &secret, "/nonexistent"],
            "could not be read",
        ),
        (vec!["--header", "webhook-id"], "NAME: VALUE"),
    ] {
        let (exit, stderr) = webhook.verify(&args).await;
        assert_eq!(exit, 64, "{args:?}: {stderr}");
        assert!(stderr.contains(word), "{args:?}: {stderr}");
        assert!(!stderr.contains("whsec_SECRET"), "{stderr}");
    }
}

#[tokio::test]
async fn a_new_secret_goes_to_a_new_file_of_mode_600() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("secret");
    let args = ["webhook", "secret", "new", "--out", out.to_str().unwrap()];
    let (exit, stdout, stderr) = run(URL, &args).await;
    assert_eq!((exit, stdout.as_str()), (0, ""), "{stderr}");
    let text = std::fs::read_to_string(&out).unwrap();
    assert!(text.trim().parse::<WebhookSecret>().is_ok());
    assert!(!stderr.contains(text.trim()));
    assert_eq!(
        Path::new(&out).metadata().unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(run(URL, &args).await.0, 64, "the file exists");
    // stdout is a pipe, but not asked for.
    let (exit, stdout, _) = run(URL, &["webhook", "secret", "new"]).await;
    assert_eq!((exit, stdout.as_str()), (64, ""));
    let (exit, stdout, _) = run(URL, &["webhook", "secret", "new", "--out", "-"]).await;
    assert_eq!(exit, 0);
    assert!(stdout.trim().parse::<WebhookSecret>().is_ok());
}

//! An execution's request that the API refuses, and the service's own check after it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use grants::Endpoint;

use crate::support::api::header;
use crate::support::{Exchange, GRANT, Setup};

const OAUTH: [(&str, &str); 2] = [("ANTHROPIC_API_KEY", ""), ("CLAUDE_CODE_OAUTH_TOKEN", "t")];

/// Starts a service whose API answers executions with the status `messages`, and checks of the
/// credential with `models`. Also returns the number of checks.
async fn answering(
    arguments: &[&str],
    messages: &'static str,
    models: &'static str,
) -> (Setup, Arc<AtomicUsize>) {
    let checks = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&checks);
    let setup = Setup::with(arguments, &[], move |mut api: Exchange| {
        let count = Arc::clone(&count);
        async move {
            while let Some((head, _)) = api.request().await {
                let is_check = head.starts_with("GET /v1/models?limit=1 ");
                count.fetch_add(usize::from(is_check), Ordering::SeqCst);
                let status = if is_check { models } else { messages };
                api.json(status, "{}").await;
            }
        }
    })
    .await;
    (setup, checks)
}

#[tokio::test]
async fn a_refused_request_is_followed_by_a_check_at_once() {
    for status in ["401 Unauthorized", "403 Forbidden"] {
        let arguments = ["--check-ms=0"];
        let (mut setup, checks) = answering(&arguments, status, "200 OK").await;
        setup.ask().await;
        let refused = setup.claude_api.answer().await;
        assert_eq!(refused.execution_id.as_deref(), Some("e1"));
        let check = setup.claude_api.answer().await;
        assert_eq!(check.execution_id, None);
        assert_eq!(
            (check.endpoint, check.status),
            (Endpoint::Models, Some(200))
        );
        // A command of the model cannot cause a flood of checks.
        for _ in 0..5 {
            setup.ask().await;
            setup.claude_api.answer().await;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(checks.load(Ordering::SeqCst), 1);
    }
}

#[tokio::test]
async fn a_refused_credential_is_reported_by_the_check() {
    let (mut setup, _) = answering(&[], "401 Unauthorized", "401 Unauthorized").await;
    setup.ask().await;
    setup.claude_api.answer().await;
    let check = setup.claude_api.answer().await;
    assert_eq!((check.execution_id, check.status), (None, Some(401)));
}

#[tokio::test]
async fn answers_that_prove_nothing_do_not_postpone_the_check() {
    let (setup, checks) = answering(&["--check-ms=400"], "400 Bad Request", "200 OK").await;
    for _ in 0..15 {
        setup.ask().await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(checks.load(Ordering::SeqCst) > 0);
}

/// The API accepts the token of a login only with this beta.
#[tokio::test]
async fn every_request_with_an_oauth_token_has_its_beta() {
    let setup = Setup::with(&[], &OAUTH, async |mut api: Exchange| {
        while let Some((head, _)) = api.request().await {
            let beta = header(&head, "anthropic-beta").unwrap_or_default();
            let count = head.to_ascii_lowercase().matches("anthropic-beta:").count();
            let body = format!("{{\"beta\":\"{beta}\",\"lines\":{count}}}");
            api.json("200 OK", &body).await;
        }
    })
    .await;
    let own = "oauth-2025-04-20";
    for (lines, expected) in [
        (String::new(), own.to_owned()),
        (
            "anthropic-beta: a\r\nconnection: Anthropic-Beta\r\n".to_owned(),
            own.to_owned(),
        ),
        (
            "anthropic-beta: a, b\r\nanthropic-beta: c\r\n".to_owned(),
            format!("a, b,c,{own}"),
        ),
        (format!("anthropic-beta: {own}, b\r\n"), format!("{own}, b")),
    ] {
        let mut client = setup.client().await;
        client
            .write(format!(
                "POST /v1/messages HTTP/1.1\r\nHost: a\r\nauthorization: Bearer {GRANT}\r\n\
                 {lines}Content-Length: 2\r\n\r\n{{}}"
            ))
            .await;
        let answer = client.answer().await;
        let expected = format!("{{\"beta\":\"{expected}\",\"lines\":1}}");
        assert_eq!(answer.body, expected, "{lines}");
    }
}

//! Which webhooks are accepted, and what a refused one leaves.

use super::*;

#[tokio::test]
async fn a_webhook_is_refused_unless_the_operator_lists_its_host() {
    let dir = tempfile::tempdir().unwrap();
    let service = open_with(dir.path(), FLAGS);
    for (url, word) in [
        ("https://other.example/", "other.example"),
        ("https://hooks.example:8443/", "hooks.example:8443"),
        ("https://b/SECRET", "list of receivers"),
    ] {
        let problem = accept(&service, body(url)).await.unwrap_err();
        assert_eq!(problem.kind, ProblemType::NotAllowed, "{url}");
        assert!(problem.detail.contains(word), "{}", problem.detail);
        assert!(!problem.detail.contains("SECRET"), "{}", problem.detail);
    }
    let problem = accept(&service, body("http://hooks.example/"))
        .await
        .unwrap_err();
    assert_eq!(problem.kind, ProblemType::InvalidBody);
    assert_eq!(ledgers(dir.path()), 0);
    for url in [URL, "https://b:8443/x"] {
        accept(&service, body(url)).await.unwrap();
    }
    let other = tempfile::tempdir().unwrap();
    let service = open_with(other.path(), &[]);
    let problem = accept(&service, body(URL)).await.unwrap_err();
    assert_eq!(problem.kind, ProblemType::NotAllowed);
    assert!(
        problem.detail.contains("sends no webhooks"),
        "{}",
        problem.detail
    );
}

#[tokio::test]
async fn a_refused_acceptance_leaves_no_ledger() {
    let dir = tempfile::tempdir().unwrap();
    let service = open_with(dir.path(), FLAGS);
    let id = ExecutionId::random();
    let first = service.accept(&Caller::anyone(), id, body(URL), ()).await;
    assert!(first.is_ok());
    let other = service
        .accept(&Caller::anyone(), id, body("https://b:8443/"), ())
        .await;
    assert_eq!(other.err().unwrap().kind, ProblemType::IdInUse);
    assert_eq!(ledgers(dir.path()), 1);
    let spool = dir.path().join("spool");
    // The records cannot be written.
    std::fs::remove_dir(spool.join("staging")).unwrap();
    assert!(accept(&service, body(URL)).await.is_err());
    assert_eq!(ledgers(dir.path()), 1);
}

#[tokio::test]
async fn an_execution_beyond_the_bound_of_ledgers_is_refused_with_queue_full() {
    let dir = tempfile::tempdir().unwrap();
    let service = open_with(dir.path(), FLAGS);
    let webhook = Webhook::new(URL);
    for _ in 0..crate::webhooks::LEDGERS_MAX {
        let id = ExecutionId::random();
        let subscription = Subscription::open(&service.engine.webhooks, id, None, &webhook, false);
        subscription.unwrap().keep();
    }
    let problem = accept(&service, body(URL)).await.unwrap_err();
    assert_eq!(problem.kind, ProblemType::QueueFull);
    assert!(problem.detail.contains("webhook"), "{}", problem.detail);
    assert!(accept(&service, Body::new("x")).await.is_ok());
}

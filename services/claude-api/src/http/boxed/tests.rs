use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Method;
use futures::FutureExt;
use serde_json::Value;
use tower::ServiceExt;

use super::*;
use crate::service::Service;
use crate::service::testing::open_with;

struct Api {
    service: Arc<Service>,
    router: Router,
    _dir: tempfile::TempDir,
}

const OWN: Option<Peer> = Some(Peer {
    address: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2)),
    is_own: true,
    is_exempt: true,
});
const OTHER: Option<Peer> = Some(Peer {
    address: IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1)),
    is_own: false,
    is_exempt: false,
});

impl Api {
    fn with(flags: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let service = open_with(dir.path(), flags);
        Self {
            router: crate::http::router(Arc::clone(&service)),
            service,
            _dir: dir,
        }
    }

    async fn send(&self, method: Method, path: &str, peer: Option<Peer>) -> Answer {
        let mut request = axum::http::Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost")
            .body(Body::empty())
            .unwrap();
        if let Some(peer) = peer {
            request.extensions_mut().insert(peer);
        }
        let answer = self.router.clone().oneshot(request).await.unwrap();
        let (head, body) = answer.into_parts();
        let body = to_bytes(body, 1 << 20).await.unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        Answer {
            code: head.status.as_u16(),
            kind: body["type"].as_str().map(str::to_owned),
            challenge: head.headers.contains_key("www-authenticate"),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Answer {
    code: u16,
    kind: Option<String>,
    challenge: bool,
}

fn refused() -> Answer {
    Answer {
        code: 401,
        kind: Some("from-the-box".to_owned()),
        challenge: true,
    }
}

const PATHS: [&str; 6] = [
    "/v1/limits",
    "/v1/executions",
    "/metrics",
    "/nowhere",
    "/healthy",
    "/",
];

#[tokio::test]
async fn a_peer_in_the_box_is_refused_except_for_health() {
    let api = Api::with(&["--boxed"]);
    for peer in [OWN, None] {
        for method in [Method::GET, Method::POST, Method::OPTIONS, Method::DELETE] {
            for path in PATHS {
                let answer = api.send(method.clone(), path, peer).await;
                assert_eq!(answer, refused(), "{method} {path}");
            }
        }
        for path in [
            "/health/live",
            "/health/startup",
            "/health/ready",
            "/health",
        ] {
            for method in [Method::GET, Method::HEAD] {
                let code = api.send(method.clone(), path, peer).await.code;
                assert!(matches!(code, 200 | 503), "{method} {path}: {code}");
            }
            assert_eq!(
                api.send(Method::POST, path, peer).await,
                refused(),
                "{path}"
            );
        }
    }
    let page = api.service.metrics_page(protocol::Exposition::Text);
    // 2 peers, 4 methods of 6 paths, and the POSTs to 4 health pages.
    let line = r#"claude_api_requests_refused_total{reason="from_the_box"} 56"#;
    assert!(page.lines().any(|other| other == line), "{page}");
}

#[tokio::test]
async fn other_peers_are_served_and_without_a_box_all_peers_are() {
    let api = Api::with(&["--boxed"]);
    assert_eq!(api.send(Method::GET, "/v1/limits", OTHER).await.code, 200);
    let open = Api::with(&[]);
    for peer in [OWN, OTHER, None] {
        assert_eq!(open.send(Method::GET, "/v1/limits", peer).await.code, 200);
    }
}

#[tokio::test]
async fn after_a_returned_call_only_health_is_served() {
    let api = Api::with(&["--boxed", "--published-port=1"]);
    let nonce = api.service.boxed.as_ref().unwrap().nonce_for_tests();
    let path = format!("/health/box/{nonce}");
    let wrong = format!("/health/box/{}", uuid::Uuid::new_v4());
    // A call from inside, or with another nonce, has no effect.
    for (path, peer) in [(&path, OWN), (&path, None), (&wrong, OTHER)] {
        assert_eq!(api.send(Method::GET, path, peer).await.code, 404);
    }
    let waiting = api.send(Method::GET, "/v1/limits", OTHER).now_or_never();
    assert_eq!(waiting, None, "requests wait for the calls of the start");
    assert_eq!(api.send(Method::GET, &path, OTHER).await.code, 200);
    for path in PATHS {
        let answer = api.send(Method::GET, path, OTHER).await;
        assert_eq!(
            (answer.code, answer.kind.as_deref()),
            (503, Some("box-reaches-service"))
        );
        assert_eq!(api.send(Method::GET, path, OWN).await, refused());
    }
    assert_eq!(api.send(Method::GET, "/health/live", OTHER).await.code, 200);
    let obstacles = api.service.engine.readiness.obstacles();
    assert!(obstacles.iter().any(|o| o.code == "box-reaches-service"));
}

#[tokio::test]
async fn with_tokens_a_returned_call_is_a_warning_and_requests_are_served() {
    let flags = [
        "--boxed",
        "--published-port=1",
        "--tokens-file=/proc/none/tokens.toml",
    ];
    let api = Api::with(&flags);
    let nonce = api.service.boxed.as_ref().unwrap().nonce_for_tests();
    let is_closed = |answer: &Answer| answer.kind.as_deref() == Some("box-reaches-service");
    // Requests do not wait for the calls of the start.
    let early = api.send(Method::GET, "/v1/limits", OTHER);
    let early = tokio::time::timeout(std::time::Duration::from_secs(30), early).await;
    assert!(early.is_ok_and(|answer| !is_closed(&answer)));
    let path = format!("/health/box/{nonce}");
    assert_eq!(api.send(Method::GET, &path, OTHER).await.code, 200);
    for path in PATHS {
        let answer = api.send(Method::GET, path, OTHER).await;
        assert!(!is_closed(&answer), "{path}: {answer:?}");
        assert_eq!(api.send(Method::GET, path, OWN).await, refused());
    }
    let readiness = &api.service.engine.readiness;
    let has_obstacle = |o: &crate::readiness::Obstacle| o.code == "box-reaches-service";
    assert!(!readiness.obstacles().iter().any(has_obstacle));
    assert!(readiness.network_warnings().iter().any(has_obstacle));
}

#[tokio::test]
async fn a_call_that_returns_from_an_address_of_the_box_shows_shared_addresses() {
    let api = Api::with(&["--boxed", "--published-port=1"]);
    let warnings = || api.service.engine.readiness.network_warnings();
    let wrong = format!("/health/box/{}", uuid::Uuid::new_v4());
    assert_eq!(api.send(Method::GET, &wrong, OWN).await.code, 404);
    assert_eq!(warnings(), []);
    let nonce = api.service.boxed.as_ref().unwrap().nonce_for_tests();
    let path = format!("/health/box/{nonce}");
    assert_eq!(api.send(Method::GET, &path, OWN).await.code, 404);
    let codes: Vec<_> = warnings().iter().map(|warning| warning.code).collect();
    assert_eq!(codes, ["clients-share-the-box"]);
    // The box itself does not reach the service.
    api.service.boxed.as_ref().unwrap().end_calls();
    assert_eq!(api.send(Method::GET, "/v1/limits", OTHER).await.code, 200);
}

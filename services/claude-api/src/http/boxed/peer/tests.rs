use std::net::Ipv4Addr;

use axum::body::{Body, to_bytes};
use axum::http::Method;
use serde_json::Value;
use tower::ServiceExt;

use super::*;
use crate::service::testing::open_with;

struct Api {
    service: Arc<Service>,
    known: Arc<KnownPeers>,
    _dir: tempfile::TempDir,
}

impl Api {
    fn with(flags: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let service = open_with(dir.path(), flags);
        let network = &service.engine.settings.args.network;
        Self {
            known: Arc::new(KnownPeers::new(network).unwrap()),
            service,
            _dir: dir,
        }
    }

    fn connection(&self, address: impl Into<IpAddr>, is_proxy_port: bool) -> ConnectionPeer {
        ConnectionPeer::new(&self.service, &self.known, address.into(), is_proxy_port)
    }

    /// Returns the client of a request with these lines of the header.
    async fn client(
        &self,
        connection: &ConnectionPeer,
        lines: &[&str],
    ) -> Result<Peer, BadForwardedFor> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED_FOR, line.parse().unwrap());
        }
        connection.client(&self.service, &headers).await
    }

    /// Returns the status code of the answer, and the type of the problem in it.
    async fn send(
        &self,
        connection: ConnectionPeer,
        method: Method,
        path: &str,
        lines: &[&str],
    ) -> (u16, Option<String>) {
        let mut request = axum::http::Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost")
            .extension(connection);
        for line in lines {
            request = request.header(FORWARDED_FOR, *line);
        }
        let router = crate::http::router(Arc::clone(&self.service));
        let request = request.body(Body::empty()).unwrap();
        let (head, body) = router.oneshot(request).await.unwrap().into_parts();
        let body = to_bytes(body, 1 << 20).await.unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        (
            head.status.as_u16(),
            body["type"].as_str().map(str::to_owned),
        )
    }
}

const STRANGER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
const PROXY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);
const PROXIES: &str = "--trusted-proxies=192.0.2.0/24";

#[tokio::test]
async fn the_client_is_the_peer_unless_a_trusted_proxy_names_another() {
    let api = Api::with(&[PROXIES]);
    for (peer, lines, expected) in [
        (STRANGER, &[][..], [203, 0, 113, 1]),
        (STRANGER, &["198.51.100.9"], [203, 0, 113, 1]),
        (STRANGER, &["nonsense"], [203, 0, 113, 1]),
        (PROXY, &["198.51.100.9"], [198, 51, 100, 9]),
        (
            PROXY,
            &["10.0.0.1", "198.51.100.9, 192.0.2.8"],
            [198, 51, 100, 9],
        ),
    ] {
        for address in [IpAddr::from(peer), peer.to_ipv6_mapped().into()] {
            let connection = api.connection(address, false);
            let client = api.client(&connection, lines).await.unwrap();
            let expected = Peer {
                address: expected.into(),
                is_own: false,
                is_exempt: false,
            };
            assert_eq!(client, expected, "{lines:?}");
        }
    }
}

#[tokio::test]
async fn limits_for_each_peer_do_not_apply_to_proxies_bridges_and_this_machine() {
    let api = Api::with(&[PROXIES, "--bridge-hosts=198.51.100.7"]);
    let loopback = Ipv4Addr::LOCALHOST;
    let bridge = Ipv4Addr::new(198, 51, 100, 7);
    for (peer, is_proxy_port, exempt) in [
        (STRANGER, false, false),
        (STRANGER, true, true),
        (PROXY, false, true),
        (bridge, false, true),
        (loopback, false, true),
    ] {
        let connection = api.connection(peer, is_proxy_port);
        assert_eq!(connection.is_exempt().await, exempt, "{peer}");
    }
    // The client of a proxy has limits of its own.
    for (client, exempt) in [
        ("203.0.113.1", false),
        ("127.0.0.1", true),
        ("198.51.100.7", true),
    ] {
        let proxied = api.client(&api.connection(PROXY, false), &[client]).await;
        assert_eq!(proxied.unwrap().is_exempt, exempt, "{client}");
    }
}

#[tokio::test]
async fn a_bad_header_of_a_proxy_is_400_before_all_else_but_health() {
    let api = Api::with(&["--boxed", PROXIES]);
    let own = Ipv4Addr::LOCALHOST;
    let mut refused = 0;
    for lines in [
        &[][..],
        &[""],
        &["unknown"],
        &["192.0.2.8"],
        &["1.2.3.4", "x"],
    ] {
        for (peer, is_proxy_port) in [(PROXY, false), (STRANGER, true), (own, true)] {
            for (method, path) in [
                (Method::GET, "/v1/limits"),
                (Method::OPTIONS, "/v1/executions"),
                (Method::GET, "/nowhere"),
                (Method::POST, "/health"),
            ] {
                let connection = api.connection(peer, is_proxy_port);
                let (code, kind) = api.send(connection, method, path, lines).await;
                let kind = kind.unwrap();
                assert_eq!(
                    (code, &*kind),
                    (400, "invalid-forwarded-for"),
                    "{peer} {path}"
                );
                refused += 1;
            }
            let connection = api.connection(peer, is_proxy_port);
            let (code, _) = api
                .send(connection, Method::GET, "/health/live", lines)
                .await;
            assert_eq!(code, 200);
        }
    }
    let page = api.service.metrics_page(protocol::Exposition::Text);
    let line =
        format!(r#"claude_api_requests_refused_total{{reason="invalid_forwarded_for"}} {refused}"#);
    assert!(page.lines().any(|other| other == line), "{page}");
}

#[tokio::test]
async fn the_box_is_refused_as_peer_as_client_and_as_alleged_proxy() {
    // An address of this machine that is not loopback. The list of proxies includes it.
    let own = OwnAddresses::read().unwrap().now();
    let outer = own.into_iter().find(|ip| ip.is_ipv4() && !ip.is_loopback());
    let Some(outer) = outer else {
        return;
    };
    let wide = format!("--trusted-proxies=192.0.2.0/24,{outer}");
    let [client, behind] = [format!("{outer}"), format!("203.0.113.1, {outer}")];
    for list in [PROXIES, &wide] {
        let api = Api::with(&["--boxed", list]);
        for (peer, is_proxy_port, lines) in [
            (outer, false, &["203.0.113.1"][..]),
            (outer, true, &["203.0.113.1"]),
            (IpAddr::from([127, 0, 0, 5]), true, &["203.0.113.1"]),
            (PROXY.into(), false, &[&client]),
            (PROXY.into(), false, &[&behind]),
            (STRANGER.into(), true, &[&behind]),
        ] {
            let connection = api.connection(peer, is_proxy_port);
            // With the wide list, no client is left in the header.
            if let Ok(peer) = api.client(&connection, lines).await {
                assert!(peer.is_own, "{peer:?} {lines:?} {list}");
            }
            let (code, _) = api.send(connection, Method::GET, "/v1/limits", lines).await;
            assert!(matches!(code, 400 | 401), "{code} {peer} {lines:?} {list}");
        }
        // A client on the proxy's own machine, and any other client, is served.
        for client in ["127.0.0.1", "203.0.113.1"] {
            let connection = api.connection(PROXY, false);
            let (code, _) = api
                .send(connection, Method::GET, "/v1/limits", &[client])
                .await;
            assert_eq!(code, 200, "{client}");
        }
    }
}

use std::io;
use std::sync::{Arc, Mutex};

use futures::FutureExt;
use proptest::prelude::*;

use super::*;
use crate::host_addresses::Resolve;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn proxies(list: &str) -> TrustedProxies {
    TrustedProxies::new(&list.parse().unwrap())
}

/// The addresses that the name `proxy` resolves to; `None` is a failure.
type Answer = Arc<Mutex<Option<Vec<IpAddr>>>>;

/// The list `192.0.2.0/24, proxy`, in which the name resolves to `answer`.
fn with_name(answer: &Answer) -> TrustedProxies {
    let answer = Arc::clone(answer);
    let resolve: Resolve = Arc::new(move |_| {
        let answer = answer.lock().unwrap().clone();
        Box::pin(async move { answer.ok_or_else(|| io::Error::other("no such name")) })
    });
    TrustedProxies {
        names: vec![HostAddresses::with_resolver("proxy", MAX_AGE, resolve)],
        ..proxies("192.0.2.0/24")
    }
}

/// Returns the client of a request from `peer`, at once.
fn client(
    proxies: &TrustedProxies,
    peer: &str,
    is_proxy_port: bool,
    lines: &[&str],
) -> Result<IpAddr, BadForwardedFor> {
    let lines = lines.iter().map(|line| line.as_bytes());
    let client = proxies.client(ip(peer), is_proxy_port, lines);
    client.now_or_never().expect("no name to wait for")
}

#[test]
fn the_header_of_a_peer_outside_the_list_is_ignored() {
    let list = proxies("192.0.2.0/24");
    let long = "1,".repeat(5000);
    for lines in [&[][..], &["203.0.113.1"], &[""], &["unknown"], &[&long]] {
        for peer in ["198.51.100.1", "::ffff:198.51.100.1"] {
            assert_eq!(client(&list, peer, false, lines), Ok(ip("198.51.100.1")));
            let nobody = TrustedProxies::default();
            assert_eq!(client(&nobody, peer, false, lines), Ok(ip("198.51.100.1")));
        }
    }
}

#[test]
fn the_client_of_a_proxy_is_the_rightmost_address_outside_the_list() {
    let list = proxies("192.0.2.0/24, 2001:db8::/32");
    for (lines, expected) in [
        (&["203.0.113.1"][..], "203.0.113.1"),
        (&["10.0.0.1, 203.0.113.1"], "203.0.113.1"),
        (&["10.0.0.1, 203.0.113.1, 192.0.2.8"], "203.0.113.1"),
        (&["10.0.0.1", "203.0.113.1:80,2001:db8::2"], "203.0.113.1"),
        (
            &["203.0.113.1", "192.0.2.8", "[2001:db8::2]:1"],
            "203.0.113.1",
        ),
        (&["192.0.2.8, 203.0.113.1, 192.0.2.9"], "203.0.113.1"),
        (&["::ffff:203.0.113.1, ::ffff:192.0.2.8"], "203.0.113.1"),
        (&["127.0.0.1"], "127.0.0.1"),
    ] {
        for peer in ["192.0.2.7", "::ffff:192.0.2.7", "2001:db8::7"] {
            assert_eq!(
                client(&list, peer, false, lines),
                Ok(ip(expected)),
                "{lines:?}"
            );
        }
    }
}

#[test]
fn a_proxy_must_name_its_client() {
    let list = proxies("192.0.2.0/24");
    for (lines, expected) in [
        (&[][..], BadForwardedFor::Missing),
        (&[""], BadForwardedFor::Empty),
        (&["192.0.2.8"], BadForwardedFor::OnlyProxies),
        (&["192.0.2.8, 192.0.2.7"], BadForwardedFor::OnlyProxies),
        (&["x"], BadForwardedFor::Malformed("x".to_owned())),
        // Also in the part that the client may have invented.
        (
            &["x, 203.0.113.1"],
            BadForwardedFor::Malformed("x".to_owned()),
        ),
    ] {
        assert_eq!(client(&list, "192.0.2.7", false, lines), Err(expected));
    }
}

#[test]
fn on_the_proxy_port_every_peer_is_a_proxy() {
    for list in ["", "192.0.2.0/24"] {
        let list = proxies(list);
        for peer in ["127.0.0.1", "192.0.2.7", "198.51.100.1"] {
            let named = client(&list, peer, true, &["10.0.0.1, 203.0.113.1"]);
            assert_eq!(named, Ok(ip("203.0.113.1")));
            assert_eq!(
                client(&list, peer, true, &[]),
                Err(BadForwardedFor::Missing)
            );
        }
    }
}

#[tokio::test]
async fn a_route_has_every_proxy_between_the_client_and_this_service() {
    let list = proxies("192.0.2.0/24");
    let lines = ["10.0.0.1, 203.0.113.1", "192.0.2.8, 192.0.2.9"];
    let lines = lines.iter().map(|line| line.as_bytes());
    let route = list.route(ip("192.0.2.7"), false, lines).await.unwrap();
    assert_eq!(route.client, ip("203.0.113.1"));
    let expected = ["192.0.2.8", "192.0.2.9", "192.0.2.7"].map(ip);
    assert_eq!(route.proxies, expected);
    let direct = list
        .route(ip("10.0.0.1"), false, [].into_iter())
        .await
        .unwrap();
    assert!(direct.proxies.is_empty());
}

#[tokio::test]
async fn a_named_proxy_is_recognised_by_its_resolved_address() {
    let answer: Answer = Arc::new(Mutex::new(Some(vec![ip("10.0.0.5"), ip("fd00::5")])));
    let list = with_name(&answer);
    let named = |peer| list.client(peer, false, [&b"203.0.113.1, 10.0.0.5"[..]].into_iter());
    assert_eq!(named(ip("10.0.0.5")).await, Ok(ip("203.0.113.1")));
    assert_eq!(named(ip("fd00::5")).await, Ok(ip("203.0.113.1")));
    assert_eq!(named(ip("10.0.0.6")).await, Ok(ip("10.0.0.6")));
    assert!(list.include(ip("::ffff:10.0.0.5")).await && list.include(ip("192.0.2.1")).await);
    assert!(!list.include(ip("10.0.0.6")).await);
}

#[tokio::test]
async fn the_header_is_refused_while_a_name_does_not_resolve() {
    for answer in [None, Some(Vec::new())] {
        let list = with_name(&Arc::new(Mutex::new(answer)));
        let from = |peer: &str, lines: &'static [&[u8]]| {
            list.client(ip(peer), false, lines.iter().copied())
        };
        // This peer may be the proxy that the name means.
        let unknown = from("10.0.0.5", &[b"203.0.113.1"]).await;
        assert_eq!(unknown, Err(BadForwardedFor::UnknownProxies));
        assert_eq!(from("10.0.0.5", &[]).await, Ok(ip("10.0.0.5")));
        // The networks of the list do not need the name.
        let listed = from("192.0.2.1", &[b"203.0.113.1"]).await;
        assert_eq!(listed, Ok(ip("203.0.113.1")));
    }
}

/// Addresses of which some are in 192.0.2.0/28.
fn addresses() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        (0_u8..32).prop_map(|last| IpAddr::from([192, 0, 2, last])),
        any::<IpAddr>(),
    ]
}

proptest! {
    /// A client can put anything in front; the proxies append after it.
    #[test]
    fn a_client_cannot_hide_behind_an_invented_header(
        invented in prop::collection::vec(addresses(), 0..10),
        client_address in addresses(),
        passed in prop::collection::vec(0_u8..16, 1..5),
    ) {
        let list = proxies("192.0.2.0/28");
        let client_address = client_address.to_canonical();
        prop_assume!(!list.list.has_network_of(client_address));
        let passed: Vec<_> = passed.iter().map(|last| IpAddr::from([192, 0, 2, *last])).collect();
        let (peer, inner) = passed.split_last().unwrap();
        let chain = invented.iter().chain([&client_address]).chain(inner);
        let line = chain.map(IpAddr::to_string).collect::<Vec<_>>().join(",");
        let route = list.route(*peer, false, [line.as_bytes()].into_iter());
        let route = route.now_or_never().unwrap().unwrap();
        prop_assert_eq!(route, Route { client: client_address, proxies: passed });
    }

    #[test]
    fn a_client_outside_the_list_is_always_the_peer_or_refused(
        peer in addresses(),
        is_proxy_port: bool,
        lines in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..3),
    ) {
        let list = proxies("192.0.2.0/28");
        let client = list.client(peer, is_proxy_port, lines.iter().map(Vec::as_slice));
        let client = client.now_or_never().unwrap();
        let peer = peer.to_canonical();
        if is_proxy_port || list.list.has_network_of(peer) {
            let is_outside = client.is_ok_and(|ip| !list.list.has_network_of(ip));
            prop_assert!(is_outside || client_is_bad(&lines));
        } else {
            prop_assert_eq!(client, Ok(peer));
        }
    }
}

/// Whether no client can be found in these lines.
fn client_is_bad(lines: &[Vec<u8>]) -> bool {
    parse(lines.iter().map(Vec::as_slice)).map_or(true, |all| {
        let list = proxies("192.0.2.0/28").list;
        all.iter().all(|address| list.has_network_of(*address))
    })
}

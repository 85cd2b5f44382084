//! A boxed claude-api answers requests from its own addresses with health pages only. The bridge in
//! front of it, and the addresses on which both may be published.

mod bridge;

use std::net::{IpAddr, SocketAddr};

use addresses::OwnAddresses;
use cc_tests::harness::{Service, StackOptions, stack::api_options, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

use crate::support::{PATIENCE, id, path};

/// Starts a boxed claude-api with these flags; returns it and its port.
async fn boxed(folder: &std::path::Path, host: &str, flags: &[&str]) -> (Service, u16) {
    let options = StackOptions::default().api("--boxed").api(host);
    let mut options = options.api("--allow-unauthenticated");
    for flag in flags {
        options = options.api(*flag);
    }
    let service = Service::start(api_options(folder, &options)).await;
    let port = service.addr().port();
    (service, port)
}

/// Sends one request from the address `from` to `to`; returns the answer as text.
async fn ask(from: IpAddr, to: SocketAddr, method: &str, path: &str, rest: &str) -> String {
    let socket = if to.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    };
    let socket = socket.expect("a socket");
    socket.bind((from, 0).into()).expect("an own address");
    let talk = async {
        let mut stream = socket.connect(to).await.expect("a connection");
        let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{rest}");
        stream.write_all(head.as_bytes()).await.expect("it is sent");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("an answer");
        String::from_utf8_lossy(&answer).into_owned()
    };
    let answer = tokio::time::timeout(PATIENCE, talk).await;
    answer.unwrap_or_else(|_| panic!("{method} {path} from {from} has no answer"))
}

const CLOSE: &str = "Connection: close\r\n\r\n";

#[track_caller]
fn assert_refused(answer: &str, what: &str) {
    let refused = answer.starts_with("HTTP/1.1 401 ") && answer.contains("from-the-box");
    assert!(refused, "{what}: {answer}");
}

/// Returns pairs of source and target address inside a box: every address of its interfaces, and
/// loopback.
fn own_address_pairs(port: u16) -> Vec<(IpAddr, SocketAddr)> {
    let own = OwnAddresses::read().expect("addresses");
    let listed = own.now().into_iter().filter(|ip| match ip {
        IpAddr::V4(_) => true,
        // A link-local address needs its interface, too.
        IpAddr::V6(ip) => !ip.is_unicast_link_local(),
    });
    let mut pairs: Vec<_> = listed.map(|ip| (ip, (ip, port).into())).collect();
    for source in ["127.0.0.1", "127.0.0.2", "127.7.7.7"] {
        let source: IpAddr = source.parse().expect("an address");
        pairs.push((source, SocketAddr::from(([127, 0, 0, 1], port))));
        pairs.push((source, SocketAddr::from(([127, 3, 2, 1], port))));
    }
    pairs
}

#[tokio::test]
async fn a_boxed_claude_api_answers_its_own_addresses_with_health_only() {
    let has_v6 = std::path::Path::new("/proc/net/if_inet6").exists();
    let hosts = if has_v6 {
        &["0.0.0.0", "::"][..]
    } else {
        &["0.0.0.0"]
    };
    for host in hosts {
        let folder = tempfile::tempdir().expect("a folder");
        let (service, port) = boxed(folder.path(), &format!("--host={host}"), &[]).await;
        let body = r#"{"prompt":"@say reached"}"#;
        let put = format!("Content-Length: {}\r\n{CLOSE}{body}", body.len());
        let id = id();
        for (from, to) in own_address_pairs(port) {
            // An IPv6 socket also accepts IPv4; an IPv4 socket does not accept IPv6.
            if to.is_ipv6() && *host == "0.0.0.0" {
                continue;
            }
            for (method, path, rest) in [
                ("GET", "/v1/limits", CLOSE),
                ("GET", "/v1/executions", CLOSE),
                ("GET", "/metrics", CLOSE),
                ("GET", "/nowhere", CLOSE),
                ("OPTIONS", "/v1/executions", CLOSE),
                ("PUT", &path(&id, ""), &put),
            ] {
                let answer = ask(from, to, method, path, rest).await;
                assert_refused(&answer, &format!("{method} {path} from {from} to {to}"));
            }
            for method in ["GET", "HEAD"] {
                let answer = ask(from, to, method, "/health/live", CLOSE).await;
                assert!(answer.starts_with("HTTP/1.1 200 "), "{from} {to}: {answer}");
            }
        }
        let spool = std::fs::read_dir(folder.path().join("spool/executions"));
        let kept = spool.map_or(0, Iterator::count);
        assert_eq!(kept, 0, "a refused PUT reached the service");
        service.assert_quiet();
    }
}

#[tokio::test]
async fn the_healthcheck_of_a_boxed_container_reads_health_pages_and_no_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let (service, port) = boxed(folder.path(), "--host=0.0.0.0", &[]).await;
    let loopback = SocketAddr::from(([127, 0, 0, 1], port));
    let startup = format!("http://{loopback}/health/startup");
    until("a healthy service", PATIENCE, async || {
        (crate::settings::healthcheck("claude-api", &startup) == Some(0)).then_some(())
    })
    .await;
    let limits = format!("http://{loopback}/v1/limits");
    assert_eq!(crate::settings::healthcheck("claude-api", &limits), Some(1));
    service.assert_quiet();
}

/// A published port that accepts connections and never answers must not delay the start for longer
/// than a second. A box that only reaches itself must not refuse other clients.
#[tokio::test]
async fn calls_to_a_silent_published_port_do_not_delay_readiness() {
    let own = OwnAddresses::read().expect("addresses").now();
    let outer = own.into_iter().find(|ip| ip.is_ipv4() && !ip.is_loopback());
    let address = outer.unwrap_or(IpAddr::from([127, 0, 0, 1]));
    let silent = tokio::net::TcpListener::bind((address, 0))
        .await
        .expect("a port");
    let port = silent.local_addr().expect("bound").port();
    let folder = tempfile::tempdir().expect("a folder");
    let flags = [
        format!("--published-on={address}"),
        format!("--published-port={port}"),
    ];
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    let (service, port) = boxed(folder.path(), "--host=0.0.0.0", &flags).await;
    let http = cc_tests::http::Http::new(([127, 0, 0, 1], port).into());
    crate::startup::health(&http, "/health/ready", 200).await;
    drop(silent);
    service.assert_quiet();
}

#[tokio::test]
async fn an_unboxed_claude_api_reports_boxed_false_and_serves_loopback() {
    let stack = cc_tests::harness::Stack::start().await;
    let (code, limits) = stack.http().get("/v1/limits").await.expect("an answer");
    assert_eq!((code.as_u16(), &limits["boxed"]), (200, &false.into()));
    stack.assert_quiet();
}

#[tokio::test]
async fn a_published_address_beyond_loopback_exits_64_and_names_the_remedies() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut service = api_options(folder.path(), &StackOptions::default());
    let published = ("CLAUDE_API_PUBLISHED_ON".to_owned(), "0.0.0.0".to_owned());
    service.environment.push(published);
    let (status, log) = Service::run_to_end(service.clone(), PATIENCE).await;
    assert_eq!(status.code(), Some(64), "{log}");
    for word in [
        "CCB_PUBLISH",
        "127.0.0.1",
        "CLAUDE_API_ALLOW_UNAUTHENTICATED=true",
        "CLAUDE_API_TOKENS_FILE",
    ] {
        assert!(log.contains(word), "{word}: {log}");
    }
    let allowed = (
        "CLAUDE_API_ALLOW_UNAUTHENTICATED".to_owned(),
        "true".to_owned(),
    );
    service.environment.push(allowed);
    Service::start(service).await.assert_quiet();
}

//! The calls of the start: claude-api calls its own published port by the addresses that a box
//! would use. If a call comes back to this process, the box can do the same.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;

use crate::boxed::default_gateways;
use crate::config::NetworkArgs;
use crate::service::Service;

/// How long one call may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(1);
/// The name of the host in Docker's containers, where it has one.
const HOST_NAME: &str = "host.docker.internal";
/// The most that is read of an answer, in bytes.
const ANSWER_BYTES: u64 = 4096;

/// Calls the published port and notes whether the box reaches the service. At once when nothing is
/// published, or the service is not boxed.
pub(crate) async fn call_published_port(service: Arc<Service>) {
    let args = &service.engine.settings.args.network;
    let (Some(boxed), Some(port)) = (&service.boxed, args.published_port) else {
        return;
    };
    let path = format!("/health/box/{}", boxed.nonce);
    let mut calls = JoinSet::new();
    for ip in addresses(args) {
        let path = path.clone();
        calls.spawn(limited(
            async move { call(&[(ip, port).into()], &path).await },
        ));
    }
    calls.spawn(limited(async move {
        // A name that does not resolve is the usual case.
        let found = lookup_host((HOST_NAME, port)).await;
        let found: Vec<_> = found.into_iter().flatten().collect();
        call(&found, &path).await;
    }));
    while calls.join_next().await.is_some() {}
    boxed.end_calls();
}

async fn limited(call: impl Future<Output = ()>) {
    // The answer says nothing that the request, if it came back, has not said already.
    let _ = tokio::time::timeout(LIMIT, call).await;
}

/// The addresses of the host that are known without asking for a name.
fn addresses(args: &NetworkArgs) -> Vec<IpAddr> {
    // Docker publishes on this address of the host, which is routed by the gateway.
    let published = args.published_on.map(|ip| ip.to_canonical());
    let published = published.filter(|ip| !ip.is_unspecified() && !ip.is_loopback());
    let mut addresses = default_gateways();
    addresses.extend(published);
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

/// Asks for `path` at each of these addresses and waits for the answer, so that the request has
/// been handled when this returns.
async fn call(addresses: &[SocketAddr], path: &str) {
    for address in addresses {
        if let Err(error) = ask(*address, path).await {
            tracing::debug!(%address, %error, "the published port is not reached from here");
        }
    }
}

async fn ask(address: SocketAddr, path: &str) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES).read_to_end(&mut answer).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_call_asks_every_address_for_the_path_with_the_nonce() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let there = listener.local_addr().unwrap();
        let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let refusing = closed.local_addr().unwrap();
        drop(closed);
        let served = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = vec![0; 512];
            let length = stream.read(&mut head).await.unwrap();
            stream.write_all(b"HTTP/1.1 404 x\r\n\r\n").await.unwrap();
            String::from_utf8_lossy(&head[..length]).into_owned()
        });
        call(&[refusing, there], "/health/box/nonce").await;
        let head = served.await.unwrap();
        assert!(
            head.starts_with("GET /health/box/nonce HTTP/1.1\r\nHost: localhost\r\n"),
            "{head}"
        );
    }
}

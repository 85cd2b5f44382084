//! The test calls of a service that shares its container (the box) with the commands of the model.
//! At its start, claude-api calls its own published port at the addresses that such commands would
//! use. If a call returns to this process, the commands can reach the service, too. This module
//! also warns of clients that share an address with the box.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use addresses::default_gateways;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;

use crate::config::NetworkArgs;
use crate::service::Service;

/// The time limit of each test call to the published port. Requests of clients wait for these calls
/// at the start.
pub(crate) const LIMIT: Duration = Duration::from_secs(1);
/// The host name under which containers may reach Docker's host. Docker Desktop defines it;
/// elsewhere it usually does not resolve.
const HOST_NAME: &str = "host.docker.internal";
/// The maximum number of bytes that are read of the answer to a test call.
const ANSWER_BYTES: u64 = 4096;

/// Logs a warning if the settings show that clients outside the box share an address with it. Such
/// clients are refused like commands of the model. Does nothing if those commands run elsewhere.
pub(crate) fn warn_of_shared_address(service: &Service) {
    let args = &service.engine.settings.args;
    let boxed = service.boxed.as_ref();
    if let Some(address) = boxed.and_then(|b| b.shared_address(args.host, &args.network)) {
        note_shared_address(service, address);
    }
}

/// Logs a warning that clients outside the box arrive from `address`, which is one of the box.
/// Later calls do nothing.
pub(crate) fn note_shared_address(service: &Service, address: IpAddr) {
    if service.engine.readiness.clients_share_the_box() {
        tracing::warn!(
            %address,
            "clients-share-the-box: clients arrive from an address of claude-api's own container \
             (host networking, one pod, rootless port forwarding), so they are refused like \
             commands of the model. Set CLAUDE_API_BOXED=false; without CLAUDE_API_TOKENS_FILE, \
             commands of the model can then use the service"
        );
    }
}

/// Calls the service's own published port once at every address of the host, to find out whether
/// commands of the model can reach the service there. Returns when all calls have ended or timed
/// out. Returns immediately if no port is published, or if commands of the model run elsewhere.
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
        // Usually the name does not resolve.
        let resolved = lookup_host((HOST_NAME, port)).await;
        let resolved: Vec<_> = resolved.into_iter().flatten().collect();
        call(&resolved, &path).await;
    }));
    while calls.join_next().await.is_some() {}
    boxed.end_calls();
}

/// Waits for a test call for at most [`LIMIT`].
async fn limited(call: impl Future<Output = ()>) {
    // The answer is not needed: the request itself notes its return.
    let _ = tokio::time::timeout(LIMIT, call).await;
}

/// Returns the addresses of the host that need no name lookup: the default gateways, and the
/// address on which the port is published unless that is loopback or unspecified.
fn addresses(args: &NetworkArgs) -> Vec<IpAddr> {
    // Docker publishes the port on this address of the host, and the gateway routes to it.
    let published = args.published_on.map(|ip| ip.to_canonical());
    let published = published.filter(|ip| !ip.is_unspecified() && !ip.is_loopback());
    let mut addresses = default_gateways();
    addresses.extend(published);
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

/// Requests `path` at each of these addresses in turn, and waits for the answers. A failed request
/// is expected and is only logged. Every request that arrived has been handled when the function
/// returns.
async fn call(addresses: &[SocketAddr], path: &str) {
    for address in addresses {
        if let Err(error) = request(*address, path).await {
            tracing::debug!(
                %address,
                %error,
                "a call to claude-api's own published port failed, which is expected: commands of \
                 the model must not reach it"
            );
        }
    }
}

/// Sends one GET request and reads its answer, which is discarded.
async fn request(address: SocketAddr, path: &str) -> std::io::Result<()> {
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
    async fn a_call_requests_the_path_with_the_nonce_at_every_address() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let listening = listener.local_addr().unwrap();
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
        call(&[refusing, listening], "/health/box/nonce").await;
        let head = served.await.unwrap();
        assert!(
            head.starts_with("GET /health/box/nonce HTTP/1.1\r\nHost: localhost\r\n"),
            "{head}"
        );
    }
}

//! A minimal HTTP GET for the health endpoints of the services, also over TLS. Their answers are
//! small.

use std::time::Duration;

use client::transport::Transport;
use client::{Address, Roots};
use protocol::Secret;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

/// The maximum time of each request of `ccb doctor`, so that a service that hangs does not delay
/// the report.
pub(super) const LIMIT: Duration = Duration::from_secs(5);
/// The maximum number of bytes that are read of an HTTP answer. It is far above the size of any
/// health answer, and bounds memory if another server listens at the address.
const ANSWER_BYTES: u64 = 256 * 1024;

/// An HTTP service, with the access to it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Service<'a> {
    /// The address, whose path is not used. `ws://` stands for `http://`, and `wss://` for
    /// `https://`.
    pub(super) address: &'a Address,
    /// The root certificates that are trusted for an address with TLS.
    pub(super) roots: &'a Roots,
    /// The token that is sent, if there is one.
    pub(super) token: Option<&'a Secret>,
}

impl Service<'_> {
    /// Requests a path of the service with GET, and returns the HTTP status code and the body.
    /// The connection and the whole answer take at most [`LIMIT`].
    ///
    /// # Errors
    /// No complete answer arrived in time. The text says why, for the user.
    pub(super) async fn get(self, path: &str) -> Result<(u16, Vec<u8>), String> {
        match timeout(LIMIT, Box::pin(self.request(path))).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("no answer within {} s", LIMIT.as_secs())),
        }
    }

    async fn request(self, path: &str) -> Result<(u16, Vec<u8>), String> {
        let Self {
            address,
            roots,
            token,
        } = self;
        let failed = |e: std::io::Error| e.to_string();
        let transport = Transport::connect(address, roots, None).await;
        let mut stream = transport.map_err(|e| e.to_string())?;
        let host = address.authority();
        let authorization = match token {
            Some(token) => format!("Authorization: Bearer {}\r\n", token.expose()),
            None => String::new(),
        };
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\n{authorization}Connection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.map_err(failed)?;
        stream.flush().await.map_err(failed)?;
        let mut answer = Vec::new();
        stream
            .take(ANSWER_BYTES)
            .read_to_end(&mut answer)
            .await
            .map_err(failed)?;
        split(&answer).ok_or_else(|| format!("the program at {host} does not speak HTTP"))
    }
}

/// Splits an HTTP answer into the status code and the body. `None` if it is not a complete HTTP
/// answer.
pub(super) fn split(answer: &[u8]) -> Option<(u16, Vec<u8>)> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(answer.get(..end)?).ok()?;
    let code = head
        .strip_prefix("HTTP/1.")?
        .split(' ')
        .nth(1)?
        .parse()
        .ok()?;
    Some((code, answer.get(end + 4..)?.to_vec()))
}

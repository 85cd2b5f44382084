//! A minimal HTTP GET for the health endpoints of the services. Their answers are small and have a
//! content length.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The maximum number of bytes that are read of an HTTP answer. It is far above the size of any
/// health answer, and bounds memory if another server listens at the address.
const ANSWER_BYTES: u64 = 256 * 1024;

/// Requests `http://authority/path` with GET, and returns the HTTP status code and the body.
/// `limit` is the maximum time for the connection and the whole answer.
///
/// # Errors
/// No complete answer arrived in time. The text says why, for the user.
pub(super) async fn get(
    authority: &str,
    path: &str,
    limit: Duration,
) -> Result<(u16, Vec<u8>), String> {
    match timeout(limit, request(authority, path)).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("no answer within {} s", limit.as_secs())),
    }
}

async fn request(authority: &str, path: &str) -> Result<(u16, Vec<u8>), String> {
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| {
        !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())
    });
    let address = if has_port {
        authority.to_owned()
    } else {
        format!("{authority}:80")
    };
    let failed = |e: std::io::Error| e.to_string();
    let mut stream = TcpStream::connect(&address).await.map_err(failed)?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.map_err(failed)?;
    let mut answer = Vec::new();
    stream
        .take(ANSWER_BYTES)
        .read_to_end(&mut answer)
        .await
        .map_err(failed)?;
    split(&answer).ok_or_else(|| format!("the program at {address} does not speak HTTP"))
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

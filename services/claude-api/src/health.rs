//! The subcommand `claude-api healthcheck`: requests a health page of a running service over HTTP.
//! The container's health check uses it, so the image needs no other HTTP client.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// The time limit of the TCP connect, of each read and of each write. A service that does not
/// answer in this time counts as unhealthy.
const LIMIT: Duration = Duration::from_secs(4);

/// Sends a GET request to `url`, which must begin with `http://`. Returns `Ok` if the answer has
/// the status 200 (OK).
///
/// # Errors
/// The reason in words. The URL is not `http://`, its host does not resolve, the connect or the
/// write failed, or the answer has another status. In the last case, the reason has the answer's
/// first line, or `no answer` if there is none.
pub fn ask(url: &str) -> Result<(), String> {
    let rest = url
        .strip_prefix("http://")
        .ok_or_else(|| format!("{url}: not an http:// URL; give one"))?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let address = authority
        .to_socket_addrs()
        .map_err(|e| format!("{authority}: {e}"))?
        .next()
        .ok_or_else(|| format!("{authority} has no address"))?;
    let failed = |e: std::io::Error| format!("{url}: {e}");
    let mut stream = TcpStream::connect_timeout(&address, LIMIT).map_err(failed)?;
    stream.set_read_timeout(Some(LIMIT)).map_err(failed)?;
    stream.set_write_timeout(Some(LIMIT)).map_err(failed)?;
    write!(
        stream,
        "GET /{path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n"
    )
    .map_err(failed)?;
    let mut answer = String::new();
    // Only the first line is needed, so an error after it does not matter.
    let _ = stream.take(16 * 1024).read_to_string(&mut answer);
    if answer.starts_with("HTTP/1.1 200 ") {
        Ok(())
    } else {
        Err(format!(
            "{url}: {}",
            answer.lines().next().unwrap_or("no answer")
        ))
    }
}

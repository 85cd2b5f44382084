//! `claude-api healthcheck`: requests the health of a running service. The image needs no other
//! program for it.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// The time limit of the connect, of each read and of each write.
const LIMIT: Duration = Duration::from_secs(4);

/// Requests `url` (http only), and checks that the status is 200.
///
/// # Errors
/// The reason in words: the failed step, or the first line of another answer.
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

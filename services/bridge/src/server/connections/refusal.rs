//! The answer to a connection beyond the limit of its peer.

use std::time::Duration;

use protocol::problem::CONTENT_TYPE;
use protocol::{Problem, ProblemType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long the client has to read the answer (1 s).
const TIME: Duration = Duration::from_secs(1);
/// The pause that the answer asks for, in seconds.
const RETRY_AFTER_SECONDS: u64 = 5;

/// Answers 429 (Too Many Requests) without reading the request, and closes the connection. `limit`
/// is the most connections of one peer. Ends within 1 s.
pub(super) async fn refuse(mut stream: TcpStream, limit: usize) {
    let detail = format!(
        "this address has {limit} open connections (the limit); close some, or try again later"
    );
    let problem = Problem::new(ProblemType::TooManyConnections, detail).with("limit", limit);
    let body = serde_json::to_string(&problem).unwrap_or_default();
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 429 Too Many Requests\r\nContent-Type: {CONTENT_TYPE}\r\n\
         Retry-After: {RETRY_AFTER_SECONDS}\r\nCache-Control: no-store\r\nConnection: close\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    );
    let send = async {
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await?;
        // A close with unread bytes would reset the connection before the client has the answer.
        let mut rest = [0; 4096];
        while stream.read(&mut rest).await? > 0 {}
        std::io::Result::Ok(())
    };
    // The client may have left.
    let _ = timeout(TIME, send).await;
}

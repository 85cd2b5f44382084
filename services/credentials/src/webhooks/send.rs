//! One request to a receiver.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, HOST, USER_AGENT};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use protocol::webhook::{SignedHeaders, WebhookHost, WebhookUrl, header};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// The time for the connection to one of several addresses.
const ADDRESS_TIME: Duration = Duration::from_secs(4);
/// The maximum number of bytes of the answer's body that are read. They are read and dropped,
/// because a receiver that is cut while it writes a short answer would log an error.
const ANSWER_BYTES: usize = 64 * 1024;
/// The maximum number of bytes that the HTTP library reads ahead. It bounds the head of the answer,
/// too.
const BUFFER_BYTES: usize = 16 * 1024;

/// The reason why a request failed. The texts have no path of the URL.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendError {
    /// No address accepts a connection.
    #[error("cannot connect to {address}: {error}")]
    Connect {
        /// The last address.
        address: SocketAddr,
        /// The error of that address.
        error: std::io::Error,
    },
    /// The receiver has no trusted certificate for its name.
    #[error("TLS with {host} failed: {error}")]
    Tls {
        /// The host of the URL.
        host: String,
        /// The error of the handshake.
        error: std::io::Error,
    },
    /// The request cannot be built.
    #[error("the request cannot be built: {0}")]
    Request(#[from] http::Error),
    /// The connection broke before the head of the answer.
    #[error("the receiver did not answer: {0}")]
    Http(#[from] hyper::Error),
}

/// Sends `body` to the URL, over a connection to one of `addresses`, and returns the status of the
/// answer. Reads at most 64 KiB of the answer. A dropped call cuts the connection.
///
/// # Errors
/// There was no answer.
pub(super) async fn post(
    url: &WebhookUrl,
    addresses: &[SocketAddr],
    tls: Arc<ClientConfig>,
    headers: &SignedHeaders,
    body: Vec<u8>,
) -> Result<u16, SendError> {
    let tcp = connect(addresses).await?;
    let host = url.host().to_string();
    let failed = |error| SendError::Tls { host, error };
    let name = match url.host() {
        WebhookHost::Address(address) => ServerName::IpAddress((*address).into()),
        WebhookHost::Name(name) => match ServerName::try_from(name.clone()) {
            Ok(name) => name,
            Err(error) => return Err(failed(std::io::Error::other(error))),
        },
    };
    let stream = match TlsConnector::from(tls).connect(name, tcp).await {
        Ok(stream) => stream,
        Err(error) => return Err(failed(error)),
    };
    let SignedHeaders {
        id,
        timestamp,
        signature,
    } = headers;
    let request = http::Request::post(url.target())
        .header(HOST, url.authority())
        .header(CONTENT_TYPE, "application/json")
        .header(USER_AGENT, concat!("cc-bridge/", env!("CARGO_PKG_VERSION")))
        .header(CONNECTION, "close")
        .header(header::ID, id)
        .header(header::TIMESTAMP, timestamp)
        .header(header::SIGNATURE, signature)
        .body(Full::new(Bytes::from(body)))?;
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(BUFFER_BYTES)
        .handshake(TokioIo::new(stream))
        .await?;
    // Both run in this task, so that a dropped call closes the connection.
    let exchange = async {
        let mut answer = sender.send_request(request).await?;
        let status = answer.status().as_u16();
        let mut read = 0;
        // The status in the head decides; a body that is cut changes nothing.
        while let Some(Ok(frame)) = answer.frame().await {
            read += frame.data_ref().map_or(0, Bytes::len);
            if read >= ANSWER_BYTES {
                break;
            }
        }
        Ok(status)
    };
    let mut exchange = std::pin::pin!(exchange);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        biased;
        status = &mut exchange => status,
        // The connection is over, so the exchange ends without waiting.
        _ = &mut connection => exchange.await,
    }
}

/// Connects to the first address that accepts.
async fn connect(addresses: &[SocketAddr]) -> Result<TcpStream, SendError> {
    let mut last = SendError::Connect {
        address: SocketAddr::from(([0, 0, 0, 0], 0)),
        error: std::io::ErrorKind::AddrNotAvailable.into(),
    };
    for &address in addresses {
        let error = match timeout(ADDRESS_TIME, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(error)) => error,
            Err(_) => std::io::ErrorKind::TimedOut.into(),
        };
        last = SendError::Connect { address, error };
    }
    Err(last)
}

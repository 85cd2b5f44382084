//! The opening of one connection to the API.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustix::net::sockopt;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

use super::origin::Origin;
use super::pool::Connection;
use super::proxy::{Proxy, TunnelError};

/// The time for a whole connection, with the proxy and TLS.
const CONNECT_TIME: Duration = Duration::from_secs(10);
/// The time for one of several addresses of a host.
const ADDRESS_TIME: Duration = Duration::from_secs(4);
/// The time without traffic after which the kernel begins to probe the other end, and the time
/// between two probes.
const KEEPALIVE: Duration = Duration::from_secs(15);
/// The maximum number of bytes that the HTTP library reads ahead or keeps unsent for one
/// connection.
const BUFFER_BYTES: usize = 64 * 1024;

/// A stream of bytes to the API.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// The reason why no connection could be opened. The texts have no secret.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No address of the host accepts a connection.
    #[error("cannot connect to {host}: {error}")]
    Tcp {
        /// The host.
        host: String,
        /// The error of the last address.
        error: std::io::Error,
    },
    /// The host has only public addresses, and the API has no TLS.
    #[error("{0} has a public address, to which the credential is not sent without TLS")]
    Public(String),
    /// The proxy opened no tunnel.
    #[error("the proxy opened no tunnel: {0}")]
    Tunnel(#[from] TunnelError),
    /// TLS with this server is not possible.
    #[error("TLS with {host} failed: {error}")]
    Tls {
        /// The host.
        host: String,
        /// The error of the handshake.
        error: std::io::Error,
    },
    /// The connection was not open in time.
    #[error("no connection to {0} within 10 s")]
    Time(String),
    /// The HTTP library refuses the connection.
    #[error("the HTTP connection could not be set up: {0}")]
    Http(#[from] hyper::Error),
}

/// The connector, which opens connections to the API.
#[derive(Debug)]
pub struct Connector {
    origin: Origin,
    tls: Option<Arc<ClientConfig>>,
    proxy: Option<Proxy>,
}

impl Connector {
    /// Creates the connector to `origin`. `tls` must be given if the origin has TLS. A proxy is
    /// used with TLS only, because an API without TLS has an internal address.
    #[must_use]
    pub fn new(origin: Origin, tls: Option<Arc<ClientConfig>>, proxy: Option<Proxy>) -> Self {
        Self {
            proxy: proxy.filter(|_| origin.is_tls()),
            origin,
            tls,
        }
    }

    /// Returns the address of the API.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Opens a connection. A task drives it until the API closes it, the result is dropped, or
    /// `ended` is cancelled.
    ///
    /// # Errors
    /// The host cannot be reached or trusted, or took longer than 10 s.
    pub(super) async fn open(&self, ended: &CancellationToken) -> Result<Connection, ConnectError> {
        let host = || self.origin.host().to_owned();
        let stream = timeout(CONNECT_TIME, self.stream())
            .await
            .map_err(|_| ConnectError::Time(host()))??;
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(BUFFER_BYTES)
            .handshake(TokioIo::new(stream))
            .await?;
        let close = ended.child_token();
        // The request on the connection fails with the same error.
        tokio::spawn(close.clone().run_until_cancelled_owned(connection));
        Ok(Connection {
            sender,
            _close: close.drop_guard(),
        })
    }

    async fn stream(&self) -> Result<Box<dyn Stream>, ConnectError> {
        let host = self.origin.host();
        let tcp = match &self.proxy {
            Some(proxy) => {
                let mut tcp = tcp(proxy.host(), proxy.port(), |_| true).await?;
                proxy
                    .open_tunnel(&mut tcp, host, self.origin.port())
                    .await?;
                tcp
            }
            None => {
                let allows = |address: SocketAddr| self.origin.allows(address.ip());
                tcp(host, self.origin.port(), allows).await?
            }
        };
        let (true, Some(tls)) = (self.origin.is_tls(), &self.tls) else {
            return Ok(Box::new(tcp));
        };
        let failed = |error| ConnectError::Tls {
            host: host.to_owned(),
            error,
        };
        let name = ServerName::try_from(host.to_owned())
            .map_err(|error| failed(std::io::Error::other(error)))?;
        let connector = TlsConnector::from(Arc::clone(tls));
        let stream = Box::pin(connector.connect(name, tcp)).await;
        Ok(Box::new(stream.map_err(failed)?))
    }
}

/// Opens a TCP connection to the first address of a host that `allows` permits and that accepts
/// one.
async fn tcp(
    host: &str,
    port: u16,
    allows: impl Fn(SocketAddr) -> bool,
) -> Result<TcpStream, ConnectError> {
    let failed = |error| ConnectError::Tcp {
        host: host.to_owned(),
        error,
    };
    let mut last = ConnectError::Public(host.to_owned());
    for address in lookup_host((host, port)).await.map_err(failed)? {
        if !allows(address) {
            continue;
        }
        match timeout(ADDRESS_TIME, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                set_options(&stream).map_err(failed)?;
                return Ok(stream);
            }
            Ok(Err(error)) => last = failed(error),
            Err(_) => last = failed(std::io::ErrorKind::TimedOut.into()),
        }
    }
    Err(last)
}

/// Sets TCP_NODELAY and the probes that find a dead connection within a minute.
fn set_options(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, KEEPALIVE)?;
    sockopt::set_tcp_keepintvl(stream, KEEPALIVE)?;
    Ok(sockopt::set_tcp_keepcnt(stream, 3)?)
}

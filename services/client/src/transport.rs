//! The connection below HTTP and WebSocket: TCP, with TLS for a `wss://` address.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::Address;
use crate::tls::{Roots, TlsError, handshake_error};

/// A stream of bytes to a server, which is encrypted if the address is `wss://`. It has no
/// timeouts. Dropping it closes the TCP connection.
#[derive(Debug)]
pub struct Transport(Stream);

#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// The reason why a [`Transport`] could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The TCP connection could not be opened, or broke during the TLS handshake.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// TLS with this server is not possible.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl Transport {
    /// Opens a TCP connection to the first address of the host that accepts one, and encrypts it
    /// if the address is `wss://`. `receive_buffer` is the size of the socket's receive buffer in
    /// bytes, or `None` for the system's default.
    ///
    /// # Errors
    /// No address of the host accepts the connection, or the TLS handshake fails.
    pub async fn connect(
        address: &Address,
        roots: &Roots,
        receive_buffer: Option<u32>,
    ) -> Result<Self, TransportError> {
        let stream = tcp(address, receive_buffer).await?;
        stream.set_nodelay(true)?;
        if !address.is_tls() {
            return Ok(Self(Stream::Plain(stream)));
        }
        let host = address.host();
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| TlsError::Failed(format!("{host:?} is not a host name")))?;
        let connector = TlsConnector::from(roots.config()?);
        match Box::pin(connector.connect(name, stream)).await {
            Ok(stream) => Ok(Self(Stream::Tls(Box::new(stream)))),
            Err(error) => Err(match handshake_error(host, &error) {
                Some(error) => error.into(),
                None => {
                    let reason = format!(
                        "the connection broke during the TLS handshake ({error}); \
                         is this a port for TLS?"
                    );
                    io::Error::new(error.kind(), reason).into()
                }
            }),
        }
    }
}

/// Opens a TCP connection to the first address of the host that accepts one. If none does, returns
/// the error of the last address.
async fn tcp(address: &Address, receive_buffer: Option<u32>) -> io::Result<TcpStream> {
    let mut last = None;
    for to in lookup_host((address.host(), address.port())).await? {
        match tcp_to(to, receive_buffer).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| io::Error::other("the host has no address")))
}

async fn tcp_to(to: SocketAddr, receive_buffer: Option<u32>) -> io::Result<TcpStream> {
    let socket = if to.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    if let Some(bytes) = receive_buffer {
        socket.set_recv_buffer_size(bytes)?;
    }
    socket.connect(to).await
}

impl AsyncRead for Transport {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Stream::Tls(stream) => match Pin::new(stream).poll_read(cx, buffer) {
                // Many servers end TCP without the end of TLS. WebSocket and HTTP have ends of
                // their own, so a cut stream does not look complete (RFC 8446, section 6.1).
                Poll::Ready(Err(e)) if e.kind() == io::ErrorKind::UnexpectedEof => {
                    Poll::Ready(Ok(()))
                }
                result => result,
            },
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

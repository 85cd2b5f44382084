//! The control connection to claude-api: it brings the grants, and takes the reports.
//!
//! This service opens the connection, and opens it again whenever it ends, after 50 ms to 2 s. So
//! no program of the sandbox can take claude-api's place: the sandbox can neither listen on
//! claude-api's port nor open a connection that this service would read.

mod connection;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use grants::Timing;
use retries::Delays;
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::forward::Forwarder;
use crate::table::Table;
use crate::webhooks::Sender;
use connection::{Connection, Ended};

/// The delay after the first failure to reach claude-api, before jitter.
const FIRST_DELAY: Duration = Duration::from_millis(50);
/// The longest delay between two attempts. It is short, because executions wait for their grants
/// meanwhile.
const LONGEST_DELAY: Duration = Duration::from_secs(2);
/// The time for the TCP connection.
const CONNECT_TIME: Duration = Duration::from_secs(3);

/// The keeper of the control connection.
#[derive(Debug)]
pub struct Control {
    /// The host and port of claude-api's control port.
    pub claude_api: String,
    /// The address that this service listens on. The connection comes from it, unless it is any
    /// address.
    pub own: IpAddr,
    /// The grants.
    pub table: Table,
    /// The credential and the reports.
    pub forwarder: Arc<Forwarder>,
    /// The sender of webhooks.
    pub webhooks: Arc<Sender>,
    /// The beats, and the silence after which the connection counts as lost.
    pub timing: Timing,
}

impl Control {
    /// Keeps a connection open until `stop` is cancelled.
    pub async fn run(self, stop: CancellationToken) {
        stop.run_until_cancelled(self.keep()).await;
    }

    async fn keep(self) {
        let mut delays = Delays::new(FIRST_DELAY, LONGEST_DELAY);
        loop {
            let ended = self.connect_once(&mut delays).await;
            let delay = delays.next_delay(None);
            let retry_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
            // The first failure, then each power of two: claude-api may be away for long.
            if matches!(ended, Ended::Version(_)) {
                tracing::error!(
                    claude_api = %self.claude_api,
                    error = %ended,
                    retry_ms,
                    "no control connection to claude-api"
                );
            } else if delays.attempts().is_power_of_two() {
                tracing::warn!(
                    claude_api = %self.claude_api,
                    error = %ended,
                    attempts = delays.attempts(),
                    retry_ms,
                    "no control connection to claude-api; reconnecting"
                );
            }
            tokio::time::sleep(delay).await;
        }
    }

    /// Opens a connection and serves it until it ends. Returns the reason.
    async fn connect_once(&self, delays: &mut Delays) -> Ended {
        let stream = match timeout(CONNECT_TIME, self.connect()).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return error.into(),
            Err(_) => return io::Error::from(io::ErrorKind::TimedOut).into(),
        };
        let connection = Connection::new(
            stream,
            &self.table,
            &self.forwarder,
            &self.webhooks,
            self.timing,
        );
        connection.serve(|| delays.reset()).await
    }

    async fn connect(&self) -> io::Result<TcpStream> {
        let mut last = io::Error::other("the host has no address");
        for address in lookup_host(&self.claude_api).await? {
            match connect_from(self.own, address).await {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    return Ok(stream);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

/// Opens a connection to `address` from `own`, unless the kernel must choose: `own` is any address,
/// of another family, or loopback while `address` is not.
async fn connect_from(own: IpAddr, address: SocketAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    let is_usable = !own.is_unspecified()
        && own.is_ipv4() == address.is_ipv4()
        && (!own.is_loopback() || address.ip().is_loopback());
    if is_usable {
        socket.bind(SocketAddr::new(own, 0))?;
    }
    socket.connect(address).await
}

//! A stand-in for the service `credentials`: a client of claude-api's control port that sends the
//! reports which a test wants, and forwards nothing.
//!
//! ```text
//! let stack = Stack::with(with_credentials(StackOptions::default())).await;
//! let mut fake = FakeCredentials::connect(&stack.api, present(CredentialKind::ApiKey)).await;
//! let registration = fake.grant().await;              // the next grant, which it confirms
//! ```

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use grants::{
    Answer, CredentialKind, CredentialState, Endpoint, Order, Registration, Report, Usage, VERSION,
    parse, to_line,
};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpSocket, TcpStream};

use crate::harness::{Service, StackOptions};

/// The address from which the stand-in connects. It is loopback, and not the address on which
/// claude-api listens.
pub const CREDENTIALS_IP: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
/// The URL of the stand-in, on which nobody listens.
pub const CREDENTIALS_URL: &str = "http://127.0.0.2:9";
/// The time limit of each step.
const PATIENCE: Duration = Duration::from_secs(20);

/// Adds the settings to `options` with which claude-api expects the stand-in. claude-api has no
/// credential of its own then.
#[must_use]
pub fn with_credentials(options: StackOptions) -> StackOptions {
    options
        .env("ANTHROPIC_API_KEY", "")
        .api(format!("--credentials-url={CREDENTIALS_URL}"))
        .api("--credentials-port=0")
}

/// Returns the state of a credential of this kind.
#[must_use]
pub fn present(kind: CredentialKind) -> CredentialState {
    CredentialState::Present {
        kind,
        fingerprint: "one".to_owned(),
    }
}

/// Returns a complete answer of the API with this status for a request of an execution.
#[must_use]
pub fn answer(execution_id: &str, status: u16) -> Answer {
    Answer {
        execution_id: Some(execution_id.to_owned()),
        endpoint: Endpoint::Messages,
        status: Some(status),
        error_type: None,
        complete: true,
        first_byte_ms: Some(5),
        resets_at_ms: None,
        usage: Usage::default(),
        cost_usd: 0.0,
        total_cost_usd: 0.0,
    }
}

/// Opens a connection to claude-api's control port from this address.
///
/// # Panics
/// If the address is not of this machine, or the port is closed.
pub async fn connect_from(from: IpAddr, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((from, 0).into()).expect("an own address");
    socket.connect(to).await.expect("the control port is open")
}

/// A connection as of `credentials`, after the hello of both sides.
#[derive(Debug)]
pub struct FakeCredentials {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
}

impl FakeCredentials {
    /// Connects and reports this credential. Returns after every grant of a running execution was
    /// sent.
    ///
    /// # Panics
    /// If claude-api does not send what the protocol demands.
    pub async fn connect(api: &Service, credential: CredentialState) -> Self {
        Self::reconnect(api, credential).await.0
    }

    /// Connects as [`FakeCredentials::connect`] does. Also returns the orders before
    /// [`Order::Synced`].
    ///
    /// # Panics
    /// If claude-api does not send what the protocol demands.
    pub async fn reconnect(api: &Service, credential: CredentialState) -> (Self, Vec<Order>) {
        let stream = connect_from(CREDENTIALS_IP, api.credentials_addr()).await;
        let mut fake = Self::on(stream);
        let hello = fake.order().await;
        assert_eq!(hello, Some(Order::Hello { version: VERSION }));
        fake.report(&Report::Hello {
            version: VERSION,
            credential,
            upstream: "https://api.example".to_owned(),
        })
        .await;
        let mut orders = Vec::new();
        loop {
            match fake.order().await.expect("an order") {
                Order::Synced => return (fake, orders),
                order => orders.push(order),
            }
        }
    }

    /// Speaks on an open connection, without a hello.
    #[must_use]
    pub fn on(stream: TcpStream) -> Self {
        let (reader, writer) = stream.into_split();
        Self {
            reader: BufReader::new(reader),
            writer,
        }
    }

    /// Returns the next order that is no beat. `None` if claude-api closed the connection.
    ///
    /// # Panics
    /// If none arrives in time, or a line is no order.
    pub async fn order(&mut self) -> Option<Order> {
        loop {
            let mut line = Vec::new();
            let read = self.reader.read_until(b'\n', &mut line);
            let read = tokio::time::timeout(PATIENCE, read).await;
            // A reset is an end, too.
            match read.expect("an order arrives") {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
            match parse(&line).expect("an order") {
                Order::Beat => {}
                order => return Some(order),
            }
        }
    }

    /// Returns the registration in the next order, which must be a grant, and confirms it.
    ///
    /// # Panics
    /// If the next order is another one.
    pub async fn grant(&mut self) -> Registration {
        let order = self.order().await;
        let Some(Order::Grant(registration)) = order else {
            panic!("no grant: {order:?}")
        };
        let execution_id = registration.execution_id.clone();
        self.report(&Report::Granted { execution_id }).await;
        registration
    }

    /// Waits for the revocation of an execution's grant, and answers it.
    ///
    /// # Panics
    /// If the next order is another one.
    pub async fn revocation(&mut self, execution: &str) {
        let order = self.order().await;
        let execution_id = execution.to_owned();
        assert_eq!(
            order,
            Some(Order::Revoke {
                execution_id: execution_id.clone()
            })
        );
        self.report(&Report::Revoked { execution_id }).await;
    }

    /// Sends a report.
    ///
    /// # Panics
    /// If claude-api has closed the connection.
    pub async fn report(&mut self, report: &Report) {
        self.send(to_line(report).as_bytes())
            .await
            .expect("the connection is open");
    }

    /// Sends bytes unchanged.
    ///
    /// # Errors
    /// claude-api has closed the connection.
    pub async fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.writer.write_all(bytes).await
    }
}

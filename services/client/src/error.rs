//! The errors of a [`Client`](crate::Client). Their messages tell people what to do.

use std::time::Duration;

use protocol::rpc::{RpcError, code};

use crate::{OutputError, TlsError};

/// The reason why a connection to a bridge, a request or a [`Run`](crate::Run) failed. The type is
/// `Clone`, because the loss of one connection can end several runs.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// The address of the bridge is not a valid `ws://` or `wss://` address. Holds the message for
    /// people.
    #[error("{0}")]
    Address(String),
    /// No bridge answers at the address, or the bridge cannot serve this client now. A retry may
    /// succeed.
    #[error("no bridge answers at {url}: {reason}")]
    Unreachable {
        /// The address of the bridge.
        url: String,
        /// The reason of the failure, for people.
        reason: String,
    },
    /// The server at the address refuses the connection, for example because of the host name in
    /// the address. A retry does not help.
    #[error("{url} refuses the connection: {reason}")]
    Refused {
        /// The address of the bridge.
        url: String,
        /// The reason that the server gave, for people.
        reason: String,
    },
    /// The bridge does not let this client in. The client has no token, or its token is wrong,
    /// expired or removed. A retry does not help, and the client makes none.
    #[error("{url} refuses access: {reason}")]
    Unauthorized {
        /// The address of the bridge.
        url: String,
        /// The reason that the bridge gave and what to do, for people.
        reason: String,
        /// Whether the client has sent a token.
        token_sent: bool,
    },
    /// The bridge knows the client's token and does not let the client in, for example because of
    /// the token's role. A retry does not help, and the client makes none.
    #[error("{url} forbids access: {reason}")]
    Forbidden {
        /// The address of the bridge.
        url: String,
        /// The reason that the bridge gave, for people.
        reason: String,
    },
    /// The bridge has no room for this client now (HTTP 429 or 503). A retry after the pause may
    /// succeed.
    #[error("{url} is busy: {reason}")]
    Busy {
        /// The address of the bridge.
        url: String,
        /// The reason that the bridge gave, for people.
        reason: String,
        /// The pause that the bridge asked for with the header `Retry-After`.
        retry_after: Option<Duration>,
    },
    /// No TLS connection to the server is possible, for example because its certificate is not
    /// trusted. A retry does not help.
    #[error("no TLS connection to {url}: {error}")]
    Tls {
        /// The address of the bridge.
        url: String,
        /// The reason of the failure.
        error: TlsError,
    },
    /// The bridge refused a request with this JSON-RPC error, which has a code and a reason for
    /// programs.
    #[error("{}", .0.message)]
    Rpc(RpcError),
    /// The connection was lost, and the client could not reconnect within
    /// [`Options::give_up`](crate::Options::give_up). The executions continue.
    #[error("lost the bridge and could not reconnect within {} s: {reason}", .after.as_secs())]
    GaveUp {
        /// The time for which the client tried to reconnect.
        after: Duration,
        /// The reason of the last failed attempt, for people.
        reason: String,
    },
    /// The bridge did not answer the request within this time
    /// ([`Options::answer_timeout`](crate::Options::answer_timeout)). The request may still take
    /// effect.
    #[error("the bridge did not answer within {} s", .0.as_secs())]
    NoAnswer(Duration),
    /// The bridge sent a message that `docs/protocol.md` does not allow, its protocol has another
    /// version, or it closed the connection for a mistake of this client. Holds the detail.
    #[error("the bridge broke the protocol: {0}")]
    Protocol(String),
    /// The received output is incomplete or was changed, because bytes are missing or its length or
    /// CRC-32 differs from the terminal status.
    #[error("the output is incomplete or broken: {0}")]
    Output(#[from] OutputError),
    /// The request is larger than the messages that the bridge accepts, and was not sent.
    #[error("the request has {bytes} bytes; the bridge accepts at most {limit}")]
    TooLarge {
        /// The size of the request, in bytes.
        bytes: usize,
        /// The maximum size of a message to the bridge, in bytes.
        limit: usize,
    },
    /// The client was closed or dropped, or a newer [`Run`](crate::Run) of this client receives the
    /// same execution instead.
    #[error("the client was closed, or a newer view of the same execution replaced this one")]
    Closed,
}

impl Error {
    /// Returns whether the same request may succeed a moment later. True if the bridge cannot be
    /// reached, is busy, has too many sessions (JSON-RPC code -32001), or cannot reach claude-api
    /// (-32005). False for all other errors.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Busy { .. } => true,
            Self::Rpc(e) => matches!(e.code, code::TOO_MANY_SESSIONS | code::UNAVAILABLE),
            _ => false,
        }
    }

    /// Returns whether the bridge does not let this client in. Then every later attempt with the
    /// same token fails too.
    #[must_use]
    pub fn is_refused_access(&self) -> bool {
        match self {
            Self::Unauthorized { .. } | Self::Forbidden { .. } => true,
            Self::Rpc(e) => e.code == code::NOT_AUTHORISED,
            _ => false,
        }
    }

    /// Returns the pause that the bridge asked for before another attempt to connect. `None` if it
    /// asked for none.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

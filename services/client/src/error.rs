//! The errors of a client. Their messages are for people who have to act on them.

use std::time::Duration;

use protocol::rpc::{RpcError, code};

use crate::OutputError;

/// An error of the client. `Clone`, because a lost connection ends every run of its session.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// The text is not the address of a bridge.
    #[error("{0}")]
    Address(String),
    /// No bridge answers at the address. A retry may succeed.
    #[error("no bridge answers at {url}: {reason}")]
    Unreachable {
        /// The address.
        url: String,
        /// The reason.
        reason: String,
    },
    /// The server at the address refuses the connection. A retry does not help.
    #[error("{url} refuses the connection: {reason}")]
    Refused {
        /// The address.
        url: String,
        /// The reason that the server gave.
        reason: String,
    },
    /// The bridge answered a request with an error.
    #[error("{}", .0.message)]
    Rpc(RpcError),
    /// The connection was lost, and the client could not reconnect in time.
    #[error("lost the bridge and could not reconnect within {} s: {reason}", .after.as_secs())]
    GaveUp {
        /// The time for which the client tried.
        after: Duration,
        /// The reason of the last failure.
        reason: String,
    },
    /// The request did not get an answer in time.
    #[error("the bridge did not answer within {} s", .0.as_secs())]
    NoAnswer(Duration),
    /// The bridge sent a message that `docs/protocol.md` does not allow.
    #[error("the bridge broke the protocol: {0}")]
    Protocol(String),
    /// The received output is inconsistent.
    #[error("the output is incomplete or broken: {0}")]
    Output(#[from] OutputError),
    /// The request exceeds the bridge's limit.
    #[error("the request has {bytes} bytes; the bridge accepts at most {limit}")]
    TooLarge {
        /// The size of the request, in bytes.
        bytes: usize,
        /// The maximum size of a message to the bridge, in bytes.
        limit: usize,
    },
    /// A newer run of this client views the same execution, or the client was closed.
    #[error("the client was closed, or a newer view of the same execution replaced this one")]
    Closed,
}

impl Error {
    /// Returns whether a retry may succeed a moment later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Rpc(e) => matches!(e.code, code::TOO_MANY_SESSIONS | code::UNAVAILABLE),
            _ => false,
        }
    }
}

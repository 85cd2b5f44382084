//! The errors of a client. Their texts are for a person who has to act on them.

use std::time::Duration;

use protocol::rpc::{RpcError, code};

use crate::OutputError;

/// An error of the client. `Clone`, because a lost connection ends every run of its session.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// The address is not one of a bridge.
    #[error("{0}")]
    Address(String),
    /// No bridge answers there, or not yet. A retry may succeed.
    #[error("no bridge answers at {url}: {why}")]
    Unreachable {
        /// The address that was tried.
        url: String,
        /// What happened.
        why: String,
    },
    /// The server there refuses. A retry does not help.
    #[error("{url} refuses the connection: {why}")]
    Refused {
        /// The address that was tried.
        url: String,
        /// The reason that it gave.
        why: String,
    },
    /// The bridge answered a request with an error.
    #[error("{}", .0.message)]
    Rpc(RpcError),
    /// The connection was lost, and the client could not reconnect in time.
    #[error("the bridge was lost and did not come back within {} s: {why}", .after.as_secs())]
    GaveUp {
        /// How long the client tried.
        after: Duration,
        /// What happened last.
        why: String,
    },
    /// The request did not get an answer in time.
    #[error("the bridge did not answer within {} s", .0.as_secs())]
    NoAnswer(Duration),
    /// The bridge sent a message that `docs/protocol.md` does not allow.
    #[error("the bridge broke the protocol: {0}")]
    Protocol(String),
    /// The pieces of the output do not fit together.
    #[error("the output is not whole: {0}")]
    Output(#[from] OutputError),
    /// The request is larger than the bridge takes.
    #[error("the request has {bytes} bytes; the bridge takes at most {limit}")]
    TooLarge {
        /// The size of the request, in bytes.
        bytes: usize,
        /// The longest message that the bridge takes, in bytes.
        limit: usize,
    },
    /// Another run of this client views the same execution now, or the client was closed.
    #[error("this view was closed or replaced by another of the same execution")]
    Closed,
}

impl Error {
    /// Whether a retry may succeed a moment later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Rpc(e) => matches!(e.code, code::TOO_MANY_SESSIONS | code::UNAVAILABLE),
            _ => false,
        }
    }
}

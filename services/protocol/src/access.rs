//! Access to the services: tokens, roles, tickets and shares (docs/protocol.md, "Access").
//!
//! - A [`Token`] is a secret that a client sends with each request. claude-api knows only its
//!   [`SecretHash`].
//! - A [`Role`] says which requests a token may send.
//! - [`Me`] describes to whom a token belongs.
//! - A [`Ticket`] opens one WebSocket session for a web page, which cannot send headers there.
//! - A [`Share`] opens one execution to somebody who has no token of the operator.
//! - [`ShareParts`] are the parts of a limit that shares may use.

mod role;
mod share;
mod share_parts;
mod ticket;
mod token;

pub use role::Role;
pub use share::{Share, ShareRequest, ShareRole};
pub use share_parts::ShareParts;
pub use ticket::{Redeem, Redeemed, Ticket, TicketRequest};
pub use token::{BadHash, BadToken, Secret, SecretHash, Token, base64url, from_base64url};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ExecutionId;

/// The answer to `GET /v1/me`: to whom the token of the request belongs, and what it may do.
///
/// Without a token file, every client is the same one: role `admin`, and all other fields null.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Me {
    /// The principal whose executions the token opens. Null without a token file, and for a share.
    pub principal: Option<String>,
    /// The requests that the token may send.
    pub role: Role,
    /// The name of the token in the operator's file. Null without a token file, and for a share.
    pub name: Option<String>,
    /// When the token stops working. Null if it does not expire.
    pub expires: Option<Timestamp>,
    /// The only execution that the token opens, if the token is a share. Null otherwise.
    pub share: Option<ExecutionId>,
    /// The key by which a bridge counts what one principal and its shares use. It tells nothing
    /// about the principal, and stays the same when claude-api restarts. Null without a token file.
    #[serde(default)]
    pub quota: Option<String>,
    /// The key by which a bridge counts the sessions of one share. It tells nothing about the
    /// share. Null if the token is no share.
    #[serde(default)]
    pub share_quota: Option<String>,
}

impl Me {
    /// Creates the description of every client of a service without a token file.
    #[must_use]
    pub fn without_tokens() -> Self {
        Self {
            principal: None,
            role: Role::Admin,
            name: None,
            expires: None,
            share: None,
            quota: None,
            share_quota: None,
        }
    }
}

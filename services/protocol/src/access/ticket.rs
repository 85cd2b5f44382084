//! Tickets, with which a web page opens a WebSocket session.

use serde::{Deserialize, Serialize};

use super::Me;

/// The body of `POST /v1/tickets`, with which a bridge requests a ticket for its client.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TicketRequest {
    /// The header `Origin` of the client's request. The ticket works only with this origin. `None`
    /// if the client sent no such header; the ticket then works only without one.
    #[serde(default)]
    pub origin: Option<String>,
}

/// A ticket, which opens one WebSocket session and works once. It is for clients that cannot send
/// the header `Authorization` there, such as web pages.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ticket {
    /// The secret text of the ticket: 43 characters of base64url.
    pub ticket: String,
    /// The lifetime of the ticket, in seconds.
    pub expires_seconds: u64,
}

impl std::fmt::Debug for Ticket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            ticket: _,
            expires_seconds,
        } = self;
        let mut shown = f.debug_struct("Ticket");
        shown.field("expires_seconds", expires_seconds).finish()
    }
}

/// The body of `POST /v1/tickets/redeem`, with which a bridge uses up the ticket of a client.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Redeem {
    /// The ticket that the client sent.
    pub ticket: String,
    /// The header `Origin` of the client's WebSocket handshake, if there was one.
    #[serde(default)]
    pub origin: Option<String>,
}

impl std::fmt::Debug for Redeem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { ticket: _, origin } = self;
        f.debug_struct("Redeem").field("origin", origin).finish()
    }
}

/// The answer to a valid ticket: a token with which the bridge makes the calls of this session.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Redeemed {
    /// A token that stands for the one with which the ticket was requested. It stops working
    /// together with that one.
    ///
    /// It also ends 2 min after its creation or its last renewal, and 12 h after its creation.
    pub token: String,
    /// The secret that renews the token and ends it, with `PUT` and `DELETE` of
    /// `/v1/tickets/session`. It opens nothing else.
    pub renewal: String,
    /// To whom the token belongs.
    pub me: Me,
}

impl Redeemed {
    /// The time after which a bridge renews the token, in seconds. Several renewals may fail before
    /// the token ends.
    pub const RENEWAL_SECONDS: u64 = 15;
}

impl std::fmt::Debug for Redeemed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            token: _,
            renewal: _,
            me,
        } = self;
        f.debug_struct("Redeemed").field("me", me).finish()
    }
}

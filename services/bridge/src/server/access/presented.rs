//! The credential that a request presents: the header `Authorization`, or for a WebSocket handshake
//! a subprotocol, because web pages cannot send headers there. The URL is never read.

use http::HeaderMap;
use http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use protocol::Secret;

use crate::access::credential::Credential;

/// The WebSocket subprotocol of the bridge, which it selects.
pub(in crate::server) const SUBPROTOCOL: &str = "ccb.v1";
/// The start of a subprotocol that carries a token. The bridge never selects it.
const BEARER: &str = "ccb.bearer.";
/// The start of a subprotocol that carries a ticket. The bridge never selects it.
const TICKET: &str = "ccb.ticket.";

/// The credential of a request.
#[derive(Debug, Clone)]
pub(in crate::server) enum Presented {
    /// The request has no credential.
    Nothing,
    /// The request has a token or a share.
    Token(Credential),
    /// The WebSocket handshake has a ticket, which works once.
    Ticket(Secret),
    /// The header or the subprotocol has no valid credential. The text is for the client. It counts
    /// only if claude-api has tokens, because a reverse proxy may use the header for itself.
    Malformed(&'static str),
}

impl Presented {
    /// Returns the token, if the request has one.
    pub(in crate::server) fn credential(&self) -> Option<&Credential> {
        match self {
            Self::Token(credential) => Some(credential),
            Self::Nothing | Self::Ticket(_) | Self::Malformed(_) => None,
        }
    }
}

/// Reads the credential of a request. Subprotocols are read only if `is_handshake` is true.
///
/// # Errors
/// The text for the client if the credential is ambiguous: it is given twice, or a secret
/// subprotocol is offered without `ccb.v1`.
pub(in crate::server) fn presented(
    headers: &HeaderMap,
    is_handshake: bool,
) -> Result<Presented, &'static str> {
    let mut authorization = headers.get_all(AUTHORIZATION).iter();
    let in_header = match (authorization.next(), authorization.next()) {
        (None, _) => Presented::Nothing,
        (Some(_), Some(_)) => return Err("the header Authorization is given twice; send one"),
        (Some(value), None) => match value.to_str().ok().and_then(bearer) {
            Some(secret) => Presented::Token(secret.into()),
            None => Presented::Malformed("Authorization is malformed; send Bearer TOKEN"),
        },
    };
    if !is_handshake {
        return Ok(in_header);
    }
    let mut offers_own = false;
    let mut in_subprotocol = Presented::Nothing;
    let values = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    let values = values.filter_map(|value| value.to_str().ok());
    for item in values.flat_map(|value| value.split(',')).map(str::trim) {
        offers_own |= item == SUBPROTOCOL;
        let secret = match (item.strip_prefix(BEARER), item.strip_prefix(TICKET)) {
            (Some(token), _) => token
                .parse()
                .map(|secret: Secret| Presented::Token(secret.into())),
            (_, Some(ticket)) => ticket.parse().map(Presented::Ticket),
            (None, None) => continue,
        };
        if !matches!(in_subprotocol, Presented::Nothing) {
            return Err("two subprotocols have a secret; offer one");
        }
        let malformed = Presented::Malformed("the secret in the subprotocol is malformed");
        in_subprotocol = secret.unwrap_or(malformed);
    }
    match (&in_header, &in_subprotocol) {
        (_, Presented::Nothing) => Ok(in_header),
        (Presented::Nothing, _) if offers_own => Ok(in_subprotocol),
        (Presented::Nothing, _) => Err("a subprotocol has a secret; offer ccb.v1 beside it"),
        _ => Err("the header Authorization and a subprotocol both have a secret; send one"),
    }
}

/// Returns the secret in a value of the header `Authorization` of the scheme Bearer (RFC 6750,
/// section 2.1). The name of the scheme may be in upper or lower case (RFC 9110, section 11.1).
fn bearer(value: &str) -> Option<Secret> {
    let (scheme, secret) = value.split_once(' ')?;
    let is_bearer = scheme.eq_ignore_ascii_case("bearer");
    is_bearer.then(|| secret.trim().parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the kind and the secret of the credential in these headers.
    fn of(headers: &[(&'static str, &'static str)], is_handshake: bool) -> String {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        match presented(&map, is_handshake) {
            Ok(Presented::Nothing) => "nothing".to_owned(),
            Ok(Presented::Token(token)) => format!("token {}", token.secret().expose()),
            Ok(Presented::Ticket(ticket)) => format!("ticket {}", ticket.expose()),
            Ok(Presented::Malformed(_)) => "malformed".to_owned(),
            Err(_) => "error".to_owned(),
        }
    }

    const HEADER: &str = "authorization";
    const OFFER: &str = "sec-websocket-protocol";

    #[test]
    fn the_header_has_one_bearer_token() {
        for (headers, expected) in [
            (&[][..], "nothing"),
            (&[(HEADER, "Bearer ccb_x-1")], "token ccb_x-1"),
            (&[(HEADER, "bearer  x")], "token x"),
            (&[(HEADER, "BEARER x")], "token x"),
            (&[(HEADER, "Bearer")], "malformed"),
            (&[(HEADER, "Bearer ")], "malformed"),
            (&[(HEADER, "Bearer x y")], "malformed"),
            (&[(HEADER, "Bearer x,y")], "malformed"),
            (&[(HEADER, "Bearerx")], "malformed"),
            (&[(HEADER, "x")], "malformed"),
            (&[(HEADER, "Basic x")], "malformed"),
            (&[(HEADER, "Bearer x"), (HEADER, "Bearer x")], "error"),
        ] {
            assert_eq!(of(headers, false), expected, "{headers:?}");
            assert_eq!(of(headers, true), expected, "{headers:?}");
        }
        let long = "Bearer ".to_owned() + &"x".repeat(513);
        let mut map = HeaderMap::new();
        map.append(HEADER, long.parse().unwrap());
        let long = presented(&map, false);
        assert!(matches!(long, Ok(Presented::Malformed(_))), "{long:?}");
    }

    #[test]
    fn a_subprotocol_beside_ccb_v1_has_one_token_or_ticket() {
        for (headers, expected) in [
            (&[(OFFER, "ccb.v1")][..], "nothing"),
            (&[(OFFER, "ccb.v1, ccb.bearer.x")], "token x"),
            (&[(OFFER, "ccb.bearer.x,ccb.v1")], "token x"),
            (&[(OFFER, "ccb.v1"), (OFFER, "ccb.ticket.y")], "ticket y"),
            (&[(OFFER, "other, ccb.v1, ccb.ticket.y")], "ticket y"),
            (&[(OFFER, "ccb.v1, ccb.ticket.")], "malformed"),
            (&[(OFFER, "ccb.v1, ccb.bearer.a=b")], "malformed"),
            (&[(OFFER, "ccb.bearer.x")], "error"),
            (&[(OFFER, "ccb.v1, ccb.bearer.x, ccb.bearer.x")], "error"),
            (&[(OFFER, "ccb.v1, ccb.bearer.x, ccb.ticket.y")], "error"),
            (
                &[(OFFER, "ccb.v1, ccb.bearer.x"), (HEADER, "Bearer x")],
                "error",
            ),
            (
                &[(OFFER, "ccb.v1, ccb.ticket.x"), (HEADER, "Basic x")],
                "error",
            ),
        ] {
            assert_eq!(of(headers, true), expected, "{headers:?}");
        }
        let offer = [(OFFER, "ccb.v1, ccb.bearer.x")];
        assert_eq!(of(&offer, false), "nothing", "not a handshake");
    }
}

//! The errors of a connection that a server refuses or ends, from HTTP answers and close frames.

use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{HeaderMap, Response, StatusCode};
use protocol::ProblemType;
use serde_json::Value;

use crate::Error;
use crate::connection::{Close, ConnectError};

/// The longest pause that a server can ask for, in seconds: one day.
const MAX_PAUSE_SECONDS: u64 = 24 * 3600;

/// The server that a client connects to, as its errors name it.
#[derive(Debug)]
pub(crate) struct Peer {
    /// The address of the server.
    pub(crate) url: String,
    /// Whether the client sends a token to it.
    pub(crate) token_sent: bool,
}

impl Peer {
    /// Converts a failed attempt to connect to an error for the client's user. If the server
    /// refused the upgrade, the message has the detail of its answer.
    ///
    /// An error is transient if the server cannot be reached, or answered with the HTTP status 429,
    /// or with 500 or more. Any other error is final.
    pub(crate) fn connect_error(&self, error: ConnectError) -> Error {
        match error {
            ConnectError::Refused(response) => self.refused(&response),
            ConnectError::Tls(error) => Error::Tls {
                url: self.url.clone(),
                error,
            },
            error @ ConnectError::Io(_) => self.unreachable(error.to_string()),
            error @ ConnectError::NotWebSocket(_) => {
                self.unreachable(format!("{error}; a port for TLS needs wss://"))
            }
        }
    }

    /// Converts a close frame with the code 1008 (policy violation) to an error. Its reason says
    /// whether it is about the token.
    pub(crate) fn closed_for_policy(&self, close: &Close) -> Error {
        let reason = close.reason.to_lowercase();
        let is_about_token = ["token", "authori"]
            .iter()
            .any(|word| reason.contains(word));
        if is_about_token || reason.is_empty() {
            return self.unauthorized(&format!("the bridge ended the session ({close})"));
        }
        Error::Protocol(format!("the bridge closed the connection ({close})"))
    }

    fn refused(&self, response: &Response<Vec<u8>>) -> Error {
        let status = response.status();
        // Not as `protocol::Problem`: a later bridge may have types that this client does not know.
        let problem: Value = serde_json::from_slice(response.body()).unwrap_or_default();
        let is = |kind: ProblemType| problem["type"] == kind.as_str();
        let reason = match problem["detail"].as_str() {
            Some(detail) => format!("{detail} (HTTP {status})"),
            None => format!("HTTP {status}"),
        };
        let url = self.url.clone();
        let retry_after = retry_after(response.headers());
        match status {
            StatusCode::UNAUTHORIZED if is(ProblemType::FromBox) => Error::Unauthorized {
                url,
                reason,
                token_sent: self.token_sent,
            },
            StatusCode::UNAUTHORIZED => self.unauthorized(&reason),
            StatusCode::FORBIDDEN
                if is(ProblemType::ForeignHost) || is(ProblemType::ForeignOrigin) =>
            {
                Error::Refused { url, reason }
            }
            StatusCode::FORBIDDEN => Error::Forbidden { url, reason },
            StatusCode::TOO_MANY_REQUESTS => Error::Busy {
                url,
                reason,
                retry_after,
            },
            StatusCode::SERVICE_UNAVAILABLE if retry_after.is_some() => Error::Busy {
                url,
                reason,
                retry_after,
            },
            status if status.is_server_error() => Error::Unreachable { url, reason },
            _ if problem["detail"].is_string() => Error::Refused { url, reason },
            _ => Error::Refused {
                url,
                reason: format!("{reason}: is this the address of a bridge?"),
            },
        }
    }

    fn unreachable(&self, reason: String) -> Error {
        Error::Unreachable {
            url: self.url.clone(),
            reason,
        }
    }

    fn unauthorized(&self, reason: &str) -> Error {
        let advice = if self.token_sent {
            "ask the bridge's operator for a new token"
        } else {
            "connect with a token, which the bridge's operator makes"
        };
        Error::Unauthorized {
            url: self.url.clone(),
            reason: format!("{reason}; {advice}"),
            token_sent: self.token_sent,
        }
    }
}

/// Returns the pause that the header `Retry-After` asks for, at most a day. `None` if the header is
/// missing or has no number of seconds.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?;
    let seconds: u64 = text.trim().parse().ok()?;
    Some(Duration::from_secs(seconds.min(MAX_PAUSE_SECONDS)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(token_sent: bool) -> Peer {
        Peer {
            url: "ws://b/ws".to_owned(),
            token_sent,
        }
    }

    fn refused(status: u16, retry_after: Option<&str>, body: &str) -> Error {
        let mut response = Response::builder().status(status);
        if let Some(pause) = retry_after {
            response = response.header(RETRY_AFTER, pause);
        }
        let response = response.body(body.as_bytes().to_vec()).unwrap();
        peer(true).connect_error(ConnectError::Refused(Box::new(response)))
    }

    #[test]
    fn each_status_of_a_refused_handshake_has_its_error() {
        let detail = |kind: &str| format!(r#"{{"type":"{kind}","detail":"because"}}"#);
        let name = |error: &Error| match error {
            Error::Unauthorized { .. } => "unauthorized",
            Error::Forbidden { .. } => "forbidden",
            Error::Refused { .. } => "refused",
            Error::Busy { .. } => "busy",
            Error::Unreachable { .. } => "unreachable",
            _ => "other",
        };
        for (status, pause, kind, expected, transient) in [
            (401, None, "unauthorized", "unauthorized", false),
            (401, None, "from-the-box", "unauthorized", false),
            (401, None, "", "unauthorized", false),
            (403, None, "forbidden", "forbidden", false),
            (403, None, "a-later-type", "forbidden", false),
            (403, None, "foreign-host", "refused", false),
            (403, None, "foreign-origin", "refused", false),
            (400, None, "", "refused", false),
            (429, Some("7"), "too-many-attempts", "busy", true),
            (429, None, "", "busy", true),
            (503, Some("7"), "stopping", "busy", true),
            (503, None, "stopping", "unreachable", true),
            (502, None, "", "unreachable", true),
        ] {
            let error = refused(status, pause, &detail(kind));
            assert_eq!(name(&error), expected, "{status} {kind}: {error}");
            assert_eq!(error.is_transient(), transient, "{status} {kind}");
            assert!(error.to_string().contains("because"), "{error}");
        }
        let plain = refused(404, None, "<html>").to_string();
        assert!(plain.contains("is this the address"), "{plain}");
    }

    #[test]
    fn a_pause_is_a_number_of_seconds_and_at_most_a_day() {
        let pause = |text| refused(429, Some(text), "").retry_after();
        assert_eq!(pause("7"), Some(Duration::from_secs(7)));
        assert_eq!(pause("999999999999"), Some(Duration::from_secs(86_400)));
        for bad in ["", "-1", "soon", "Fri, 31 Dec 1999 23:59:59 GMT"] {
            assert_eq!(pause(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_close_for_policy_is_about_the_token_if_its_reason_says_so() {
        let close = |reason: &str| {
            let reason = reason.to_owned();
            peer(true).closed_for_policy(&Close { code: 1008, reason })
        };
        for reason in ["the token was removed", "Unauthorized", ""] {
            let error = close(reason);
            assert!(error.is_refused_access(), "{reason}: {error}");
        }
        assert!(matches!(close("too many frames"), Error::Protocol(_)));
    }

    #[test]
    fn the_advice_depends_on_whether_a_token_was_sent() {
        let error = peer(false).unauthorized("why").to_string();
        assert!(error.contains("connect with a token"), "{error}");
        let error = peer(true).unauthorized("why").to_string();
        assert!(error.contains("a new token"), "{error}");
    }
}

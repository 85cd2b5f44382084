//! Answers to requests that are not forwarded, in the form of the Messages API, so that the CLI
//! shows their text.

use std::fmt;

use http::StatusCode;
use serde_json::json;

/// The answer to a request that is not forwarded, or whose forwarding failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: StatusCode,
    /// The member `error.type`.
    pub kind: &'static str,
    /// The member `error.message`, for the person who reads the CLI's output.
    pub message: String,
    /// Whether the CLI may send the same request again.
    pub retry: Retry,
}

/// Whether a client may repeat a refused request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// After a second (`retry-after: 1`).
    AfterOneSecond,
    /// The client decides.
    Free,
    /// Never: the same request gets the same answer (`x-should-retry: false`).
    Never,
}

impl Refusal {
    /// Returns the refusal of a request that is malformed or not allowed (400).
    pub fn invalid(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            kind: "invalid_request_error",
            message: message.into(),
            retry: Retry::Never,
        }
    }

    /// Returns the refusal of a member in a body (403).
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::FORBIDDEN,
            kind: "permission_error",
            message: message.into(),
            retry: Retry::Never,
        }
    }

    /// Returns the answer for a path that is not forwarded (404).
    #[must_use]
    pub fn not_found() -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            kind: "not_found_error",
            message: "this path of the API is not forwarded".to_owned(),
            retry: Retry::Never,
        }
    }

    /// Returns the answer for a method that is not forwarded (405).
    #[must_use]
    pub fn method_not_allowed() -> Self {
        Self {
            status: StatusCode::METHOD_NOT_ALLOWED,
            kind: "invalid_request_error",
            message: "this method is not forwarded for this path".to_owned(),
            retry: Retry::Never,
        }
    }

    /// Returns the answer for a missing or unknown grant (401). It is the same for each cause.
    #[must_use]
    pub fn unauthorized() -> Self {
        Self {
            status: StatusCode::UNAUTHORIZED,
            kind: "authentication_error",
            message: "invalid grant".to_owned(),
            retry: Retry::Never,
        }
    }

    /// Returns the answer for a grant whose cost limit is reached (402).
    #[must_use]
    pub fn cost_limit() -> Self {
        Self {
            status: StatusCode::PAYMENT_REQUIRED,
            kind: "billing_error",
            message: "the cost limit of this execution or of its principal is reached".to_owned(),
            retry: Retry::Never,
        }
    }

    /// Returns the answer for a grant whose open requests may reach its cost limit (429). The limit
    /// is known to be reached, or not, once they have ended.
    #[must_use]
    pub fn open_costs() -> Self {
        Self {
            status: StatusCode::TOO_MANY_REQUESTS,
            kind: "rate_limit_error",
            message:
                "the open requests of this execution may reach its cost limit; wait until one \
                      has ended"
                    .to_owned(),
            retry: Retry::AfterOneSecond,
        }
    }

    /// Returns the answer for a grant that has too many open requests (429).
    #[must_use]
    pub fn too_many_requests(most: usize) -> Self {
        Self {
            status: StatusCode::TOO_MANY_REQUESTS,
            kind: "rate_limit_error",
            message: format!("this execution already has {most} open requests (the limit)"),
            retry: Retry::AfterOneSecond,
        }
    }

    /// Returns the answer while claude-api has not sent the grants, or while there is no usable
    /// credential (503).
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            kind: "api_error",
            message: message.into(),
            retry: Retry::AfterOneSecond,
        }
    }

    /// Returns the answer when the API cannot be reached or answers in a way that is not forwarded
    /// (502).
    pub fn bad_gateway(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_GATEWAY,
            kind: "api_error",
            message: message.into(),
            retry: Retry::Free,
        }
    }

    /// Returns the names and values of the answer's headers, without those about its body and its
    /// connection.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let retry = match self.retry {
            Retry::AfterOneSecond => Some(("retry-after", "1")),
            Retry::Free => None,
            Retry::Never => Some(("x-should-retry", "false")),
        };
        let allow =
            (self.status == StatusCode::METHOD_NOT_ALLOWED).then_some(("allow", "GET, HEAD, POST"));
        [("content-type", "application/json")]
            .into_iter()
            .chain(retry)
            .chain(allow)
    }

    /// Returns the body of the answer.
    #[must_use]
    pub fn body(&self) -> String {
        let error = json!({"type": self.kind, "message": self.message});
        json!({"type": "error", "error": error}).to_string()
    }

    /// Returns the whole answer as the bytes of HTTP/1.1, which end the connection.
    #[must_use]
    pub fn to_http(&self) -> String {
        let body = self.body();
        let mut answer = format!("HTTP/1.1 {}\r\n", self.status);
        for (name, value) in self.headers() {
            answer.push_str(&format!("{name}: {value}\r\n"));
        }
        let length = body.len();
        answer.push_str(&format!(
            "content-length: {length}\r\nconnection: close\r\n\r\n{body}"
        ));
        answer
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.status.as_u16(), self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_has_the_form_of_the_messages_api() {
        let body: serde_json::Value =
            serde_json::from_str(&Refusal::invalid("a \"b\"").body()).unwrap();
        assert_eq!(
            body,
            json!({"type": "error", "error": {
                "type": "invalid_request_error", "message": "a \"b\"",
            }})
        );
    }

    #[test]
    fn the_answer_says_whether_to_retry() {
        let answer = Refusal::unavailable("x").to_http();
        assert!(
            answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n"),
            "{answer}"
        );
        assert!(answer.contains("\r\nretry-after: 1\r\n"), "{answer}");
        let answer = Refusal::cost_limit().to_http();
        assert!(answer.contains("\r\nx-should-retry: false\r\n"), "{answer}");
    }
}

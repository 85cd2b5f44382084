//! The messages from `credentials` to claude-api.

use serde::{Deserialize, Serialize};

/// A message from `credentials`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(
    tag = "type",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub enum Report {
    /// The first line.
    Hello {
        /// [`crate::VERSION`] of `credentials`.
        version: u32,
        /// The credential at this moment.
        credential: CredentialState,
        /// The scheme, host and port of the API.
        upstream: String,
    },
    /// The credential has changed, for example because its file was replaced.
    Credential(CredentialState),
    /// The grant of the execution is in force.
    Granted {
        /// The execution.
        execution_id: String,
    },
    /// A request was forwarded and has ended.
    Answer(Answer),
    /// The grant of the execution is no longer in force, and every answer to one of its requests
    /// has been reported. An execution without a grant has this answer, too.
    Revoked {
        /// The execution.
        execution_id: String,
    },
    /// The result of an [`crate::Order::Deliver`].
    Delivered {
        /// The id of the event.
        id: String,
        /// The result.
        outcome: Delivered,
    },
    /// A sign of life.
    Beat,
}

/// The credential of the model's API, as `credentials` knows it without a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "state",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub enum CredentialState {
    /// A credential is present. The API may still refuse it.
    Present {
        /// Its kind, which decides the CLI's variable.
        kind: CredentialKind,
        /// A text that changes with the credential and reveals nothing of it.
        fingerprint: String,
    },
    /// No variable and no file has a credential. The CLI may have a login of its own.
    Missing,
    /// A file with the credential cannot be read.
    Unreadable {
        /// The file and the error.
        reason: String,
    },
    /// A file has no usable credential.
    Malformed {
        /// The file and the mistake, without its content.
        reason: String,
    },
}

/// The kinds of credential, each with the CLI's variable for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CredentialKind {
    /// `ANTHROPIC_API_KEY`: the header `x-api-key`.
    ApiKey,
    /// `CLAUDE_CODE_OAUTH_TOKEN`: the header `authorization`, with a beta header by the CLI.
    OauthToken,
    /// `ANTHROPIC_AUTH_TOKEN`: the header `authorization`.
    AuthToken,
}

impl CredentialKind {
    /// Returns the name of the CLI's variable for this kind.
    #[must_use]
    pub fn variable(self) -> &'static str {
        match self {
            Self::ApiKey => "ANTHROPIC_API_KEY",
            Self::OauthToken => "CLAUDE_CODE_OAUTH_TOKEN",
            Self::AuthToken => "ANTHROPIC_AUTH_TOKEN",
        }
    }
}

/// The endpoints of the API that are forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Endpoint {
    /// `POST /v1/messages`.
    Messages,
    /// `POST /v1/messages/count_tokens`.
    CountTokens,
    /// `GET` or `HEAD` of `/v1/models` or one model.
    Models,
}

/// The result of a request to the API.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// The execution whose grant the request had. `None` for a check by `credentials` itself.
    pub execution_id: Option<String>,
    /// The endpoint.
    pub endpoint: Endpoint,
    /// The HTTP status of the API. `None` if the API was not reached or its answer broke off before
    /// the head.
    pub status: Option<u16>,
    /// The member `error.type` of an error answer, for example `authentication_error`.
    pub error_type: Option<String>,
    /// Whether the body of the answer arrived completely.
    pub complete: bool,
    /// The time from the request to the head of the answer, in milliseconds. `None` without one.
    pub first_byte_ms: Option<u64>,
    /// When a usage limit ends (`anthropic-ratelimit-unified-reset` or `retry-after` of a 429), in
    /// milliseconds since 1970-01-01T00:00Z.
    pub resets_at_ms: Option<u64>,
    /// The tokens of this answer.
    pub usage: Usage,
    /// The cost of this answer by the price list of `credentials`, in US dollars.
    pub cost_usd: f64,
    /// The cost of all answers for the same grant, in US dollars.
    pub total_cost_usd: f64,
}

/// Numbers of tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// Tokens of the request that were not cached.
    pub input_tokens: u64,
    /// Tokens of the answer.
    pub output_tokens: u64,
    /// Tokens of the request that were read from the cache.
    pub cache_read_tokens: u64,
    /// Tokens of the request that were written to the cache.
    pub cache_write_tokens: u64,
}

/// The result of one attempt to deliver a webhook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "result",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub enum Delivered {
    /// The receiver answered with a status from 200 to 299.
    Accepted,
    /// The attempt failed, and a later one may succeed.
    Failed {
        /// The reason, for the log.
        reason: String,
    },
    /// No attempt can succeed: the URL is not allowed, or the receiver answered 410 (gone).
    Refused {
        /// The reason, for the log.
        reason: String,
    },
}

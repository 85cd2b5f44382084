//! The signature of a webhook, for both sides (Standard Webhooks 1.0.0, "Signature scheme").

use std::time::Duration;

use data_encoding::BASE64;
use jiff::Timestamp;

use super::secret::WebhookSecret;

/// The names of the three HTTP headers of a webhook.
pub mod header {
    /// The id of the event, the same in every attempt.
    pub const ID: &str = "webhook-id";
    /// The time of the attempt, in seconds since 1970-01-01T00:00Z.
    pub const TIMESTAMP: &str = "webhook-timestamp";
    /// The signatures, separated by blanks, each as `v1,` and base64.
    pub const SIGNATURE: &str = "webhook-signature";
}

/// How far the timestamp of a webhook may be from the receiver's clock, in both directions. An
/// older webhook may be a replay.
pub const TOLERANCE: Duration = Duration::from_secs(5 * 60);
/// The prefix of an HMAC-SHA256 signature. Signatures of other versions are ignored.
const VERSION: &str = "v1,";

/// The values of the three HTTP headers of a webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedHeaders {
    /// The value of [`header::ID`].
    pub id: String,
    /// The value of [`header::TIMESTAMP`].
    pub timestamp: String,
    /// The value of [`header::SIGNATURE`].
    pub signature: String,
}

/// The reason why a webhook is not genuine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotVerified {
    /// The header `webhook-id` is empty.
    #[error("the header webhook-id is empty")]
    NoId,
    /// The header `webhook-timestamp` is not a number of seconds.
    #[error("the header webhook-timestamp is not a time in seconds since 1970")]
    BadTimestamp,
    /// The timestamp is older than the tolerance.
    #[error("the webhook is too old; it may be a replay, or this machine's clock is wrong")]
    TooOld,
    /// The timestamp is further in the future than the tolerance.
    #[error("the webhook is from the future; this machine's clock or the sender's is wrong")]
    TooNew,
    /// The header `webhook-signature` has no signature of version 1.
    #[error("the header webhook-signature has no signature that begins with v1,")]
    NoSignature,
    /// No signature fits the body, the other headers and the secret.
    #[error(
        "no signature fits: the secret is another one, or the body is not byte for byte what was \
         sent (do not parse and write it again)"
    )]
    WrongSignature,
}

impl SignedHeaders {
    /// Signs one attempt to deliver a webhook, with one signature for each of `secrets`. With two
    /// secrets, a receiver that knows either of them accepts the webhook, so that a secret can be
    /// replaced.
    #[must_use]
    pub fn sign(secrets: &[WebhookSecret], id: &str, now: Timestamp, body: &[u8]) -> Self {
        let timestamp = now.as_second().to_string();
        let signature = |secret: &WebhookSecret| {
            let mac = secret.mac(id, &timestamp, body);
            format!("{VERSION}{}", BASE64.encode(mac.as_ref()))
        };
        let signatures: Vec<_> = secrets.iter().map(signature).collect();
        Self {
            id: id.to_owned(),
            timestamp: timestamp.clone(),
            signature: signatures.join(" "),
        }
    }
}

/// Checks that a webhook was sent by the owner of one of `secrets`, and not more than `tolerance`
/// before or after `now`. `body` must be the exact bytes that were received.
///
/// A receiver must also remember the ids that it has handled, because an event may be delivered
/// more than once.
///
/// # Errors
/// The reason why the webhook is not genuine.
pub fn verify(
    secrets: &[WebhookSecret],
    headers: &SignedHeaders,
    body: &[u8],
    now: Timestamp,
    tolerance: Duration,
) -> Result<(), NotVerified> {
    let SignedHeaders {
        id,
        timestamp,
        signature,
    } = headers;
    if id.is_empty() {
        return Err(NotVerified::NoId);
    }
    let sent: i64 = timestamp.parse().map_err(|_| NotVerified::BadTimestamp)?;
    let tolerance = i64::try_from(tolerance.as_secs()).unwrap_or(i64::MAX);
    let now = now.as_second();
    if sent < now.saturating_sub(tolerance) {
        return Err(NotVerified::TooOld);
    }
    if sent > now.saturating_add(tolerance) {
        return Err(NotVerified::TooNew);
    }
    let mut presented = signature
        .split(' ')
        .filter_map(|signature| signature.strip_prefix(VERSION))
        .peekable();
    if presented.peek().is_none() {
        return Err(NotVerified::NoSignature);
    }
    let fits = presented.any(|encoded| {
        let mac = BASE64.decode(encoded.as_bytes());
        mac.is_ok_and(|mac| secrets.iter().any(|s| s.is_mac(id, timestamp, body, &mac)))
    });
    if fits {
        Ok(())
    } else {
        Err(NotVerified::WrongSignature)
    }
}

#[cfg(test)]
mod tests;

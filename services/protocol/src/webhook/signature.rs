//! The signature of a webhook, for both sides (Standard Webhooks 1.0.0, "Signature scheme").

use std::time::Duration;

use data_encoding::BASE64;
use jiff::Timestamp;

use super::secret::WebhookSecret;

/// The names of the three HTTP headers of a webhook.
pub mod header {
    /// The id of the event, the same in every try.
    pub const ID: &str = "webhook-id";
    /// The time of the try, in seconds since 1970-01-01T00:00Z.
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
    /// The header `webhook-timestamp` is no number of seconds.
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
    /// Signs a try to deliver a webhook, with one signature for each of `secrets`. With two
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
mod tests {
    use super::*;

    /// The vector of the reference libraries of Standard Webhooks.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const SECONDS: i64 = 1_614_265_330;
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn vector() -> (WebhookSecret, SignedHeaders) {
        let headers = SignedHeaders {
            id: ID.to_owned(),
            timestamp: SECONDS.to_string(),
            signature: SIGNATURE.to_owned(),
        };
        (SECRET.parse().unwrap(), headers)
    }

    #[test]
    fn the_vector_of_the_specification_is_signed_and_verified() {
        let (secret, headers) = vector();
        let secrets = [secret];
        assert_eq!(
            SignedHeaders::sign(&secrets, ID, at(SECONDS), BODY),
            headers
        );
        assert_eq!(
            verify(&secrets, &headers, BODY, at(SECONDS), TOLERANCE),
            Ok(())
        );
    }

    #[test]
    fn both_secrets_sign_while_one_replaces_the_other() {
        let old: WebhookSecret = SECRET.parse().unwrap();
        let new: WebhookSecret = WebhookSecret::generate().unwrap().parse().unwrap();
        let both = [new.clone(), old.clone()];
        let headers = SignedHeaders::sign(&both, ID, at(SECONDS), BODY);
        assert!(headers.signature.ends_with(&format!(" {SIGNATURE}")));
        for secrets in [&[new][..], &[old], &both] {
            assert_eq!(
                verify(secrets, &headers, BODY, at(SECONDS), TOLERANCE),
                Ok(())
            );
        }
    }

    #[test]
    fn a_webhook_that_is_not_genuine_is_refused() {
        use NotVerified as E;
        let (secret, good) = vector();
        let other: WebhookSecret = WebhookSecret::generate().unwrap().parse().unwrap();
        let change = |change: fn(&mut SignedHeaders)| {
            let mut headers = good.clone();
            change(&mut headers);
            headers
        };
        for (headers, expected) in [
            (change(|h| h.id.clear()), E::NoId),
            (change(|h| h.id.push('x')), E::WrongSignature),
            (change(|h| h.timestamp.clear()), E::BadTimestamp),
            (
                change(|h| h.timestamp = "1614265330.0".into()),
                E::BadTimestamp,
            ),
            (
                change(|h| h.timestamp = "1614265331".into()),
                E::WrongSignature,
            ),
            (
                change(|h| h.timestamp = "9223372036854775807".into()),
                E::TooNew,
            ),
            (
                change(|h| h.timestamp = "-9223372036854775808".into()),
                E::TooOld,
            ),
            (change(|h| h.signature.clear()), E::NoSignature),
            (
                change(|h| h.signature = h.signature.replace("v1,", "v2,")),
                E::NoSignature,
            ),
            (
                change(|h| h.signature = "v1,AAAA".into()),
                E::WrongSignature,
            ),
            (change(|h| h.signature = "v1,".into()), E::WrongSignature),
            (change(|h| h.signature.truncate(30)), E::WrongSignature),
        ] {
            let secrets = std::slice::from_ref(&secret);
            let result = verify(secrets, &headers, BODY, at(SECONDS), TOLERANCE);
            assert_eq!(result, Err(expected), "{headers:?}");
        }
        for (secrets, body) in [(&[other][..], BODY), (&[], BODY), (&[secret], b"{}")] {
            let result = verify(secrets, &good, body, at(SECONDS), TOLERANCE);
            assert_eq!(result, Err(E::WrongSignature));
        }
    }

    #[test]
    fn the_timestamp_may_be_five_minutes_away() {
        let (secret, headers) = vector();
        for (difference, expected) in [
            (-301, Err(NotVerified::TooNew)),
            (-300, Ok(())),
            (300, Ok(())),
            (301, Err(NotVerified::TooOld)),
        ] {
            let secrets = std::slice::from_ref(&secret);
            let now = at(SECONDS + difference);
            let result = verify(secrets, &headers, BODY, now, TOLERANCE);
            assert_eq!(result, expected, "{difference}");
        }
    }

    #[test]
    fn one_good_signature_among_others_is_enough() {
        let (secret, mut headers) = vector();
        headers.signature = format!("v1a,xyz v1,%%% v1,AAAA {SIGNATURE} v9,z");
        let result = verify(&[secret], &headers, BODY, at(SECONDS), TOLERANCE);
        assert_eq!(result, Ok(()));
    }
}

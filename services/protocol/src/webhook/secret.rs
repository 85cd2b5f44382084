//! The secret that signs webhooks, which the operator shares with the receiver.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE64;
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

/// The first characters of every secret (Standard Webhooks, "Signature scheme").
const PREFIX: &str = "whsec_";
/// The number of random bytes in a new secret.
const NEW_BYTES: usize = 32;
/// The length of a secret in bytes (Standard Webhooks: at least 192 bits, at most 512).
const BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// A secret for the signatures of webhooks: `whsec_` and the base64 of 24 to 64 bytes. Its `Debug`
/// output hides it.
#[derive(Clone)]
pub struct WebhookSecret(hmac::Key);

/// The error for a text that is not a secret. It has no part of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a secret for webhooks: a secret is whsec_ and the base64 of 24 to 64 bytes (ccb webhook \
     secret new makes one)"
)]
pub struct BadSecret;

impl WebhookSecret {
    /// Generates the text of a new secret from 32 bytes of the operating system's random numbers.
    ///
    /// # Errors
    /// The operating system has no random numbers.
    pub fn generate() -> Result<String, std::io::Error> {
        let mut bytes = [0; NEW_BYTES];
        SystemRandom::new()
            .fill(&mut bytes)
            .map_err(|_| std::io::Error::other("the operating system has no random numbers"))?;
        Ok(format!("{PREFIX}{}", BASE64.encode(&bytes)))
    }

    /// Returns the HMAC-SHA256 of the signed content: id, timestamp and body, separated by periods.
    pub(super) fn mac(&self, id: &str, timestamp: &str, body: &[u8]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.0);
        for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
            context.update(part);
        }
        context.sign()
    }

    /// Returns whether `mac` is the one of [`Self::mac`], in the same time wherever they differ.
    pub(super) fn is_mac(&self, id: &str, timestamp: &str, body: &[u8], mac: &[u8]) -> bool {
        let mut content = format!("{id}.{timestamp}.").into_bytes();
        content.extend_from_slice(body);
        hmac::verify(&self.0, &content, mac).is_ok()
    }
}

impl FromStr for WebhookSecret {
    type Err = BadSecret;

    fn from_str(text: &str) -> Result<Self, BadSecret> {
        let encoded = text.strip_prefix(PREFIX).ok_or(BadSecret)?;
        let bytes = BASE64.decode(encoded.as_bytes()).map_err(|_| BadSecret)?;
        if !BYTES.contains(&bytes.len()) {
            return Err(BadSecret);
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_secret_is_random_and_parses() {
        let (one, other) = (
            WebhookSecret::generate().unwrap(),
            WebhookSecret::generate().unwrap(),
        );
        assert_ne!(one, other);
        let secret: WebhookSecret = one.parse().unwrap();
        assert_eq!(format!("{secret:?}"), "WebhookSecret(..)");
    }

    #[test]
    fn other_texts_are_refused() {
        let short = format!("whsec_{}", BASE64.encode(&[7; 23]));
        let long = format!("whsec_{}", BASE64.encode(&[7; 65]));
        for bad in [
            "",
            "whsec_",
            "whsec_x",
            &short,
            &long,
            "ccb_abc",
            " whsec_aaaa",
        ] {
            assert_eq!(bad.parse::<WebhookSecret>().err(), Some(BadSecret), "{bad}");
        }
        assert!(
            format!("whsec_{}", BASE64.encode(&[7; 24]))
                .parse::<WebhookSecret>()
                .is_ok()
        );
        assert!(
            format!("whsec_{}", BASE64.encode(&[7; 64]))
                .parse::<WebhookSecret>()
                .is_ok()
        );
    }
}

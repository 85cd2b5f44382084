//! The text of a token, and the hash by which a service recognises it.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE64URL_NOPAD;
use ring::digest;
use ring::rand::{SecureRandom, SystemRandom};

/// The first characters of every token of the operator's file.
const PREFIX: &str = "ccb_";
/// The number of random bytes in a token.
const RANDOM_BYTES: usize = 32;
/// The longest text of a secret that a service hashes, in bytes. Longer texts are refused without a
/// hash.
const SECRET_BYTES_MAX: usize = 512;

/// A secret text that proves who sends a request: a token, a share, a ticket, or the token of a
/// redeemed ticket. It has 1 to 512 letters, digits, `-` and `_`. Its `Debug` output does not
/// contain the text.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// A token of the operator's file: `ccb_` and 43 characters of base64url, which are 32 random
/// bytes. Its `Debug` output does not contain the text.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Secret);

/// The SHA-256 of a secret. claude-api stores it in place of the secret. The comparison of two
/// hashes with [`Self::matches`] takes the same time wherever they differ.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SecretHash([u8; 32]);

/// The error for a text that is no secret, or no token. It does not contain the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadToken {
    /// The text is not of the form of a token.
    #[error(
        "not a token: a token is ccb_ and 43 letters, digits, - or _ (ccb token new makes one)"
    )]
    Form,
    /// The text is empty, is longer than 512 bytes, or has other characters than letters, digits,
    /// `-` and `_`.
    #[error("not a token: give one line of at most 512 letters, digits, - and _")]
    Characters,
}

impl Secret {
    /// Returns the secret text. The caller must not log it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Returns the hash by which a service recognises the secret.
    #[must_use]
    pub fn hash(&self) -> SecretHash {
        SecretHash::of(self.0.as_bytes())
    }
}

impl FromStr for Secret {
    type Err = BadToken;

    fn from_str(text: &str) -> Result<Self, BadToken> {
        let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        let is_short = !text.is_empty() && text.len() <= SECRET_BYTES_MAX;
        if is_short && text.bytes().all(good) {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadToken::Characters)
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Token {
    /// Generates a token from 32 bytes of the operating system's random numbers.
    ///
    /// # Errors
    /// The operating system has no random numbers.
    pub fn generate() -> Result<Self, std::io::Error> {
        let mut bytes = [0; RANDOM_BYTES];
        SystemRandom::new()
            .fill(&mut bytes)
            .map_err(|_| std::io::Error::other("the operating system has no random numbers"))?;
        Ok(Self(Secret(format!("{PREFIX}{}", base64url(&bytes)))))
    }

    /// Returns the token as a secret that can be sent.
    #[must_use]
    pub fn secret(&self) -> &Secret {
        &self.0
    }
}

impl FromStr for Token {
    type Err = BadToken;

    fn from_str(text: &str) -> Result<Self, BadToken> {
        let encoded = text.strip_prefix(PREFIX).ok_or(BadToken::Form)?;
        match from_base64url(encoded) {
            Some(bytes) if bytes.len() == RANDOM_BYTES => Ok(Self(text.parse()?)),
            _ => Err(BadToken::Form),
        }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

impl SecretHash {
    /// Returns the hash of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
        Self(hash)
    }

    /// Creates the hash from its 32 bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns whether both hashes are equal, in the same time wherever they differ.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        // Without a branch on the bytes, so that the time does not tell where the hashes differ.
        let differences = self.0.iter().zip(other.0).map(|(a, b)| a ^ b);
        std::hint::black_box(differences.fold(0, |all, one| all | one)) == 0
    }

    /// Returns the 32 bytes of the hash.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl FromStr for SecretHash {
    type Err = BadHash;

    fn from_str(text: &str) -> Result<Self, BadHash> {
        let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes());
        let bytes = bytes.ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or(BadHash)
    }
}

impl fmt::Display for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The error for a text that is not the SHA-256 of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a SHA-256: give 64 hexadecimal digits, as ccb token new prints them")]
pub struct BadHash;

/// Encodes bytes as base64url without padding (RFC 4648, section 5).
#[must_use]
pub fn base64url(bytes: &[u8]) -> String {
    BASE64URL_NOPAD.encode(bytes)
}

/// Decodes base64url without padding. `None` if the text is of another form.
#[must_use]
pub fn from_base64url(text: &str) -> Option<Vec<u8>> {
    BASE64URL_NOPAD.decode(text.as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_token_parses_and_is_never_the_same() {
        let [one, other] = [(); 2].map(|()| Token::generate().unwrap());
        assert_ne!(one, other);
        let text = one.secret().expose();
        assert_eq!((text.len(), text.parse::<Token>()), (47, Ok(one.clone())));
        assert_eq!(one.secret().hash(), SecretHash::of(text.as_bytes()));
    }

    #[test]
    fn truncated_and_altered_tokens_are_refused() {
        let token = Token::generate().unwrap();
        let text = token.secret().expose();
        for bad in [
            "",
            "ccb_",
            &text[..46],
            &text[1..],
            &format!("{text}A"),
            &format!("{text}="),
            &text.replace("ccb_", "ccc_"),
            &format!("ccb_{}", "!".repeat(43)),
        ] {
            assert_eq!(bad.parse::<Token>(), Err(BadToken::Form), "{bad}");
        }
        for bad in ["", "a b", "a\nb", "a,b", &"x".repeat(513)] {
            assert_eq!(bad.parse::<Secret>(), Err(BadToken::Characters), "{bad}");
        }
    }

    #[test]
    fn debug_output_has_no_secret() {
        let token = Token::generate().unwrap();
        let debug = format!("{token:?} {:?}", token.secret());
        assert!(!debug.contains(&token.secret().expose()[4..10]), "{debug}");
    }

    #[test]
    fn a_hash_is_hexadecimal() {
        let hash = SecretHash::of(b"x");
        assert_eq!(hash.to_string().parse(), Ok(hash));
        assert_eq!("12".parse::<SecretHash>(), Err(BadHash));
        assert!(hash.matches(&hash) && !hash.matches(&SecretHash::of(b"y")));
    }
}

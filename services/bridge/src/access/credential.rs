//! A secret that a client sent, with its hash and the header that passes it on.

use std::fmt;

use http::HeaderValue;
use protocol::{Secret, SecretHash};

/// A secret that a client sent: a token, a share, or the token of a redeemed ticket. Only
/// claude-api can judge it. Its `Debug` output does not contain the secret.
#[derive(Clone)]
pub struct Credential {
    secret: Secret,
    /// The hash of the secret, by which its judgement is found.
    hash: SecretHash,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(..)")
    }
}

impl From<Secret> for Credential {
    fn from(secret: Secret) -> Self {
        Self {
            hash: secret.hash(),
            secret,
        }
    }
}

impl Credential {
    /// Returns the hash of the secret.
    #[must_use]
    pub fn hash(&self) -> SecretHash {
        self.hash
    }

    /// Returns the secret itself, for a client that acts for the sender of this credential.
    #[must_use]
    pub fn secret(&self) -> &Secret {
        &self.secret
    }

    /// Returns the value of the header `Authorization` that passes the secret on. It is marked as
    /// sensitive, so `Debug` output does not show it. `None` never happens, because a secret has
    /// only characters that a header may have.
    #[must_use]
    pub fn authorization(&self) -> Option<HeaderValue> {
        let mut value = HeaderValue::try_from(format!("Bearer {}", self.secret.expose())).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_of_a_credential_and_of_its_header_has_no_secret() {
        let credential = Credential::from("s3cret".parse::<Secret>().unwrap());
        let header = credential.authorization().unwrap();
        assert_eq!(header, "Bearer s3cret");
        let debug = format!("{credential:?} {header:?} {:?}", credential.secret());
        assert!(!debug.contains("s3cret"), "{debug}");
    }
}

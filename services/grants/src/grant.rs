//! A grant, and the hash under which it is known.

use std::fmt;

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use ring::{
    digest::{SHA256, digest},
    rand::{SecureRandom, SystemRandom},
};
use serde::{Deserialize, Serialize};

/// The beginning of every grant, so that a leaked grant can be recognised.
const PREFIX: &str = "ccg_";
/// The number of random bytes in a grant.
const BYTES: usize = 32;

/// A secret that stands for the credential in the environment of one execution's CLI: `ccg_` and 43
/// characters of base64url. Its `Debug` output hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Grant(String);

/// The SHA-256 of a grant, as 64 lower-case hexadecimal characters. Both services store this hash
/// only.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GrantHash(String);

impl Grant {
    /// Creates a random grant. `None` if the kernel has no random bytes.
    #[must_use]
    pub fn random() -> Option<Self> {
        let mut bytes = [0; BYTES];
        SystemRandom::new().fill(&mut bytes).ok()?;
        Some(Self(format!("{PREFIX}{}", BASE64URL_NOPAD.encode(&bytes))))
    }

    /// Returns the text for the CLI's environment. Nothing else may contain it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Returns the hash under which the grant is registered.
    #[must_use]
    pub fn hash(&self) -> GrantHash {
        GrantHash::of(&self.0)
    }
}

impl GrantHash {
    /// Returns the hash of the text that a request presents as its grant.
    #[must_use]
    pub fn of(presented: &str) -> Self {
        Self(HEXLOWER.encode(digest(&SHA256, presented.as_bytes()).as_ref()))
    }
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Grant(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_is_random_and_known_by_its_hash() {
        let (one, other) = (Grant::random().unwrap(), Grant::random().unwrap());
        assert_eq!(one.expose().len(), PREFIX.len() + 43);
        assert_eq!(GrantHash::of(one.expose()), one.hash());
        assert_ne!(one.hash(), other.hash());
        assert_eq!(format!("{one:?}"), "Grant(hidden)");
    }
}

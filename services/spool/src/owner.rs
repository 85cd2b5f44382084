//! The owner of an execution: the principal that started it, as far as the spool needs to know it.

use std::fmt;

use ring::digest::{SHA256, digest};

/// The number of bytes that stand for an owner: half of a SHA-256, which no two principals share.
pub(crate) const OWNER_BYTES: usize = 16;

/// The principal whose execution this is. The spool does not know the principal's name, because a
/// name has no fixed length. It knows only the first 16 bytes of the name's SHA-256.
///
/// The default is [`Owner::NONE`], the owner of all executions from before owners existed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Owner([u8; OWNER_BYTES]);

impl Owner {
    /// Nobody: the owner of executions that were accepted without a principal. All zeros.
    pub const NONE: Self = Self([0; OWNER_BYTES]);
    /// The owner of an execution whose record and index row are both damaged. No principal has this
    /// value, so no principal gets the execution of another one. All ones.
    pub const UNKNOWN: Self = Self([0xff; OWNER_BYTES]);

    /// Returns the owner that stands for the principal with this name.
    #[must_use]
    pub fn of(principal: &str) -> Self {
        let hash = digest(&SHA256, principal.as_bytes());
        let mut bytes = [0; OWNER_BYTES];
        bytes.copy_from_slice(&hash.as_ref()[..OWNER_BYTES]);
        Self(bytes)
    }

    /// Creates the owner that was stored as these bytes.
    pub(crate) const fn from_bytes(bytes: [u8; OWNER_BYTES]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes that stand for the owner on disk.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; OWNER_BYTES] {
        &self.0
    }

    /// Parses the text that `Display` writes: 32 hexadecimal digits, in lower case. `None` for any
    /// other text.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let canonical = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() != 2 * OWNER_BYTES || !text.bytes().all(canonical) {
            return None;
        }
        let number = u128::from_str_radix(text, 16).ok()?;
        Some(Self(number.to_be_bytes()))
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NONE => write!(f, "Owner::NONE"),
            Self::UNKNOWN => write!(f, "Owner::UNKNOWN"),
            _ => write!(f, "Owner({self})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The expected value is the output of sha256sum(1), so that a change of the hash is noticed:
    /// it would hide all executions from their owners.
    #[test]
    fn owner_is_half_of_the_sha_256_of_the_principal() {
        assert_eq!(
            Owner::of("team-a").to_string(),
            "96c2886c51d1dfb4901d9feccff66213"
        );
        assert_eq!(Owner::default(), Owner::NONE);
        for principal in ["", "team-a", "team-b"] {
            assert!(![Owner::NONE, Owner::UNKNOWN].contains(&Owner::of(principal)));
        }
        assert_ne!(Owner::of("team-a"), Owner::of("team-b"));
    }

    proptest! {
        #[test]
        fn parse_returns_the_displayed_owner(bytes: [u8; OWNER_BYTES]) {
            let owner = Owner::from_bytes(bytes);
            prop_assert_eq!(Owner::parse(&owner.to_string()), Some(owner));
            prop_assert_eq!(owner.as_bytes(), &bytes);
        }

        #[test]
        fn parse_accepts_only_what_display_writes(
            text in "[0-9a-f]{30,34}|[0-9A-F]{32}|[+-][0-9a-f]{31,32}",
        ) {
            if let Some(owner) = Owner::parse(&text) {
                prop_assert_eq!(owner.to_string(), text);
            }
        }
    }
}

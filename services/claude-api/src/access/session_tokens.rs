//! The tokens with which a bridge makes the calls of a session that began with a ticket. Such a
//! token names the token or share that it stands for, and a signature of claude-api proves it. So
//! it needs no memory, and ends together with that token or share.

use std::io;

use protocol::access::{base64url, from_base64url};
use protocol::{ExecutionId, SecretHash};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use spool::Owner;
use uuid::Uuid;

use super::subject::Subject;

/// The first characters of every session token.
const PREFIX: &str = "ccbt_";
/// The length of the key and of the signature, in bytes (HMAC with SHA-256).
const KEY_BYTES: usize = 32;
/// The length of the key that stands for an owner, in bytes.
const QUOTA_KEY_BYTES: usize = 12;
/// The length of the content: a kind, an execution id (zeros for a token), and a hash.
const CONTENT_BYTES: usize = 1 + 16 + 32;

/// The key that signs and verifies the tokens of sessions that began with a ticket.
pub(crate) struct SessionTokens {
    key: hmac::Key,
}

impl SessionTokens {
    /// Creates a random key. It is only in the memory of this process, so a restart ends all
    /// session tokens. Their pages request new tickets then.
    ///
    /// # Errors
    /// The operating system has no random numbers.
    pub(crate) fn new() -> io::Result<Self> {
        let mut key = [0; KEY_BYTES];
        let random = SystemRandom::new().fill(&mut key);
        random.map_err(|_| io::Error::other("the system has no random numbers"))?;
        Ok(Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, &key),
        })
    }

    /// Creates a token that stands for `subject`.
    pub(crate) fn create(&self, subject: Subject) -> String {
        let mut bytes = match subject {
            Subject::Token(hash) => content(0, Uuid::nil(), hash),
            Subject::Share(id, hash) => content(1, id.uuid(), hash),
        };
        let signature = hmac::sign(&self.key, &bytes);
        bytes.extend_from_slice(signature.as_ref());
        format!("{PREFIX}{}", base64url(&bytes))
    }

    /// Returns a key that stands for an owner, and from which nobody can tell whose it is. A bridge
    /// counts sessions by it. A restart of the service changes all keys.
    pub(crate) fn quota_key(&self, owner: Owner) -> String {
        let signature = hmac::sign(&self.key, owner.as_bytes());
        base64url(&signature.as_ref()[..QUOTA_KEY_BYTES])
    }

    /// Returns what a session token stands for. `None` if the text is no token of this service. The
    /// check of the signature takes the same time wherever it differs.
    pub(crate) fn parse(&self, text: &str) -> Option<Subject> {
        let bytes = from_base64url(text.strip_prefix(PREFIX)?)?;
        let (content, signature) = bytes.split_at_checked(CONTENT_BYTES)?;
        hmac::verify(&self.key, content, signature).ok()?;
        let (kind, rest) = content.split_first()?;
        let (id, hash) = rest.split_at_checked(16)?;
        let hash = SecretHash::from_bytes(hash.try_into().ok()?);
        match kind {
            0 => Some(Subject::Token(hash)),
            1 => {
                let id = ExecutionId::from(Uuid::from_slice(id).ok()?);
                Some(Subject::Share(id, hash))
            }
            _ => None,
        }
    }
}

fn content(kind: u8, id: Uuid, hash: SecretHash) -> Vec<u8> {
    [&[kind], id.as_bytes().as_slice(), hash.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_token_is_accepted_and_forged_ones_are_refused() {
        let [own, other] = [(); 2].map(|()| SessionTokens::new().unwrap());
        let hash = SecretHash::of(b"x");
        for subject in [
            Subject::Token(hash),
            Subject::Share(ExecutionId::random(), hash),
        ] {
            let token = own.create(subject);
            assert_eq!(own.parse(&token), Some(subject));
            assert_eq!(other.parse(&token), None);
            let mut forged = token.into_bytes();
            for at in PREFIX.len()..forged.len() {
                let honest = forged[at];
                forged[at] = if honest == b'A' { b'B' } else { b'A' };
                let text = std::str::from_utf8(&forged).unwrap();
                assert_eq!(own.parse(text), None, "character {at}");
                forged[at] = honest;
            }
        }
        for bad in ["", "ccbt_", "ccbt_AAAA", "ccb_x"] {
            assert_eq!(own.parse(bad), None);
        }
    }
}

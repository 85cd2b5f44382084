//! The shares of one execution, as a small JSON file in the execution's folder. Only hashes are
//! stored.

use jiff::{SignedDuration, Timestamp};
use protocol::access::{Share, ShareRequest, ShareRole, base64url, from_base64url};
use protocol::{ExecutionId, Problem, ProblemType, SecretHash};
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The first characters of every share.
const PREFIX: &str = "ccbs_";
/// The number of random bytes in a share, after the 16 bytes of the execution's id.
const RANDOM_BYTES: usize = 32;
/// The most shares of one execution that exist at the same time.
pub(crate) const SHARES: usize = 64;

/// All shares of one execution.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Shares(Vec<Stored>);

/// One share of an execution. Its token is not stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Stored {
    id: Uuid,
    sha256: String,
    /// What the share permits.
    pub(crate) role: ShareRole,
    /// When the share stops working.
    pub(crate) expires: Timestamp,
}

/// Returns the execution that the text of a share names. `None` if the text is no share. The text
/// may still be forged.
pub(crate) fn execution_of(text: &str) -> Option<ExecutionId> {
    let bytes = from_base64url(text.strip_prefix(PREFIX)?)?;
    if bytes.len() != 16 + RANDOM_BYTES {
        return None;
    }
    let id = Uuid::from_slice(&bytes[..16]).ok()?;
    Some(ExecutionId::from(id))
}

impl Shares {
    /// Parses the file of an execution's shares; an empty file has none.
    ///
    /// # Errors
    /// The file is damaged.
    pub(crate) fn parse(json: &[u8]) -> serde_json::Result<Self> {
        if json.is_empty() {
            return Ok(Self::default());
        }
        serde_json::from_slice(json)
    }

    /// Returns the content of the file.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Adds a share of the execution `id` and returns it with its token. Expired shares are
    /// removed.
    ///
    /// # Errors
    /// - 400 `invalid-body` for a lifetime that is out of range.
    /// - 409 `wrong-state` if the execution has [`SHARES`] shares already.
    /// - 500 `internal` if the system has no random numbers.
    pub(crate) fn add(
        &mut self,
        id: ExecutionId,
        request: ShareRequest,
        now: Timestamp,
    ) -> Result<Share, Problem> {
        let seconds = request.expires_seconds;
        if seconds == 0 || seconds > ShareRequest::MAX_SECONDS {
            return Err(Problem::new(
                ProblemType::InvalidBody,
                format!(
                    "expiresSeconds is {seconds}; give 1 to {} (30 days)",
                    ShareRequest::MAX_SECONDS
                ),
            ));
        }
        self.0.retain(|share| share.expires > now);
        if self.0.len() >= SHARES {
            return Err(Problem::new(
                ProblemType::WrongState,
                format!("the execution has {SHARES} shares, the most; end one of them first"),
            ));
        }
        let mut bytes = id.uuid().as_bytes().to_vec();
        let mut random = [0; RANDOM_BYTES];
        if SystemRandom::new().fill(&mut random).is_err() {
            let detail = "the system has no random numbers";
            return Err(Problem::new(ProblemType::Internal, detail));
        }
        bytes.extend_from_slice(&random);
        let token = format!("{PREFIX}{}", base64url(&bytes));
        let lifetime = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(0));
        let share = Share {
            share_id: Uuid::new_v4(),
            role: request.role,
            expires: now.checked_add(lifetime).unwrap_or(now),
            token,
        };
        self.0.push(Stored {
            id: share.share_id,
            sha256: SecretHash::of(share.token.as_bytes()).to_string(),
            role: share.role,
            expires: share.expires,
        });
        Ok(share)
    }

    /// Ends a share. Returns false if there is none with this id.
    pub(crate) fn remove(&mut self, id: Uuid) -> bool {
        let before = self.0.len();
        self.0.retain(|share| share.id != id);
        self.0.len() < before
    }

    /// Finds the share whose token has this hash, and which has not expired at `now`. Every
    /// comparison takes the same time.
    pub(crate) fn find(&self, hash: &SecretHash, now: Timestamp) -> Option<&Stored> {
        let mut found = None;
        for share in &self.0 {
            let own = share.sha256.parse::<SecretHash>();
            if own.is_ok_and(|own| own.matches(hash)) && share.expires > now {
                found = Some(share);
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(seconds: u64) -> ShareRequest {
        ShareRequest {
            role: ShareRole::Control,
            expires_seconds: seconds,
        }
    }

    #[test]
    fn a_share_is_found_until_it_expires_or_is_ended() {
        let (id, now) = (ExecutionId::random(), Timestamp::UNIX_EPOCH);
        let mut shares = Shares::default();
        let share = shares.add(id, request(10), now).unwrap();
        assert_eq!(execution_of(&share.token), Some(id));
        let json = shares.to_json();
        assert!(!String::from_utf8_lossy(&json).contains(&share.token[5..]));
        let mut shares = Shares::parse(&json).unwrap();
        let hash = SecretHash::of(share.token.as_bytes());
        assert_eq!(shares.find(&hash, now).unwrap().role, ShareRole::Control);
        assert_eq!(shares.find(&SecretHash::of(b"x"), now), None);
        assert_eq!(shares.find(&hash, share.expires), None);
        assert!(shares.remove(share.share_id) && !shares.remove(share.share_id));
        assert_eq!(shares.find(&hash, now), None);
    }

    #[test]
    fn lifetimes_and_the_number_of_shares_are_bounded() {
        let (id, now) = (ExecutionId::random(), Timestamp::UNIX_EPOCH);
        let mut shares = Shares::default();
        for bad in [0, ShareRequest::MAX_SECONDS + 1, u64::MAX] {
            let refused = shares.add(id, request(bad), now).unwrap_err();
            assert_eq!(refused.kind, ProblemType::InvalidBody);
        }
        for _ in 0..SHARES {
            shares.add(id, request(5), now).unwrap();
        }
        let refused = shares.add(id, request(5), now).unwrap_err();
        assert_eq!(refused.kind, ProblemType::WrongState);
        let later = now + SignedDuration::from_secs(5);
        assert!(
            shares.add(id, request(5), later).is_ok(),
            "all have expired"
        );
    }

    #[test]
    fn other_texts_are_no_shares() {
        for bad in ["", "ccbs_", "ccb_AAAA", "ccbs_AAAA"] {
            assert_eq!(execution_of(bad), None, "{bad}");
        }
        assert!(Shares::parse(b"{").is_err());
    }
}

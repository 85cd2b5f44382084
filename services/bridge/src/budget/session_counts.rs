//! The number of open WebSocket sessions of each principal, and of the shares of its executions.

use std::sync::Arc;

use protocol::Me;
use protocol::access::ShareParts;

use super::principal_counts::{PrincipalCounts, PrincipalUse};

/// The open sessions by principal and by share. A clone refers to the same numbers.
///
/// - When is a session counted? At its handshake, until it has ended.
/// - Who waits for whom? Nobody: a session beyond a limit is refused at once.
///   - The tokens of one principal have `sessionsPerPrincipal` sessions.
///   - The shares of one principal have further sessions of their own, [`ShareParts::together`] of
///     them. So they never keep their principal from opening one.
///   - One share has at most [`ShareParts::each`] of those.
/// - What bounds the other direction? Nothing: a session is counted once.
#[derive(Debug, Clone, Default)]
pub struct SessionCounts {
    of_tokens: PrincipalCounts,
    of_shares: PrincipalCounts,
    of_share: PrincipalCounts,
}

/// An open session in the counts, until it is dropped. Without tokens nothing is counted.
#[derive(Debug, Default)]
pub struct SessionUse {
    _of_principal: Option<PrincipalUse>,
    _of_share: Option<PrincipalUse>,
}

impl SessionCounts {
    /// Counts one more session of the client `me`, whose principal has the key `quota`. `limit` is
    /// `sessionsPerPrincipal`.
    ///
    /// # Errors
    /// The limit that is reached: that of the principal, of all its shares, or of this share.
    pub fn take(&self, quota: Option<Arc<str>>, me: &Me, limit: u64) -> Result<SessionUse, u64> {
        let Some(quota) = quota else {
            return Ok(SessionUse::default());
        };
        if me.share.is_none() {
            let of_principal = self.of_tokens.take(quota, limit).ok_or(limit)?;
            return Ok(SessionUse {
                _of_principal: Some(of_principal),
                _of_share: None,
            });
        }
        let parts = ShareParts::of(usize::try_from(limit).unwrap_or(usize::MAX));
        let (together, each) = (parts.together as u64, parts.each as u64);
        // An older claude-api names no single share. Its shares count together.
        let of_share = match &me.share_quota {
            Some(share) => Some(
                self.of_share
                    .take(share.as_str().into(), each)
                    .ok_or(each)?,
            ),
            None => None,
        };
        let of_principal = self.of_shares.take(quota, together).ok_or(together)?;
        Ok(SessionUse {
            _of_principal: Some(of_principal),
            _of_share: of_share,
        })
    }
}

//! The number of open WebSocket sessions of each principal.
//!
//! - When is a session counted? At its handshake, until it has ended. Sessions without a principal
//!   are not counted.
//! - Who waits for whom? No session waits. One beyond the limit is refused, so that one principal
//!   cannot use up the sessions of all others.
//! - What bounds the other direction? The table has only principals with open sessions.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The open WebSocket sessions of each principal. A clone refers to the same count.
#[derive(Debug, Clone, Default)]
pub(super) struct PrincipalSessions {
    // A plain lock, because it is held only to read or change the map, never across an await.
    open: Arc<Mutex<HashMap<Arc<str>, u64>>>,
}

/// A session in the count of its principal, until it is dropped.
#[derive(Debug)]
pub(super) struct PrincipalSession {
    sessions: PrincipalSessions,
    principal: Arc<str>,
}

impl PrincipalSessions {
    /// Counts one more session of this principal. Returns `None` if it has `limit` sessions.
    pub(super) fn take(&self, principal: Arc<str>, limit: u64) -> Option<PrincipalSession> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.get(&principal).copied().unwrap_or_default();
        if count >= limit {
            return None;
        }
        open.insert(principal.clone(), count + 1);
        drop(open);
        let sessions = self.clone();
        Some(PrincipalSession {
            sessions,
            principal,
        })
    }
}

impl Drop for PrincipalSession {
    fn drop(&mut self) {
        let open = self.sessions.open.lock();
        let mut open = open.unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.principal) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.principal);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_principal_at_its_limit_takes_nothing_from_another() {
        let sessions = PrincipalSessions::default();
        let take = |name: &str| sessions.take(name.into(), 2);
        let (one, _another) = (take("a").unwrap(), take("a").unwrap());
        assert!(take("a").is_none());
        let other = take("b").unwrap();
        drop(one);
        assert!(take("a").is_some());
        drop(other);
        assert_eq!(sessions.open.lock().unwrap().len(), 1);
    }
}

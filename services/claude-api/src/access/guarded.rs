//! The count of wrong tokens of each peer, and the audit log.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use addresses::{AuditLines, FailedAttempts, RetryAfter};
use protocol::{Problem, ProblemType};

/// A refused request, for the audit log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AuditRecord<'a> {
    /// The name of the token, `share`, or `-` if there is none that is known.
    pub(crate) token: &'a str,
    /// The principal of the token, if there is one.
    pub(crate) principal: Option<&'a str>,
    /// The address of the client.
    pub(crate) peer: IpAddr,
    /// The HTTP method.
    pub(crate) method: &'a str,
    /// The path without its query.
    pub(crate) path: &'a str,
    /// The type of the problem with which the request was refused.
    pub(crate) outcome: ProblemType,
}

/// The counts of refused requests: how many wrong tokens each peer has sent, and how many audit
/// lines were written about it.
#[derive(Debug, Default)]
pub(crate) struct Guarded {
    // Both are held for one change; no await happens inside.
    attempts: Mutex<FailedAttempts>,
    lines: Mutex<AuditLines>,
}

impl Guarded {
    /// Counts a wrong token of this peer.
    ///
    /// # Errors
    /// 429 `too-many-attempts`, with `retryAfterSeconds`, if the peer has sent too many wrong
    /// tokens in this minute.
    pub(crate) fn failed(&self, peer: IpAddr, now: Instant) -> Result<(), Problem> {
        let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        let counted = attempts.may_fail(peer, now);
        counted.map_err(|wait: RetryAfter| {
            Problem::new(ProblemType::TooManyAttempts, wait.to_string())
                .with("retryAfterSeconds", wait.seconds())
        })
    }

    /// Writes an audit line about a refused request, unless too many were written about this peer
    /// in this minute. The next line then says how many were left out.
    pub(crate) fn log(&self, record: AuditRecord<'_>, now: Instant) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let next = lines.next(record.peer, now);
        drop(lines);
        let Some(omitted) = next else { return };
        let AuditRecord {
            token,
            principal,
            peer,
            method,
            path,
            outcome,
        } = record;
        tracing::info!(
            target: "audit",
            token,
            principal,
            %peer,
            method,
            path,
            outcome = outcome.as_str(),
            omitted = omitted.total(),
            "refused a request"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_21st_wrong_token_of_a_minute_says_when_to_try_again() {
        let (guarded, now) = (Guarded::default(), Instant::now());
        let peer: IpAddr = [192, 0, 2, 1].into();
        for _ in 0..20 {
            guarded.failed(peer, now).unwrap();
        }
        let refused = guarded.failed(peer, now).unwrap_err();
        assert_eq!(refused.kind, ProblemType::TooManyAttempts);
        assert_eq!(refused.extra["retryAfterSeconds"], 60);
        assert!(guarded.failed([192, 0, 2, 2].into(), now).is_ok());
    }
}

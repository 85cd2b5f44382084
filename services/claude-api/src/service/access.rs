//! Authentication: who sends a request.

use std::sync::Arc;

use protocol::{Problem, ProblemType, Secret};

use super::Service;
use crate::access::reload::{self, Reading};
use crate::access::shares::{self, Shares};
use crate::access::{Caller, Subject};

/// The reason why a request has no client who is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoCaller {
    /// The request has no token, or none that can be read.
    Missing,
    /// The token is wrong, expired or removed, or its execution was deleted.
    Wrong,
}

impl NoCaller {
    /// Returns the problem 401 `unauthorized`. The text is the same for each wrong token.
    pub(crate) fn problem(self) -> Problem {
        let detail = match self {
            Self::Missing => {
                "this service needs a token: send the header Authorization: Bearer TOKEN, once; \
                 the operator makes one with ccb token new"
            }
            Self::Wrong => "the token is wrong, expired or removed; ask the operator for a new one",
        };
        Problem::new(ProblemType::Unauthorized, detail)
    }
}

impl Service {
    /// Returns the client to whom a secret belongs: a token, a share, or the token of a redeemed
    /// ticket. Without a token file every client may do everything, whatever it sends.
    ///
    /// # Errors
    /// The secret is missing or wrong.
    pub(crate) async fn authenticate(
        self: &Arc<Self>,
        secret: Option<&Secret>,
    ) -> Result<Caller, NoCaller> {
        let access = &self.engine.access;
        if !access.has_tokens() {
            return Ok(Caller::anyone());
        }
        let secret = secret.ok_or(NoCaller::Missing)?;
        let text = secret.expose();
        let subject = match shares::execution_of(text) {
            Some(id) => Subject::Share(id, secret.hash()),
            None => {
                let signed = access.session_tokens.parse(text);
                signed.unwrap_or_else(|| Subject::Token(secret.hash()))
            }
        };
        self.resolve(subject).await.ok_or(NoCaller::Wrong)
    }

    /// Returns the client that a token or share belongs to. `None` if it does not exist any more,
    /// or has expired.
    pub(crate) async fn resolve(self: &Arc<Self>, subject: Subject) -> Option<Caller> {
        let access = &self.engine.access;
        match subject {
            Subject::Token(hash) => access.find_token(&hash),
            Subject::Share(id, hash) => {
                let service = Arc::clone(self);
                let read = move || service.engine.registry.shares_of(id);
                let json = spool::blocking::run(read).await.ok()?.ok()?;
                let shares = Shares::parse(&json).ok()?;
                let share = shares.find(&hash, access.clock.now())?;
                Some(Caller::share(id, share.role, share.expires, hash))
            }
        }
    }

    /// Reads the token file again whenever it changes, until the service stops. Each change is in
    /// the audit log; a file with a mistake is a warning of `/health/ready`.
    pub(crate) async fn watch_tokens(self: Arc<Self>) {
        let engine = Arc::clone(&self.engine);
        let note = |reading: Reading| match reading {
            Reading::Same => {}
            Reading::Changed(changes) => {
                engine.readiness.set_tokens_mistake(None);
                if let Some(table) = engine.access.table() {
                    engine.registry.set_running_limits(table.running_limits());
                }
                tracing::info!(
                    target: "audit",
                    changes = changes.join(", "),
                    "read the token file again"
                );
            }
            Reading::Invalid(mistake) => {
                tracing::error!(
                    mistake,
                    "the token file has a mistake; its last good version stays in force"
                );
                engine.readiness.set_tokens_mistake(Some(mistake));
            }
        };
        let watch = reload::watch(Arc::clone(&engine.access), note);
        self.stopping.run_until_cancelled(watch).await;
    }

    /// Waits until the client's token is revoked (see `TokenRow::revoked`), or its share has ended.
    /// Never returns without a token file.
    pub(crate) async fn revoked(self: &Arc<Self>, caller: &Caller) {
        if let Some(row) = caller.row() {
            return row.revoked.cancelled().await;
        }
        let Some(subject) = caller.subject() else {
            return std::future::pending().await;
        };
        loop {
            tokio::time::sleep(SHARE_CHECK).await;
            if self.resolve(subject).await.is_none() {
                return;
            }
        }
    }
}

/// The interval at which an open stream checks that its share still exists.
const SHARE_CHECK: std::time::Duration = std::time::Duration::from_secs(5);

//! Authentication: who sends a request.

use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::{Me, Problem, ProblemType, Secret};

use super::Service;
use crate::access::reload::Reading;
use crate::access::session_tokens::is_session_token;
use crate::access::shares::{self, Shares};
use crate::access::{Caller, Right, Subject};
use crate::registry::Lookup;

/// The reason why the client of a request is unknown.
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
        let hash = secret.hash();
        let (subject, session_token) = if is_session_token(text) {
            let subject = access.session_tokens.find(&hash, Instant::now());
            (subject.ok_or(NoCaller::Wrong)?, Some(hash))
        } else {
            let shared = shares::execution_of(text);
            let subject = shared.map_or(Subject::Token(hash), |id| Subject::Share(id, hash));
            (subject, None)
        };
        let caller = self.resolve(subject).await.ok_or(NoCaller::Wrong)?;
        Ok(caller.with_session_token(session_token))
    }

    /// Returns the client as its token says now. `None` if its token, its share or its session
    /// token has ended.
    async fn resolve_again(self: &Arc<Self>, caller: &Caller) -> Option<Caller> {
        let session_token = caller.session_token();
        if let Some(hash) = session_token {
            let tokens = &self.engine.access.session_tokens;
            tokens.find(&hash, Instant::now())?;
        }
        match caller.subject() {
            None => Some(caller.clone()),
            Some(subject) => {
                let now = self.resolve(subject).await?;
                Some(now.with_session_token(session_token))
            }
        }
    }

    /// Returns the client that a token or share belongs to. `None` if it does not exist any more,
    /// or has expired.
    pub(crate) async fn resolve(self: &Arc<Self>, subject: Subject) -> Option<Caller> {
        let access = &self.engine.access;
        match subject {
            Subject::Token(hash) => access.find_token(&hash),
            Subject::Share(id, hash) => {
                let service = Arc::clone(self);
                let read = move || {
                    let registry = &service.engine.registry;
                    let json = registry.shares_of(id).ok()?;
                    let shares = Shares::parse(&json).ok()?;
                    let share = shares.find(&hash, service.engine.access.clock.now())?;
                    // The file may outlive a deletion for a moment.
                    let Ok(Lookup::Found(entry)) = registry.find(id) else {
                        return None;
                    };
                    // A share is refused while its principal has no token that may start
                    // executions.
                    let table = service.engine.access.table()?;
                    if !table.starts_executions(&entry.owner()) {
                        return None;
                    }
                    let (role, expires) = (share.role, share.expires);
                    Some(Caller::share(id, entry.owner(), role, expires, hash))
                };
                spool::blocking::run(read).await.ok()?
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
                    let all = engine.settings.limits.running_executions;
                    engine
                        .registry
                        .set_running_limits(table.running_limits(all));
                }
                let changes = changes.join(", ");
                tracing::info!(target: "audit", changes, "read the token file again");
            }
            Reading::Invalid(mistake) => {
                tracing::error!(
                    mistake,
                    "the token file has a mistake; its last good version stays in force"
                );
                engine.readiness.set_tokens_mistake(Some(mistake));
            }
        };
        let watch = engine.access.watch_tokens(note);
        self.stopping.run_until_cancelled(watch).await;
    }

    /// Returns the client as its token says now. A request checks it again after a wait for its
    /// body or for a lock, because the operator may have removed the token meanwhile.
    ///
    /// # Errors
    /// 401 `unauthorized` if the token does not exist any more; 403 `forbidden` if it does not have
    /// the right any more.
    pub(crate) async fn recheck(
        self: &Arc<Self>,
        caller: &Caller,
        right: Right,
    ) -> Result<Caller, Problem> {
        let now = self.resolve_again(caller).await;
        let now = now.ok_or_else(|| NoCaller::Wrong.problem())?;
        now.check(right)?;
        Ok(now)
    }

    /// Returns the answer to `GET /v1/me`.
    pub(crate) fn me(&self, caller: &Caller) -> Me {
        let access = &self.engine.access;
        let keys = &access.quota_keys;
        let share_quota = match caller.subject() {
            Some(Subject::Share(_, hash)) => Some(keys.of_share(&hash)),
            Some(Subject::Token(_)) | None => None,
        };
        Me {
            quota: access.has_tokens().then(|| keys.of_owner(caller.quota())),
            share_quota,
            ..caller.me()
        }
    }

    /// Waits until the open streams of the client must end: its token was removed, has expired, or
    /// has changed as `TokenRow::revoked` says; or its share or its session token has ended. Shares
    /// and session tokens are checked every 5 s. Never returns without a token file. Cancel-safe.
    pub(crate) async fn revoked(self: &Arc<Self>, caller: &Caller) {
        let token_is_revoked = async {
            match caller.row() {
                Some(row) => row.revoked.cancelled().await,
                None => std::future::pending().await,
            }
        };
        let is_checked = caller.is_share() || caller.session_token().is_some();
        let has_ended = async {
            if !is_checked {
                std::future::pending::<()>().await;
            }
            loop {
                tokio::time::sleep(CHECK_INTERVAL).await;
                if self.resolve_again(caller).await.is_none() {
                    return;
                }
            }
        };
        tokio::select! {
            () = token_is_revoked => {}
            () = has_ended => {}
        }
    }
}

/// The interval at which an open stream checks that its share or session token still exists (5 s).
const CHECK_INTERVAL: Duration = Duration::from_secs(5);

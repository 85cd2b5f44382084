//! The judge of credentials. claude-api decides; this module asks it, and keeps its answers for a
//! short time.
//!
//! - At most 4096 answers are kept, by the hash of the secret. Each is used for 10 s. Concurrent
//!   questions about one secret are one call.
//! - claude-api is asked every 5 s about a credential that sessions hold, in one task for each
//!   credential. The judge ends sessions when claude-api refuses the credential, when it belongs to
//!   another principal, or when it expires. A claude-api that does not answer ends none.
//! - While claude-api has no tokens, it is not asked, and everybody is admin. Sessions from that
//!   time end once claude-api has tokens.

mod answers;

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use jiff::Timestamp;
use protocol::access::{Redeem, Redeemed};
use protocol::{Limits, Me, ProblemType, Secret, SecretHash};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use super::credential::Credential;
use super::grant::Grant;
use super::judgement::Judgement;
use super::session_lease::SessionLease;
use crate::upstream::Upstream;
use crate::upstream::errors::Failure;
use crate::upstream::retry::delays;
use answers::Answers;

/// The reason with which sessions end when claude-api no longer accepts their token, or it belongs
/// to another principal.
const REMOVED: &str = "token removed, expired or moved to another principal";
/// The reason with which a session without a token ends once claude-api has tokens.
const NEEDED: &str = "a token is needed";

/// The time limits of the judge. Tests use shorter ones.
#[derive(Debug, Clone, Copy)]
pub struct JudgeTimes {
    /// How long an answer of claude-api is used (10 s).
    pub fresh: Duration,
    /// The time between two questions about a credential that a session holds (5 s).
    pub repeat: Duration,
    /// How long a client waits for claude-api's answer (3 s).
    pub patience: Duration,
    /// The time between two renewals of the token of a ticket's session (15 s).
    pub renewal: Duration,
}

impl Default for JudgeTimes {
    fn default() -> Self {
        Self {
            fresh: Duration::from_secs(10),
            repeat: Duration::from_secs(5),
            patience: Duration::from_secs(3),
            renewal: Duration::from_secs(Redeemed::RENEWAL_SECONDS),
        }
    }
}

/// An answer of claude-api that is on its way.
type Answer<T> = Pin<Box<dyn Future<Output = Result<T, Failure>> + Send>>;
/// The function that asks claude-api to whom a credential belongs. Tests replace it.
type Ask = Arc<dyn Fn(Credential) -> Answer<Me> + Send + Sync>;

/// The judge of credentials, which asks claude-api. There is one for each bridge.
pub struct Judge {
    /// The client for claude-api without a token.
    upstream: Upstream,
    ask: Ask,
    times: JudgeTimes,
    /// The limits of claude-api, which say whether it has tokens. `None` until it has answered.
    limits: watch::Receiver<Option<Limits>>,
    // Plain locks, because they are held only to read or change the tables, never across an await.
    answers: Mutex<Answers>,
    /// The grants of credentials that sessions hold now.
    grants: Mutex<HashMap<SecretHash, Weak<Grant>>>,
    /// The grants that were made without a judgement, which end together.
    unjudged: Mutex<Unjudged>,
    /// Cancelled when the bridge stops.
    stop: CancellationToken,
}

impl std::fmt::Debug for Judge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Judge").finish_non_exhaustive()
    }
}

impl Judge {
    /// Creates the judge, which asks through `upstream`, a client without a token. `limits` says
    /// whether claude-api has tokens. Cancelling `stop` revokes all grants.
    #[must_use]
    pub fn new(
        upstream: Upstream,
        limits: watch::Receiver<Option<Limits>>,
        stop: CancellationToken,
    ) -> Arc<Self> {
        let without_token = upstream.clone();
        let ask: Ask = Arc::new(move |credential| {
            let upstream = without_token.with_authorization(credential.authorization());
            Box::pin(async move { upstream.me().await })
        });
        Self::with_ask(upstream, ask, JudgeTimes::default(), limits, stop)
    }

    fn with_ask(
        upstream: Upstream,
        ask: Ask,
        times: JudgeTimes,
        limits: watch::Receiver<Option<Limits>>,
        stop: CancellationToken,
    ) -> Arc<Self> {
        Arc::new(Self {
            upstream,
            ask,
            times,
            limits,
            answers: Mutex::default(),
            grants: Mutex::default(),
            unjudged: Mutex::new(Unjudged::new(&stop)),
            stop,
        })
    }

    /// Returns whether claude-api has tokens, as far as it has said. `None` while it has not
    /// answered since the start of the bridge.
    #[must_use]
    pub fn has_tokens(&self) -> Option<bool> {
        self.limits.borrow().as_ref().map(|limits| limits.tokens)
    }

    /// Waits until claude-api has said whether it has tokens, for up to 3 s. Returns `None` if it
    /// has not.
    pub async fn learn_tokens(&self) -> Option<bool> {
        let mut limits = self.limits.clone();
        let known = limits.wait_for(Option::is_some);
        // After a timeout the answer is still unknown. The sender lives until the bridge stops.
        let _ = tokio::time::timeout(self.times.patience, known).await;
        self.has_tokens()
    }

    /// Revokes the grants that were made without a judgement each time that claude-api begins to
    /// have tokens. Runs until the bridge stops.
    pub async fn revoke_unjudged(self: Arc<Self>) {
        let mut limits = self.limits.clone();
        let has_tokens = |limits: &Option<Limits>| limits.as_ref().is_some_and(|l| l.tokens);
        while limits.wait_for(has_tokens).await.is_ok() {
            self.revoke_unjudged_now();
            if limits.wait_for(|limits| !has_tokens(limits)).await.is_err() {
                return;
            }
        }
    }

    fn revoke_unjudged_now(&self) {
        let mut unjudged = self.unjudged.lock().unwrap_or_else(PoisonError::into_inner);
        unjudged.revoked.cancel();
        *unjudged = Unjudged::new(&self.stop);
    }

    /// Returns a grant without a judgement: role admin and no principal. It passes on the
    /// credential, if there is one. It is revoked once claude-api has tokens.
    #[must_use]
    pub fn grant_unjudged(&self, credential: Option<&Credential>) -> Arc<Grant> {
        let authorization = credential.and_then(Credential::authorization);
        let upstream = self.upstream.with_authorization(authorization);
        let mut unjudged = self.unjudged.lock().unwrap_or_else(PoisonError::into_inner);
        let revoked = unjudged.revoked.clone();
        let new = || Grant::new(Me::without_tokens(), upstream, revoked, NEEDED, None, None);
        let grant = match credential {
            None => Arc::clone(unjudged.without_credential.get_or_insert_with(new)),
            Some(_) => new(),
        };
        drop(unjudged);
        // Read after the grant was made: from then on `revoke_unjudged` revokes it.
        if self.has_tokens() == Some(true) {
            self.revoke_unjudged_now();
        }
        grant
    }

    /// Judges a credential. Uses an answer of claude-api that is at most 10 s old. Otherwise waits
    /// up to 3 s for a new one. Dropping the future does not end the question, because others may
    /// wait for the same answer.
    pub async fn judge(self: &Arc<Self>, credential: &Credential) -> Judgement {
        let mut answer = {
            let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
            match answers.usable(credential.hash(), self.times.fresh) {
                Some(answer) => answer,
                None => {
                    let (sender, answer) = watch::channel(None);
                    answers.insert(credential.hash(), answer.clone());
                    let (judge, credential) = (Arc::clone(self), credential.clone());
                    tokio::spawn(async move {
                        sender.send_replace(Some(judge.question(&credential).await));
                    });
                    answer
                }
            }
        };
        match answer.wait_for(Option::is_some).await {
            Ok(answer) => answer.clone().unwrap_or(Judgement::NoAnswer),
            // The task of the question has failed.
            Err(_) => Judgement::NoAnswer,
        }
    }

    /// Asks claude-api about a credential until it answers, for up to 3 s.
    async fn question(&self, credential: &Credential) -> Judgement {
        let end = Instant::now() + self.times.patience;
        let mut delays = delays();
        while let Ok(answer) = timeout_at(end, (self.ask)(credential.clone())).await {
            let may_change = answer.as_ref().is_err_and(Failure::is_transient);
            let judgement = Judgement::of(answer);
            let delay = delays.next_delay(None);
            if judgement != Judgement::NoAnswer || !may_change || Instant::now() + delay >= end {
                return judgement;
            }
            sleep(delay).await;
        }
        Judgement::NoAnswer
    }

    /// Uses up a ticket. Returns the grant of its session, which no other session shares. Repeats
    /// the call for up to 3 s, but only if the ticket certainly was not used.
    ///
    /// # Errors
    /// [`Judgement::Refused`] if the ticket is unknown, used, late, or for another origin.
    /// [`Judgement::NoAnswer`] if claude-api did not answer. The client then needs a new ticket.
    pub async fn redeem(
        self: &Arc<Self>,
        ticket: &Secret,
        origin: Option<&str>,
    ) -> Result<Arc<Grant>, Judgement> {
        let redeem = Redeem {
            ticket: ticket.expose().to_owned(),
            origin: origin.map(str::to_owned),
        };
        let end = Instant::now() + self.times.patience;
        let mut delays = delays();
        while let Ok(answer) = timeout_at(end, self.upstream.redeem(&redeem)).await {
            let failure = match answer {
                Ok(redeemed) => return self.grant_of_ticket(redeemed),
                Err(failure) => failure,
            };
            let is_used = failure.may_have_acted() || !failure.is_transient();
            let delay = delays.next_delay(failure.retry_after());
            if is_used || Instant::now() + delay >= end {
                return Err(Judgement::of(Err(failure)));
            }
            sleep(delay).await;
        }
        Err(Judgement::NoAnswer)
    }

    /// Returns the grant of the session of a redeemed ticket. It renews the session's token until
    /// it is dropped. Nobody else gets this grant: whoever sends the same token gets one that does
    /// not renew it.
    ///
    /// # Errors
    /// [`Judgement::NoAnswer`] if claude-api sent a malformed secret.
    fn grant_of_ticket(self: &Arc<Self>, redeemed: Redeemed) -> Result<Arc<Grant>, Judgement> {
        let Redeemed { token, renewal, me } = redeemed;
        let secret = |text: String| text.parse::<Secret>().map_err(|_| Judgement::NoAnswer);
        let (token, renewal) = (secret(token)?.into(), secret(renewal)?.into());
        let lease = SessionLease::start(&self.upstream, &renewal, self.times.renewal);
        Ok(self.new_grant(&token, me, Some(lease)))
    }

    /// Returns the grant of a credential that claude-api has accepted. All holders of one
    /// credential share one grant. While somebody holds it, claude-api is asked about it every 5 s.
    #[must_use]
    pub fn grant(self: &Arc<Self>, credential: &Credential, me: Box<Me>) -> Arc<Grant> {
        let mut grants = self.grants.lock().unwrap_or_else(PoisonError::into_inner);
        let known = grants.get(&credential.hash()).and_then(Weak::upgrade);
        if let Some(grant) = known.filter(|g| !g.revoked().is_cancelled() && g.is_for(&me)) {
            return grant;
        }
        if grants.len() >= 64 && grants.len() == grants.capacity() {
            grants.retain(|_, grant| grant.strong_count() > 0);
        }
        let grant = self.new_grant(credential, *me, None);
        grants.insert(credential.hash(), Arc::downgrade(&grant));
        grant
    }

    /// Creates a grant, and starts to ask claude-api about its credential.
    fn new_grant(
        self: &Arc<Self>,
        credential: &Credential,
        me: Me,
        lease: Option<SessionLease>,
    ) -> Arc<Grant> {
        let upstream = self.upstream.with_authorization(credential.authorization());
        let (revoked, unused) = (self.stop.child_token(), self.stop.child_token());
        let expires = me.expires;
        let held = CredentialInUse {
            judge: Arc::clone(self),
            credential: credential.clone(),
            name: me.name.clone(),
            principal: me.principal.clone(),
            expires,
            revoked: revoked.clone(),
        };
        tokio::spawn(unused.clone().run_until_cancelled_owned(held.watch()));
        Grant::new(me, upstream, revoked, REMOVED, Some(unused), lease)
    }
}

/// The grants that were made without a judgement since the last time that claude-api had tokens.
struct Unjudged {
    /// Revokes all of them.
    revoked: CancellationToken,
    /// The grant of all clients without a credential. `None` before the first one.
    without_credential: Option<Arc<Grant>>,
}

impl Unjudged {
    fn new(stop: &CancellationToken) -> Self {
        Self {
            revoked: stop.child_token(),
            without_credential: None,
        }
    }
}

/// A credential that somebody holds, in the task that asks claude-api about it.
struct CredentialInUse {
    judge: Arc<Judge>,
    credential: Credential,
    name: Option<String>,
    principal: Option<String>,
    expires: Option<Timestamp>,
    revoked: CancellationToken,
}

impl CredentialInUse {
    /// Asks claude-api about the credential every 5 s. Revokes the grant and returns when
    /// claude-api does not accept the credential, or when it has expired. Does the same when the
    /// credential now belongs to another principal. A claude-api that does not answer revokes
    /// nothing.
    async fn watch(mut self) {
        loop {
            let repeat = self.judge.times.repeat;
            let left = self.expires.map(time_until).unwrap_or(repeat);
            sleep(left.min(repeat)).await;
            if self.expires.is_some_and(|end| time_until(end).is_zero()) {
                break;
            }
            let hash = self.credential.hash();
            let judgement = match (self.judge.ask)(self.credential.clone()).await {
                // Only an answer about this very token may end sessions.
                Err(failure) if failure.problem(ProblemType::TooManyAttempts).is_some() => continue,
                answer => Judgement::of(answer),
            };
            let is_refused = judgement == Judgement::Refused;
            match &judgement {
                Judgement::NoAnswer => continue,
                Judgement::Granted(me) => self.expires = me.expires,
                Judgement::Refused => {}
            }
            // The executions that the sessions view belong to the earlier principal.
            let is_moved = match &judgement {
                Judgement::Granted(me) => me.principal != self.principal,
                Judgement::Refused | Judgement::NoAnswer => false,
            };
            let answers = self.judge.answers.lock();
            let mut answers = answers.unwrap_or_else(PoisonError::into_inner);
            answers.insert(hash, watch::channel(Some(judgement)).1);
            drop(answers);
            if is_refused || is_moved {
                break;
            }
        }
        tracing::info!(
            target: "audit",
            token = self.name.as_deref(),
            principal = self.principal.as_deref(),
            outcome = "removed, expired or moved",
            "a token is no longer valid; its sessions end"
        );
        self.revoked.cancel();
    }
}

/// Returns the time until an instant of the wall clock, and zero if it has passed.
fn time_until(end: Timestamp) -> Duration {
    Duration::try_from(end.duration_since(Timestamp::now())).unwrap_or_default()
}

#[cfg(test)]
mod tests;

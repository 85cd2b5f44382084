//! The tokens with which a bridge makes the calls of a session that began with a ticket.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use protocol::access::base64url;
use protocol::{Secret, SecretHash};
use ring::rand::{SecureRandom, SystemRandom};
use spool::Owner;

use super::allotted_table::{AllottedTable, Holder};
use super::subject::Subject;

/// The first characters of every session token.
const PREFIX: &str = "ccbt_";
/// The first characters of every renewal secret.
const RENEWAL_PREFIX: &str = "ccbr_";
/// The number of random bytes in a renewal secret.
const RENEWAL_BYTES: usize = 32;
/// How long a session token is valid after its creation and after each renewal (2 min). A bridge
/// renews it every [`Redeemed::RENEWAL_SECONDS`](protocol::access::Redeemed::RENEWAL_SECONDS), so a
/// network cut of a minute does not end the session.
pub(crate) const LIFETIME: Duration = Duration::from_secs(120);
/// How long a session token is valid at most, however often it is renewed (12 h). It bounds the
/// use of a ticket that was redeemed by somebody else than a bridge.
pub(crate) const LONGEST: Duration = Duration::from_secs(12 * 60 * 60);
/// The most session tokens of the tokens of one principal. It is above the sessions of one
/// principal (`sessionsPerPrincipal`) on several bridges.
const TOKENS_PER_OWNER: usize = 1024;

/// The session tokens that are valid. They are only in memory: a restart ends them, and their pages
/// request new tickets.
///
/// A session token names nothing. Its entry names the token or share that it stands for, which the
/// service looks up for each request. So it also ends together with that one.
///
/// Its renewal secret renews and ends it. The session token is the hash of that secret, so whoever
/// learns the session token alone cannot keep it valid.
///
/// - When is an entry added? When a ticket is redeemed. It ends when the bridge ends it, 2 min
///   after its last renewal, or after 12 h.
/// - Who waits for whom, and what bounds the other direction? See [`AllottedTable`]: a principal
///   with 1,024 session tokens loses the one that was renewed least recently. Its shares have an
///   allotment of their own.
#[derive(Debug)]
pub(crate) struct SessionTokens {
    // Held for one change; no await happens inside.
    table: Mutex<AllottedTable<Session>>,
}

/// The session of a session token.
#[derive(Debug)]
struct Session {
    subject: Subject,
    /// The end, however often the token is renewed.
    longest: Instant,
}

/// A session token, and the secret that renews and ends it.
pub(crate) struct NewSession {
    pub(crate) token: String,
    pub(crate) renewal: String,
}

impl Default for SessionTokens {
    fn default() -> Self {
        Self {
            table: Mutex::new(AllottedTable::new(TOKENS_PER_OWNER)),
        }
    }
}

/// Returns whether the text has the form of a session token. It may be forged or have ended.
pub(crate) fn is_session_token(text: &str) -> bool {
    text.starts_with(PREFIX)
}

/// Returns the session token that a renewal secret renews. `None` if the text is no such secret.
fn token_of(renewal: &str) -> Option<String> {
    renewal.strip_prefix(RENEWAL_PREFIX)?;
    let hash = SecretHash::of(renewal.as_bytes());
    Some(format!("{PREFIX}{}", base64url(hash.as_bytes())))
}

impl SessionTokens {
    /// Creates a token that stands for `subject`. It counts for `owner`.
    ///
    /// # Errors
    /// The operating system has no random numbers.
    pub(crate) fn create(
        &self,
        subject: Subject,
        owner: Owner,
        now: Instant,
    ) -> std::io::Result<NewSession> {
        let mut bytes = [0; RENEWAL_BYTES];
        let random = SystemRandom::new().fill(&mut bytes);
        random.map_err(|_| std::io::Error::other("the system has no random numbers"))?;
        let renewal = format!("{RENEWAL_PREFIX}{}", base64url(&bytes));
        let token = token_of(&renewal).unwrap_or_default();
        let session = Session {
            subject,
            longest: now + LONGEST,
        };
        let hash = SecretHash::of(token.as_bytes());
        let holder = Holder::new(subject, owner);
        self.with(|table| table.insert(hash, holder, now + LIFETIME, session, now));
        Ok(NewSession { token, renewal })
    }

    /// Returns what the session token with this hash stands for. `None` if it is unknown or has
    /// ended.
    pub(crate) fn find(&self, token: &SecretHash, now: Instant) -> Option<Subject> {
        self.with(|table| Some(table.get(token, now)?.subject))
    }

    /// Makes the session token of this secret valid for 2 min from `now`, but not beyond 12 h after
    /// its creation. Returns false if the token has ended, or if the secret is unknown.
    pub(crate) fn renew(&self, renewal: &Secret, now: Instant) -> bool {
        let Some(token) = token_of(renewal.expose()) else {
            return false;
        };
        let hash = SecretHash::of(token.as_bytes());
        self.with(|table| {
            let longest = table.get(&hash, now).map(|session| session.longest);
            longest.is_some_and(|longest| table.renew(&hash, longest.min(now + LIFETIME), now))
        })
    }

    /// Ends the session token of this secret. Has no effect if it has ended already.
    pub(crate) fn end(&self, renewal: &Secret, now: Instant) {
        if let Some(token) = token_of(renewal.expose()) {
            let hash = SecretHash::of(token.as_bytes());
            self.with(|table| table.remove(&hash, now));
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut AllottedTable<Session>) -> T) -> T {
        act(&mut self.table.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use protocol::ExecutionId;

    use super::*;

    fn subject() -> Subject {
        Subject::Token(SecretHash::of(b"x"))
    }

    fn secret(text: &str) -> Secret {
        text.parse().unwrap()
    }

    fn create(tokens: &SessionTokens, now: Instant) -> (SecretHash, Secret) {
        let new = tokens.create(subject(), Owner::of("a"), now).unwrap();
        assert!(is_session_token(&new.token));
        (secret(&new.token).hash(), secret(&new.renewal))
    }

    #[test]
    fn a_session_token_that_nobody_renews_ends_after_two_minutes() {
        let (tokens, now) = (SessionTokens::default(), Instant::now());
        let (token, renewal) = create(&tokens, now);
        let almost = now + LIFETIME.saturating_sub(Duration::from_millis(1));
        assert_eq!(tokens.find(&token, almost), Some(subject()));
        assert_eq!(tokens.find(&token, now + LIFETIME), None);
        assert!(!tokens.renew(&renewal, now + LIFETIME), "too late");
        assert_eq!(tokens.find(&token, now + LIFETIME), None);
    }

    #[test]
    fn a_renewed_session_token_ends_after_twelve_hours() {
        let (tokens, mut now) = (SessionTokens::default(), Instant::now());
        let (begin, (token, renewal)) = (now, create(&tokens, now));
        while now + LIFETIME / 2 < begin + LONGEST {
            now += LIFETIME / 2;
            assert!(tokens.renew(&renewal, now));
            assert_eq!(tokens.find(&token, now), Some(subject()));
        }
        assert_eq!(tokens.find(&token, begin + LONGEST), None);
        assert!(!tokens.renew(&renewal, begin + LONGEST));
    }

    #[test]
    fn only_the_renewal_secret_renews_and_ends_its_token() {
        let (tokens, now) = (SessionTokens::default(), Instant::now());
        let id = ExecutionId::random();
        let share = Subject::Share(id, SecretHash::of(b"share"));
        let of_share = tokens.create(share, Owner::of("a"), now).unwrap();
        let new = tokens.create(subject(), Owner::of("a"), now).unwrap();
        let hash = secret(&new.token).hash();
        for other in [&new.token, &of_share.token, &"ccbr_x".to_owned()] {
            assert!(!tokens.renew(&secret(other), now), "{other}");
            tokens.end(&secret(other), now);
        }
        assert_eq!(tokens.find(&hash, now), Some(subject()));
        assert_eq!(tokens.find(&secret(&new.renewal).hash(), now), None);
        tokens.end(&secret(&new.renewal), now);
        tokens.end(&secret(&new.renewal), now);
        assert_eq!(tokens.find(&hash, now), None);
        assert!(!tokens.renew(&secret(&new.renewal), now));
        assert_eq!(
            tokens.find(&secret(&of_share.token).hash(), now),
            Some(share)
        );
    }
}

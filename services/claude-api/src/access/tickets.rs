//! Tickets, each of which opens one WebSocket session of a web page.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use protocol::SecretHash;
use protocol::access::{Ticket, base64url};
use ring::rand::{SecureRandom, SystemRandom};

use super::Subject;

/// For how long a ticket can be redeemed, in seconds.
pub(crate) const LIFETIME: Duration = Duration::from_secs(30);
/// The number of random bytes in a ticket.
const TICKET_BYTES: usize = 32;

/// The tickets that can still be redeemed. They are only in memory: a restart ends them.
///
/// - When is a place taken? When a client with a valid token requests a ticket. It is free again
///   when the ticket is redeemed, or after 30 s.
/// - Who waits for whom? Nobody. At [`TICKETS_PER_SUBJECT`] tickets of one token, the oldest one of
///   that token is dropped. At [`TICKETS`] in all, the oldest one of the token with the most
///   tickets is dropped.
/// - What bounds the other direction? A ticket is redeemed once.
#[derive(Debug, Default)]
pub(crate) struct Tickets {
    // Held for one change; no await happens inside.
    waiting: Mutex<HashMap<SecretHash, Waiting>>,
}

/// The most tickets that wait to be redeemed.
const TICKETS: usize = 16 * 1024;
/// The most tickets of one token that wait to be redeemed.
const TICKETS_PER_SUBJECT: usize = 256;

/// A ticket that can be redeemed.
#[derive(Debug)]
struct Waiting {
    subject: Subject,
    origin: Option<String>,
    until: Instant,
}

impl Tickets {
    /// Creates a ticket for the holder of `subject`, which works only with this origin.
    ///
    /// # Errors
    /// The operating system has no random numbers.
    pub(crate) fn create(
        &self,
        subject: Subject,
        origin: Option<String>,
        now: Instant,
    ) -> std::io::Result<Ticket> {
        let mut bytes = [0; TICKET_BYTES];
        let random = SystemRandom::new().fill(&mut bytes);
        random.map_err(|_| std::io::Error::other("the system has no random numbers"))?;
        let ticket = base64url(&bytes);
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|_, other| other.until > now);
        let of = |subject: Subject| waiting.values().filter(|w| w.subject == subject).count();
        let crowded = if of(subject) >= TICKETS_PER_SUBJECT {
            Some(subject)
        } else if waiting.len() >= TICKETS {
            let subjects = waiting.values().map(|w| w.subject);
            subjects.max_by_key(|subject| of(*subject))
        } else {
            None
        };
        if let Some(crowded) = crowded {
            let own = waiting.iter().filter(|(_, w)| w.subject == crowded);
            let oldest = own.min_by_key(|(_, w)| w.until).map(|(hash, _)| *hash);
            oldest.and_then(|hash| waiting.remove(&hash));
        }
        let new = Waiting {
            subject,
            origin,
            until: now + LIFETIME,
        };
        waiting.insert(SecretHash::of(ticket.as_bytes()), new);
        Ok(Ticket {
            ticket,
            expires_seconds: LIFETIME.as_secs(),
        })
    }

    /// Uses up a ticket. Returns what it stands for; `None` if it is unknown, used, late, or made
    /// for another origin. A ticket that is tried with a wrong origin is used up, too.
    pub(crate) fn redeem(
        &self,
        ticket: &str,
        origin: Option<&str>,
        now: Instant,
    ) -> Option<Subject> {
        let hash = SecretHash::of(ticket.as_bytes());
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let found = waiting.remove(&hash)?;
        let good = found.until > now && found.origin.as_deref() == origin;
        good.then_some(found.subject)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(name: &str) -> Subject {
        Subject::Token(SecretHash::of(name.as_bytes()))
    }

    #[test]
    fn a_ticket_works_once_in_time_and_for_its_origin() {
        let (tickets, now) = (Tickets::default(), Instant::now());
        let make = |origin: Option<&str>| {
            let origin = origin.map(str::to_owned);
            tickets.create(subject("a"), origin, now).unwrap().ticket
        };
        let ticket = make(Some("https://a"));
        let redeem = |ticket: &str, origin, at| tickets.redeem(ticket, origin, at);
        assert_eq!(redeem(&ticket, Some("https://a"), now), Some(subject("a")));
        assert_eq!(redeem(&ticket, Some("https://a"), now), None, "twice");
        let ticket = make(Some("https://a"));
        assert_eq!(redeem(&ticket, Some("https://b"), now), None);
        assert_eq!(redeem(&ticket, Some("https://a"), now), None, "tried");
        assert_eq!(redeem(&make(Some("https://a")), None, now), None);
        assert_eq!(redeem(&make(None), Some("https://a"), now), None);
        assert_eq!(redeem(&make(None), None, now + LIFETIME), None, "late");
        let almost = LIFETIME.saturating_sub(Duration::from_millis(1));
        assert!(redeem(&make(None), None, now + almost).is_some());
        assert_eq!(redeem("", None, now), None);
    }

    #[test]
    fn one_token_cannot_use_up_the_tickets_of_another() {
        let (tickets, now) = (Tickets::default(), Instant::now());
        let other = tickets.create(subject("b"), None, now).unwrap();
        for _ in 0..=TICKETS_PER_SUBJECT {
            tickets.create(subject("a"), None, now).unwrap();
        }
        let waiting = tickets.waiting.lock().unwrap().len();
        assert_eq!(waiting, TICKETS_PER_SUBJECT + 1);
        assert!(tickets.redeem(&other.ticket, None, now).is_some());
    }
}

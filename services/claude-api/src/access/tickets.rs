//! Tickets, each of which opens one WebSocket session of a web page.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use protocol::SecretHash;
use protocol::access::{Ticket, base64url};
use ring::rand::{SecureRandom, SystemRandom};
use spool::Owner;

use super::subject::Subject;

/// How long a ticket can be redeemed (30 s).
pub(crate) const LIFETIME: Duration = Duration::from_secs(30);
/// The number of random bytes in a ticket.
const TICKET_BYTES: usize = 32;

/// The tickets that can still be redeemed. They are only in memory: a restart ends them.
///
/// - When is a place taken? When a client with a valid token requests a ticket. It is free again
///   when the ticket is redeemed, or after 30 s.
/// - Who waits for whom? Nobody. When a principal has [`TICKETS_PER_OWNER`] tickets, its oldest one
///   is dropped for a new one. The holders of its shares count for the principal.
/// - What bounds the other direction? A ticket is redeemed once.
#[derive(Debug, Default)]
pub(crate) struct Tickets {
    // Held for one change; no await happens inside.
    table: Mutex<Table>,
}

/// The most tickets of one principal that wait to be redeemed.
const TICKETS_PER_OWNER: usize = 256;

/// The tickets by their hash, and for each principal the hashes in the order of creation.
#[derive(Debug, Default)]
struct Table {
    waiting: HashMap<SecretHash, Waiting>,
    by_owner: HashMap<Owner, VecDeque<SecretHash>>,
}

/// A ticket that can be redeemed.
#[derive(Debug)]
struct Waiting {
    subject: Subject,
    owner: Owner,
    origin: Option<String>,
    until: Instant,
}

impl Table {
    /// Removes the tickets of an owner that are too old, and one more if there is no room.
    fn make_room(&mut self, owner: Owner, now: Instant) {
        let Some(hashes) = self.by_owner.get_mut(&owner) else {
            return;
        };
        while let Some(oldest) = hashes.front() {
            let waiting = self.waiting.get(oldest);
            let stays = waiting.is_some_and(|waiting| waiting.until > now);
            if stays && hashes.len() < TICKETS_PER_OWNER {
                break;
            }
            self.waiting.remove(oldest);
            hashes.pop_front();
        }
        if hashes.is_empty() {
            self.by_owner.remove(&owner);
        }
    }
}

impl Tickets {
    /// Creates a ticket for the holder of `subject`, which works only with this origin. It counts
    /// for `owner`.
    ///
    /// # Errors
    /// The operating system has no random numbers.
    pub(crate) fn create(
        &self,
        subject: Subject,
        owner: Owner,
        origin: Option<String>,
        now: Instant,
    ) -> std::io::Result<Ticket> {
        let mut bytes = [0; TICKET_BYTES];
        let random = SystemRandom::new().fill(&mut bytes);
        random.map_err(|_| std::io::Error::other("the system has no random numbers"))?;
        let ticket = base64url(&bytes);
        let hash = SecretHash::of(ticket.as_bytes());
        let waiting = Waiting {
            subject,
            owner,
            origin,
            until: now + LIFETIME,
        };
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.make_room(owner, now);
        table.waiting.insert(hash, waiting);
        table.by_owner.entry(owner).or_default().push_back(hash);
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
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let found = table.waiting.remove(&hash)?;
        table.make_room(found.owner, now);
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
            let made = tickets.create(subject("a"), Owner::of("a"), origin, now);
            made.unwrap().ticket
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
    fn one_principal_cannot_use_up_the_tickets_of_another() {
        let (tickets, now) = (Tickets::default(), Instant::now());
        let [a, b] = ["a", "b"].map(Owner::of);
        let create = |owner| tickets.create(subject("x"), owner, None, now).unwrap();
        let other = create(b);
        let first = create(a);
        for _ in 0..TICKETS_PER_OWNER {
            create(a);
        }
        let waiting = tickets.table.lock().unwrap().waiting.len();
        assert_eq!(waiting, TICKETS_PER_OWNER + 1);
        assert!(tickets.redeem(&other.ticket, None, now).is_some());
        assert!(tickets.redeem(&first.ticket, None, now).is_none());
    }

    #[test]
    fn old_tickets_are_removed() {
        let (tickets, now) = (Tickets::default(), Instant::now());
        let a = Owner::of("a");
        for _ in 0..10 {
            tickets.create(subject("x"), a, None, now).unwrap();
        }
        let later = now + LIFETIME;
        let last = tickets.create(subject("x"), a, None, later).unwrap();
        assert_eq!(tickets.table.lock().unwrap().waiting.len(), 1);
        assert!(tickets.redeem(&last.ticket, None, later).is_some());
        let table = tickets.table.lock().unwrap();
        assert!(table.waiting.is_empty() && table.by_owner.is_empty());
    }
}

//! Tickets, each of which opens one WebSocket session of a web page.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use protocol::SecretHash;
use protocol::access::{Ticket, base64url};
use ring::rand::{SecureRandom, SystemRandom};
use spool::Owner;

use super::allotted_table::{AllottedTable, Holder};
use super::subject::Subject;

/// How long a ticket can be redeemed (30 s).
pub(crate) const LIFETIME: Duration = Duration::from_secs(30);
/// The number of random bytes in a ticket.
const TICKET_BYTES: usize = 32;

/// The most tickets of the tokens of one principal that wait to be redeemed.
const TICKETS_PER_OWNER: usize = 256;

/// The tickets that can still be redeemed. They are only in memory: a restart ends them.
///
/// - When is room taken? When a client with a valid token requests a ticket. It is free again when
///   the ticket is redeemed, or after 30 s.
/// - Who waits for whom? Nobody. When a principal has [`TICKETS_PER_OWNER`] tickets, its oldest one
///   is evicted for a new one. Its shares have an allotment of their own, see [`AllottedTable`].
/// - What bounds the other direction? A ticket is redeemed once.
#[derive(Debug)]
pub(crate) struct Tickets {
    // Held for one change; no await happens inside.
    table: Mutex<AllottedTable<Waiting>>,
}

/// A ticket that can be redeemed.
#[derive(Debug)]
struct Waiting {
    subject: Subject,
    origin: Option<String>,
}

impl Default for Tickets {
    fn default() -> Self {
        Self {
            table: Mutex::new(AllottedTable::new(TICKETS_PER_OWNER)),
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
        let waiting = Waiting { subject, origin };
        let holder = Holder::new(subject, owner);
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.insert(hash, holder, now + LIFETIME, waiting, now);
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
        let waiting = table.remove(&hash, now)?;
        (waiting.origin.as_deref() == origin).then_some(waiting.subject)
    }
}

#[cfg(test)]
mod tests {
    use protocol::ExecutionId;

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
    fn neither_another_principal_nor_a_share_uses_up_the_tickets_of_a_principal() {
        let (tickets, now) = (Tickets::default(), Instant::now());
        let [a, b] = ["a", "b"].map(Owner::of);
        let create = |subject, owner| tickets.create(subject, owner, None, now).unwrap();
        let other = create(subject("b"), b);
        let first = create(subject("a"), a);
        for n in 0..2 * TICKETS_PER_OWNER {
            let share = SecretHash::of(&n.to_le_bytes());
            create(Subject::Share(ExecutionId::random(), share), a);
        }
        assert!(tickets.redeem(&first.ticket, None, now).is_some());
        let first = create(subject("a"), a);
        for _ in 0..TICKETS_PER_OWNER {
            create(subject("a"), a);
        }
        assert!(tickets.redeem(&other.ticket, None, now).is_some());
        assert!(tickets.redeem(&first.ticket, None, now).is_none());
    }
}

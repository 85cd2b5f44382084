//! Tests of the room that each holder has.

use std::time::Duration;

use protocol::ExecutionId;

use super::*;

/// A table for 32 entries of tokens, 16 of shares, and 4 of one share.
fn table() -> AllottedTable<u32> {
    AllottedTable::new(32)
}

fn hash(name: impl ToString) -> SecretHash {
    SecretHash::of(name.to_string().as_bytes())
}

fn token() -> Holder {
    Holder::new(Subject::Token(hash("token")), Owner::of("a"))
}

fn share(name: u32) -> Holder {
    let subject = Subject::Share(ExecutionId::random(), hash(format!("share {name}")));
    Holder::new(subject, Owner::of("a"))
}

const LIFETIME: Duration = Duration::from_secs(30);

#[test]
fn shares_of_an_owner_evict_no_entry_of_its_tokens() {
    let (mut table, now) = (table(), Instant::now());
    for n in 0..32 {
        table.insert(hash(n), token(), now + LIFETIME, n, now);
    }
    for n in 100..200 {
        table.insert(hash(n), share(n), now + LIFETIME, n, now);
    }
    assert!((0..32).all(|n| table.get(&hash(n), now) == Some(&n)));
    assert_eq!(table.entries.len(), 32 + 16);
    table.insert(hash(32), token(), now + LIFETIME, 32, now);
    assert_eq!(table.get(&hash(0), now), None, "the oldest of the tokens");
    assert_eq!(table.entries.len(), 32 + 16);
}

#[test]
fn a_greedy_share_evicts_its_own_entries_and_then_makes_room_for_others() {
    let (mut table, now) = (table(), Instant::now());
    table.insert(hash(0), share(0), now + LIFETIME, 0, now);
    for n in 1..100 {
        table.insert(hash(n), share(1), now + LIFETIME, n, now);
    }
    assert_eq!(table.get(&hash(0), now), Some(&0));
    let left: Vec<_> = (1..100)
        .filter(|n| table.get(&hash(*n), now).is_some())
        .collect();
    assert_eq!(left, [96, 97, 98, 99]);
    // Greedy shares fill the part of all shares. A modest one still gets room from them.
    for n in 100..200 {
        table.insert(hash(n), share(2 + n % 3), now + LIFETIME, n, now);
    }
    assert_eq!(table.entries.len(), 16);
    assert_eq!(table.get(&hash(0), now), Some(&0), "the modest share");
    table.insert(hash(200), share(9), now + LIFETIME, 200, now);
    assert_eq!(table.get(&hash(200), now), Some(&200));
    assert_eq!(table.get(&hash(0), now), Some(&0));
    assert_eq!(table.entries.len(), 16);
}

#[test]
fn ended_and_removed_entries_leave_nothing_behind() {
    let (mut table, now) = (table(), Instant::now());
    for n in 0..4 {
        table.insert(hash(n), share(0), now + LIFETIME, n, now);
        table.insert(hash(10 + n), token(), now + LIFETIME, n, now);
    }
    assert!(table.renew(&hash(0), now + LIFETIME * 2, now));
    let later = now + LIFETIME;
    assert!(
        !table.renew(&hash(1), later + LIFETIME, later),
        "it has ended"
    );
    assert_eq!(table.remove(&hash(1), later), None);
    assert_eq!(table.entries.len(), 1, "the renewed one");
    assert_eq!(table.remove(&hash(0), later), Some(0));
    assert!(table.entries.is_empty() && table.by_owner.is_empty());
}

#[test]
fn a_renewed_entry_is_evicted_last() {
    let (mut table, now) = (table(), Instant::now());
    for n in 0..4 {
        table.insert(hash(n), share(0), now + LIFETIME, n, now);
    }
    assert!(table.renew(&hash(0), now + LIFETIME, now));
    table.insert(hash(4), share(0), now + LIFETIME, 4, now);
    assert!(table.get(&hash(0), now).is_some());
    assert!(table.get(&hash(1), now).is_none());
}

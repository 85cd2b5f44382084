use protocol::{Status, Webhook};

use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

/// Adds an ended execution of a principal, which reports to this host.
fn ended(table: &mut Table, principal: Option<&str>, host: &str, now: Timestamp) {
    let id = ExecutionId::random();
    let webhook = Webhook::new(format!("https://{host}/x"));
    let mut ledger = Ledger::new(id, principal, &webhook);
    ledger.end(&Status::queued(id, now, "default".into()), now);
    table.add(ledger, false).unwrap();
}

#[test]
fn a_receiver_with_many_events_delays_no_other() {
    let mut table = Table::default();
    for _ in 0..100 {
        ended(&mut table, Some("a"), "hangs", at(0));
    }
    ended(&mut table, Some("a"), "works", at(1));
    ended(&mut table, Some("b"), "works", at(1));
    let (started, _) = table.take_due(at(1));
    let works = started.iter().filter(|event| event.host == "works");
    assert_eq!(works.count(), 2);
    assert_eq!(started.len(), 6, "four of the receiver that hangs");
    assert!(
        table.take_due(at(1)).0.is_empty(),
        "each is in progress once"
    );
    table.land(&started[0]);
    assert_eq!(table.take_due(at(1)).0.len(), 1);
}

#[test]
fn the_longest_due_event_is_first_and_the_next_time_is_known() {
    let mut table = Table::default();
    for second in [3, 1, 2, 9, 7] {
        ended(&mut table, None, &format!("h{second}"), at(second));
    }
    let (started, next) = table.take_due(at(5));
    let hosts: Vec<_> = started.iter().map(|event| event.host.as_str()).collect();
    assert_eq!(hosts, ["h1", "h2", "h3"]);
    assert_eq!(next, Some(at(7)));
}

#[test]
fn an_event_is_not_late_because_the_clock_was_set_back() {
    let mut table = Table::default();
    ended(&mut table, None, "a", at(100_000));
    assert_eq!(table.take_due(at(0)).0.len(), 1);
}

#[test]
fn ledgers_are_bounded_for_each_principal_and_in_all() {
    let mut table = Table::default();
    for _ in 0..PRINCIPAL_LEDGERS_MAX {
        ended(&mut table, Some("a"), "a", at(0));
    }
    let id = ExecutionId::random();
    let more = |principal| Ledger::new(id, principal, &Webhook::new("https://a/"));
    assert_eq!(table.add(more(Some("a")), false), Err(TooManyLedgers));
    assert_eq!(table.add(more(Some("a")), true), Ok(()));
    table.remove(id);
    for _ in PRINCIPAL_LEDGERS_MAX..LEDGERS_MAX {
        ended(&mut table, None, "a", at(0));
    }
    assert_eq!(table.add(more(Some("b")), false), Err(TooManyLedgers));
    let all: Vec<_> = table.slots.keys().copied().collect();
    all.into_iter().for_each(|id| table.remove(id));
    assert!(table.by_principal.is_empty());
    assert_eq!(table.add(more(Some("a")), false), Ok(()));
}

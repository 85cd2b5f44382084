use grants::{Endpoint, GrantHash, Usage};

use super::*;

fn registration(id: &str, principal: Option<&str>) -> Registration {
    Registration {
        execution_id: id.to_owned(),
        hash: GrantHash::of(id),
        principal: principal.map(str::to_owned),
        max_cost_usd: Some(1.0),
        spent_usd: 0.0,
    }
}

fn answer(id: &str, cost_usd: f64, total_cost_usd: f64) -> Answer {
    Answer {
        execution_id: Some(id.to_owned()),
        endpoint: Endpoint::Messages,
        status: Some(200),
        error_type: None,
        complete: true,
        first_byte_ms: Some(1),
        resets_at_ms: None,
        usage: Usage::default(),
        cost_usd,
        total_cost_usd,
    }
}

fn delivery(id: &str, payload: &str) -> Delivery {
    Delivery {
        id: id.to_owned(),
        principal: None,
        url: "https://example.org".to_owned(),
        payload: payload.into(),
    }
}

/// Returns the orders for a connection, each as its name and its execution.
fn orders(table: &mut Table, link: LinkNumber) -> Vec<String> {
    let orders = table.take_orders(link).expect("the present connection");
    let orders = orders.into_iter().map(|order| match order {
        Order::Grant(registration) => format!("grant {}", registration.execution_id),
        Order::Revoke { execution_id } => format!("revoke {execution_id}"),
        Order::Exhaust { execution_id } => format!("exhaust {execution_id}"),
        Order::Deliver(delivery) => format!("deliver {}", delivery.id),
        Order::Synced => "synced".to_owned(),
        Order::Hello { .. } | Order::Beat => panic!("not from the table"),
    });
    orders.collect()
}

fn standing(watch: &RowWatch) -> Standing {
    *watch.standing.borrow()
}

#[test]
fn a_grant_is_sent_on_every_connection_until_it_is_revoked() {
    let mut table = Table::default();
    let one = table.insert(registration("one", None));
    assert_eq!(standing(&one), Standing::Away);
    let first = table.connect();
    assert_eq!(orders(&mut table, first), ["grant one", "synced"]);
    assert_eq!(standing(&one), Standing::Sent);
    table.granted(first, "one");
    table.granted(first, "unknown");
    assert_eq!(standing(&one), Standing::InForce);
    let two = table.insert(registration("two", None));
    assert_eq!(orders(&mut table, first), ["grant two"]);
    assert_eq!(standing(&two), Standing::Sent);

    assert!(table.disconnect(first));
    assert_eq!(standing(&one), Standing::Away);
    table.remove("two");
    let second = table.connect();
    assert_eq!(orders(&mut table, second), ["grant one", "synced"]);
    table.remove("one");
    assert_eq!(orders(&mut table, second), ["revoke one"]);
    assert!(one.standing.has_changed().is_err(), "its row is gone");
}

#[test]
fn a_newer_connection_replaces_the_older_one_whose_reports_no_longer_confirm() {
    let mut table = Table::default();
    let one = table.insert(registration("one", None));
    let (first, second) = (table.connect(), table.connect());
    assert_eq!(table.take_orders(first), None);
    assert_eq!(orders(&mut table, second), ["grant one", "synced"]);
    table.granted(first, "one");
    assert_eq!(standing(&one), Standing::Sent);
    assert!(!table.disconnect(first), "it is not the present one");
    table.granted(second, "one");
    assert_eq!(standing(&one), Standing::InForce);
    assert_eq!(one.charges.borrow().restarts, 1);
}

#[test]
fn a_revoked_grant_waits_for_its_last_answers_as_long_as_they_can_come() {
    let mut table = Table::default();
    let link = table.connect();
    orders(&mut table, link);
    let [one, two, three] = ["one", "two", "three"].map(|id| table.insert(registration(id, None)));
    orders(&mut table, link);
    table.revoke("one");
    table.revoke("one");
    assert_eq!(orders(&mut table, link), ["revoke one"]);
    assert_eq!(standing(&one), Standing::Ending);
    table.answer(&answer("one", 0.5, 0.5));
    table.revoked(link, "one");
    assert_eq!(standing(&one), Standing::Ended);
    assert_eq!(one.charges.borrow().cost_usd, Some(0.5));

    table.revoke("two");
    table.disconnect(link);
    assert_eq!(standing(&two), Standing::Ended, "no answer can come");
    assert_eq!(two.charges.borrow().restarts, 0);
    table.revoke("three");
    assert_eq!(standing(&three), Standing::Ended);
    let link = table.connect();
    assert_eq!(orders(&mut table, link), ["synced"]);
}

#[test]
fn the_orders_of_a_grant_that_nobody_took_are_withdrawn() {
    let mut table = Table::default();
    let link = table.connect();
    for _ in 0..1000 {
        let one = table.insert(registration("one", Some("a")));
        table.exhaust("a");
        table.revoke("one");
        assert_eq!(standing(&one), Standing::Ended);
        table.remove("one");
    }
    assert_eq!(orders(&mut table, link), ["synced"]);
}

#[test]
fn the_cost_is_the_larger_sum_and_goes_on_after_a_restart() {
    let mut table = Table::default();
    let one = table.insert(registration("one", None));
    let cost = || one.charges.borrow().cost_usd;
    assert_eq!(cost(), None);
    table.answer(&answer("one", 0.25, 0.25));
    // A report was lost.
    table.answer(&answer("one", 0.125, 0.5));
    assert_eq!(cost(), Some(0.5));
    // The sum began anew.
    table.answer(&answer("one", 0.25, 0.25));
    assert_eq!(cost(), Some(0.625));
    table.answer(&answer("unknown", 9.0, 9.0));
    table.answer(&answer("one", -9.0, 0.0));
    assert_eq!(cost(), Some(0.625));
    let link = table.connect();
    let orders = table.take_orders(link).unwrap();
    let Some(Order::Grant(sent)) = orders.front() else {
        panic!("{orders:?}")
    };
    assert_eq!(sent.spent_usd, 0.625);
    assert!(!one.charges.borrow().is_exhausted);
    table.answer(&answer("one", 0.5, 0.5));
    assert!(one.charges.borrow().is_exhausted, "over its limit of 1 USD");
}

#[test]
fn the_reset_of_the_last_429_is_kept() {
    let mut table = Table::default();
    let one = table.insert(registration("one", None));
    let limited = |resets_at_ms| Answer {
        status: Some(429),
        resets_at_ms,
        ..answer("one", 0.0, 0.0)
    };
    table.answer(&limited(Some(5000)));
    table.answer(&limited(Some(7000)));
    table.answer(&answer("one", 0.0, 0.0));
    assert_eq!(one.charges.borrow().resets_at_ms, Some(7000));
}

#[test]
fn the_grants_of_a_principal_are_exhausted_once_and_again_on_the_next_connection() {
    let mut table = Table::default();
    let link = table.connect();
    let one = table.insert(registration("one", Some("a")));
    table.insert(registration("two", Some("b")));
    table.insert(registration("three", None));
    orders(&mut table, link);
    table.answer(&answer("one", 0.5, 0.5));
    let mut costs = table.costs();
    costs.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(
        costs,
        [
            ("a".to_owned(), vec![("one".to_owned(), 0.5)]),
            ("b".to_owned(), vec![("two".to_owned(), 0.0)])
        ]
    );
    table.exhaust("a");
    table.exhaust("a");
    assert_eq!(orders(&mut table, link), ["exhaust one"]);
    assert!(one.charges.borrow().is_exhausted);
    assert_eq!(table.costs().len(), 1, "nothing is left to exhaust for a");
    table.remove("two");
    table.remove("three");
    let link = table.connect();
    assert_eq!(
        orders(&mut table, link),
        ["grant one", "exhaust one", "synced"]
    );
}

#[tokio::test]
async fn a_webhook_needs_a_connection_and_has_a_result_whatever_happens() {
    let mut table = Table::default();
    assert_eq!(table.deliver(delivery("e", "")), Err(NotSent::NotConnected));
    let link = table.connect();
    let long = "x".repeat(grants::LINE_BYTES);
    assert_eq!(table.deliver(delivery("e", &long)), Err(NotSent::TooLong));
    let mut given = 0;
    while table.deliver(delivery(&format!("e{given}"), "")).is_ok() {
        given += 1;
    }
    assert_eq!(table.deliver(delivery("e", "")), Err(NotSent::Busy));
    assert_eq!(orders(&mut table, link)[1], "deliver e0");
    table.delivered("e0".to_owned(), Delivered::Accepted);
    assert_eq!(table.deliver(delivery("e", "")), Ok(()));
    table.disconnect(link);
    let mut outcomes = table.take_outcomes().unwrap();
    assert!(table.take_outcomes().is_none());
    let first = outcomes.next().await.unwrap();
    assert_eq!(
        (first.id.as_str(), first.outcome),
        ("e0", Delivered::Accepted)
    );
    for _ in 0..given {
        let lost = outcomes.next().await.unwrap();
        assert!(matches!(lost.outcome, Delivered::Failed { .. }), "{lost:?}");
    }
    // A result that comes late is passed on.
    table.connect();
    table.delivered("e7".to_owned(), Delivered::Accepted);
    assert_eq!(outcomes.next().await.unwrap().id, "e7");
}

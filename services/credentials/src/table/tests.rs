use grants::GrantHash;

use super::*;

fn registration(execution: &str, grant: &str) -> Registration {
    Registration {
        execution_id: execution.to_owned(),
        hash: GrantHash::of(grant),
        principal: None,
        max_cost_usd: None,
        spent_usd: 0.0,
    }
}

/// Returns a table with a synced connection that has registered these executions, each with its
/// grant.
fn synced(executions: &[(&str, &str)]) -> (Table, Session) {
    let table = Table::default();
    let session = table.connect();
    for (execution, grant) in executions {
        assert!(session.register(registration(execution, grant)));
    }
    session.synced();
    (table, session)
}

fn denied(table: &Table, grant: &str) -> Option<Denied> {
    table.open(Some(grant)).err()
}

#[test]
fn a_grant_is_in_force_only_while_a_connection_is_synced() {
    let table = Table::default();
    assert_eq!(denied(&table, "g"), Some(Denied::NotSynced));
    let session = table.connect();
    assert!(session.register(registration("e", "g")));
    assert_eq!(denied(&table, "g"), Some(Denied::NotSynced));
    session.synced();
    assert_eq!(denied(&table, "g"), None);
    assert_eq!(denied(&table, "other"), Some(Denied::Unknown));
    assert_eq!(table.open(None).err(), Some(Denied::Unknown));
    drop(session);
    assert_eq!(denied(&table, "g"), Some(Denied::NotSynced));
}

#[test]
fn a_new_connection_forgets_executions_that_it_does_not_register() {
    let (table, session) = synced(&[("e", "g"), ("f", "h")]);
    let [kept, ended] = ["g", "h"].map(|grant| table.open(Some(grant)).unwrap());
    drop(session);
    assert!(!kept.cut().is_cancelled() && !ended.cut().is_cancelled());
    let session = table.connect();
    assert!(session.register(registration("e", "g")));
    assert!(!ended.cut().is_cancelled());
    session.synced();
    assert!(!kept.cut().is_cancelled() && ended.cut().is_cancelled());
    assert_eq!(denied(&table, "h"), Some(Denied::Unknown));
    assert_eq!(denied(&table, "g"), None);
}

#[test]
fn the_newest_connection_alone_counts() {
    let (table, old) = synced(&[("e", "g")]);
    let new = table.connect();
    assert_eq!(denied(&table, "g"), Some(Denied::NotSynced));
    assert!(old.register(registration("e", "x")));
    old.synced();
    assert_eq!(denied(&table, "g"), Some(Denied::NotSynced));
    assert!(new.register(registration("e", "g")));
    new.synced();
    drop(old);
    assert_eq!(denied(&table, "g"), None);
    assert_eq!(denied(&table, "x"), Some(Denied::Unknown));
}

#[test]
fn a_revoked_grant_cuts_its_open_requests() {
    let (table, session) = synced(&[("e", "g"), ("f", "h")]);
    let [cut, other] = ["g", "h"].map(|grant| table.open(Some(grant)).unwrap());
    let open = session.revoke("e");
    assert!(cut.cut().is_cancelled() && !other.cut().is_cancelled());
    assert_eq!((open.is_closed(), open.len()), (true, 1));
    drop(cut);
    assert!(open.is_empty());
    let again = session.revoke("e");
    assert!(again.is_closed() && again.is_empty());
    assert_eq!(denied(&table, "g"), Some(Denied::Unknown));
}

#[test]
fn a_replaced_grant_keeps_the_open_requests_and_the_cost() {
    let (table, session) = synced(&[("e", "g")]);
    let mut request = table.open(Some("g")).unwrap();
    request.charge(2.0);
    assert!(session.register(registration("e", "new")));
    assert!(!request.cut().is_cancelled());
    assert_eq!(denied(&table, "g"), Some(Denied::Unknown));
    assert_eq!(table.open(Some("new")).unwrap().charge(1.0), 3.0);
}

#[test]
fn requests_end_at_the_cost_limit() {
    let (table, session) = synced(&[]);
    let limited = |spent_usd| Registration {
        max_cost_usd: Some(1.0),
        spent_usd,
        ..registration("e", "g")
    };
    assert!(session.register(limited(0.5)));
    let mut request = table.open(Some("g")).unwrap();
    assert_eq!(request.charge(0.25), 0.75);
    assert_eq!(denied(&table, "g"), None);
    // The larger sum counts.
    assert!(session.register(limited(0.5)));
    assert_eq!(request.charge(0.25), 1.0);
    assert_eq!(denied(&table, "g"), Some(Denied::CostLimit));
    assert!(!request.cut().is_cancelled());
}

#[test]
fn an_exhausted_principal_gets_no_further_request() {
    let (table, session) = synced(&[("e", "g"), ("f", "h")]);
    session.exhaust("e");
    assert_eq!(denied(&table, "g"), Some(Denied::CostLimit));
    assert_eq!(denied(&table, "h"), None);
    // A new day: claude-api registers the grant again.
    assert!(session.register(registration("e", "g")));
    assert_eq!(denied(&table, "g"), None);
}

#[test]
fn a_grant_has_a_limit_of_open_requests() {
    let (table, _session) = synced(&[("e", "g"), ("f", "h")]);
    let mut open: Vec<_> = (0..OPEN_REQUESTS)
        .map(|_| table.open(Some("g")).unwrap())
        .collect();
    assert_eq!(denied(&table, "g"), Some(Denied::TooMany));
    assert_eq!(denied(&table, "h"), None);
    open.pop();
    assert_eq!(denied(&table, "g"), None);
}

#[test]
fn the_cost_of_open_requests_counts_toward_the_limit_until_they_end() {
    let (table, session) = synced(&[]);
    assert!(session.register(Registration {
        max_cost_usd: Some(1.0),
        ..registration("e", "g")
    }));
    let [mut one, mut other] = [0; 2].map(|_| table.open(Some("g")).unwrap());
    one.count(0.5);
    other.count(0.25);
    assert_eq!(denied(&table, "g"), None);
    one.count(0.75);
    assert_eq!(denied(&table, "g"), Some(Denied::OpenCosts));
    // The final cost replaces the estimate.
    assert_eq!(one.charge(0.125), 0.125);
    drop(one);
    assert_eq!(denied(&table, "g"), None);
    other.count(0.875);
    assert_eq!(denied(&table, "g"), Some(Denied::OpenCosts));
    drop(other);
    assert_eq!(denied(&table, "g"), None);
}

#[test]
fn grants_have_a_limit() {
    let (table, session) = synced(&[]);
    for number in 0..GRANTS {
        let grant = number.to_string();
        assert!(session.register(registration(&grant, &grant)));
    }
    assert!(!session.register(registration("new", "new")));
    assert_eq!(denied(&table, "new"), Some(Denied::Unknown));
    // A grant that is known is registered again.
    assert!(session.register(registration("0", "other")));
    drop(session.revoke("1"));
    assert!(session.register(registration("new", "new")));
    assert_eq!(denied(&table, "new"), None);
}

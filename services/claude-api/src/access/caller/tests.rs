use super::*;
use crate::access::table::tests::row;

const RIGHTS: [Right; 5] = [
    Right::View,
    Right::Control,
    Right::List,
    Right::Own,
    Right::Metrics,
];

fn rights(caller: &Caller) -> Vec<Right> {
    let has = |right: &Right| caller.check(*right).is_ok();
    RIGHTS.into_iter().filter(has).collect()
}

fn share(id: ExecutionId, role: ShareRole) -> Caller {
    let never = jiff::Timestamp::MAX;
    Caller::share(id, Owner::of("a"), role, never, SecretHash::of(b"x"))
}

#[test]
fn each_role_has_its_rights() {
    use Right::{Control, List, Metrics, Own, View};
    let id = ExecutionId::random();
    let token = |role| Caller::token(row("a", "a", role));
    for (caller, expected) in [
        (Caller::anyone(), &RIGHTS[..]),
        (token(Role::Admin), &RIGHTS),
        (token(Role::Control), &[View, Control, List, Own]),
        (token(Role::View), &[View, List]),
        (token(Role::Metrics), &[Metrics]),
        (share(id, ShareRole::View), &[View]),
        (share(id, ShareRole::Control), &[View, Control]),
    ] {
        assert_eq!(rights(&caller), expected, "{caller:?}");
    }
}

#[test]
fn a_principal_sees_its_own_executions_and_a_share_sees_one() {
    let (id, other) = (ExecutionId::random(), ExecutionId::random());
    let [a, b] = ["a", "b"].map(|principal| Caller::token(row("n", principal, Role::Control)));
    assert!(a.sees(id, Owner::of("a")) && !a.sees(id, Owner::of("b")));
    assert!(!b.sees(id, Owner::of("a")) && !b.sees(id, Owner::NONE));
    let admin = Caller::token(row("n", "a", Role::Admin));
    assert!(admin.sees(id, Owner::of("b")) && admin.sees(id, Owner::NONE));
    let share = share(id, ShareRole::Control);
    assert!(share.sees(id, Owner::of("a")) && !share.sees(other, Owner::of("a")));
    assert!(!share.sees(other, Owner::NONE));
}

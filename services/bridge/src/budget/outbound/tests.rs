use super::*;

const LIMITS: OutboundLimits = OutboundLimits {
    common: 100,
    session: 80,
    floor: 10,
};

#[tokio::test]
async fn a_session_keeps_its_floor_when_others_use_the_rest() {
    let all = OutboundBudget::new(LIMITS);
    let [greedy, other, late] = [(); 3].map(|()| Share::new(all.clone(), None));
    let (mut first, mut second) = (greedy.charge(), other.charge());
    first.set(79);
    assert!(greedy.has_room());
    first.set(80);
    assert!(
        !greedy.has_room() && !all.is_short(),
        "the limit of the session"
    );
    second.set(45);
    assert!(all.is_short() && !other.has_room());
    let mut third = late.charge();
    third.set(9);
    assert!(late.has_room());
    third.set(10);
    assert!(!late.has_room());
    let waiting = tokio::spawn({
        let late = late.clone();
        async move { late.room().await }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    drop(first);
    waiting.await.unwrap();
    assert_eq!(all.used(), 35);
    drop((second, third));
    assert_eq!(all.used(), 0);
}

#[tokio::test]
async fn a_principal_with_its_part_used_up_leaves_the_rest_to_others() {
    let all = OutboundBudget::new(LIMITS);
    let [a, b] = [(); 2].map(|()| {
        let common = LIMITS.common / 2;
        OutboundBudget::new(OutboundLimits { common, ..LIMITS })
    });
    let share = |part: &Arc<OutboundBudget>| Share::new(all.clone(), Some(part.clone()));
    let [greedy, same, other] = [share(&a), share(&a), share(&b)];
    let (mut first, mut second, mut third) = (greedy.charge(), same.charge(), other.charge());
    first.set(60);
    second.set(20);
    third.set(20);
    assert!(same.is_short() && !same.has_room());
    assert!(!other.is_short() && other.has_room());
    let waiting = tokio::spawn({
        let same = same.clone();
        async move { same.room().await }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    drop(first);
    waiting.await.unwrap();
    drop((second, third));
    assert_eq!((all.used(), a.used(), b.used()), (0, 0, 0));
}

#[test]
fn floors_use_at_most_half_of_the_budget() {
    let limits = OutboundLimits::new(256 << 20, 1000, 64 << 10);
    assert_eq!(limits.common + 1000 * limits.floor, 256 << 20);
    assert_eq!(limits.session, 4 << 20);
    let limits = OutboundLimits::new(1 << 20, 1000, 64 << 10);
    assert_eq!((limits.common, limits.session), (1 << 19, 1 << 20));
}

use std::task::{Context, Waker};
use std::time::Duration;

use super::InboundBudget;
use super::unfinished::{EVICT_SLOW_AFTER_STEPS, Unfinished};

fn grows(message: &mut Unfinished, bytes: u64) -> bool {
    let mut cx = Context::from_waker(Waker::noop());
    message.poll_grow(bytes, &mut cx).is_ready()
}

#[test]
fn the_remaining_need_of_the_oldest_message_is_kept_free() {
    let budget = InboundBudget::new(100, Duration::ZERO);
    let mut oldest = Unfinished::new(budget.clone(), 60);
    let mut second = Unfinished::new(budget.clone(), 60);
    assert!(grows(&mut oldest, 10) && grows(&mut second, 40));
    assert!(!grows(&mut second, 41), "10 + 41 + the oldest's other 50");
    assert!(grows(&mut oldest, 60));
    let charge = oldest.finish(55);
    assert_eq!(budget.used(), 55 + 40);
    assert!(grows(&mut second, 45) && !grows(&mut second, 46));
    drop(charge);
    assert!(grows(&mut second, 60));
    drop(second);
    assert_eq!(budget.used(), 0);
}

#[test]
fn a_waiting_message_evicts_the_oldest_holder_once_per_wait_step() {
    let hour = Duration::from_secs(3600);
    for (wait_step, is_evicted) in [(Duration::ZERO, true), (hour, false)] {
        let budget = InboundBudget::new(100, wait_step);
        let empty = Unfinished::new(budget.clone(), 0);
        let mut first = Unfinished::new(budget.clone(), 50);
        let mut second = Unfinished::new(budget.clone(), 50);
        let mut waiter = Unfinished::new(budget.clone(), 50);
        assert!(grows(&mut first, 50) && grows(&mut second, 50) && !grows(&mut waiter, 10));
        waiter.try_evict(1);
        assert_eq!(first.is_evicted(), is_evicted);
        assert!(!empty.is_evicted() && !second.is_evicted() && !waiter.is_evicted());
    }
}

#[test]
fn a_holder_that_is_nearly_complete_is_not_evicted() {
    let budget = InboundBudget::new(100, Duration::from_secs(3600));
    let [mut fast, mut slow, mut waiter] = [(); 3].map(|()| Unfinished::new(budget.clone(), 50));
    assert!(grows(&mut fast, 50) && grows(&mut slow, 50) && !grows(&mut waiter, 10));
    fast.note_progress(40);
    waiter.try_evict(EVICT_SLOW_AFTER_STEPS);
    assert!(!fast.is_evicted() && slow.is_evicted());
}

#[test]
fn a_slow_holder_that_makes_progress_is_evicted_later() {
    let budget = InboundBudget::new(100, Duration::from_secs(3600));
    let mut holder = Unfinished::new(budget.clone(), 50);
    let mut waiter = Unfinished::new(budget.clone(), 100);
    assert!(grows(&mut holder, 50) && !grows(&mut waiter, 60) && waiter.has_others());
    waiter.try_evict(EVICT_SLOW_AFTER_STEPS - 1);
    assert!(!holder.is_evicted());
    waiter.try_evict(EVICT_SLOW_AFTER_STEPS);
    assert!(holder.is_evicted());
    drop(holder);
    assert!(grows(&mut waiter, 60) && !waiter.has_others());
}

#[test]
fn a_request_for_more_than_the_budget_takes_the_whole_budget() {
    let budget = InboundBudget::new(100, Duration::ZERO);
    let mut message = Unfinished::new(budget.clone(), 1000);
    assert!(grows(&mut message, 500));
    assert_eq!((message.allowed(), budget.used()), (u64::MAX, 100));
    assert!(budget.take(1).is_none());
    drop(message);
    let charge = budget.take(1000).unwrap();
    assert_eq!(budget.used(), 100);
    drop(charge);
    assert_eq!(budget.used(), 0);
}

#[test]
fn a_message_beyond_the_part_of_its_principal_evicts_only_its_own_kind() {
    let budget = InboundBudget::new(100, Duration::ZERO);
    let [a, b] = [(); 2].map(|()| InboundBudget::new(50, Duration::ZERO));
    let message = |part: &std::sync::Arc<InboundBudget>| {
        Unfinished::new(budget.clone(), 50).of_principal(Some(part.clone()), 50)
    };
    let [mut other, mut first, mut second] = [message(&b), message(&a), message(&a)];
    assert!(grows(&mut other, 30) && grows(&mut first, 40));
    assert!(!grows(&mut second, 20), "40 + 20 of 50");
    assert!(second.has_others());
    second.try_evict(1);
    assert!(first.is_evicted() && !other.is_evicted());
    drop(first);
    assert!(grows(&mut second, 20));
    let charge = second.finish(15);
    assert_eq!((budget.used(), a.used(), b.used()), (45, 15, 30));
    drop((charge, other));
    assert_eq!((budget.used(), a.used(), b.used()), (0, 0, 0));
}

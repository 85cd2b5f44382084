use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::FutureExt;
use tokio::sync::oneshot;

use super::*;

const MAX_AGE: Duration = Duration::from_secs(10);

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn at(seconds: u64) -> Instant {
    // One origin for all calls of a test.
    static ORIGIN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    *ORIGIN.get_or_init(Instant::now) + Duration::from_secs(seconds)
}

fn failed() -> Answer {
    Err(io::Error::other("no such name"))
}

#[test]
fn an_answer_is_fresh_until_its_greatest_age() {
    let mut known = Resolution::default();
    assert!(!known.is_fresh(at(10), MAX_AGE));
    known.record(at(10), Ok(vec![ip("10.0.0.2")]));
    assert!(known.is_fresh(at(9), MAX_AGE) && known.is_fresh(at(20), MAX_AGE));
    assert!(!known.is_fresh(at(21), MAX_AGE));
    assert!(!known.is_fresh(at(12), Duration::from_secs(1)));
}

/// A proxy in a container may start after the service, which then must not refuse it for long.
#[test]
fn a_failed_attempt_is_repeated_after_a_second() {
    let mut known = Resolution::default();
    known.record(at(10), failed());
    assert!(known.is_fresh(at(11), MAX_AGE) && !known.is_fresh(at(12), MAX_AGE));
    known.record(at(12), Ok(vec![ip("10.0.0.2")]));
    assert!(known.is_fresh(at(22), MAX_AGE));
    known.record(at(30), failed());
    assert!(!known.is_fresh(at(32), MAX_AGE));
}

#[test]
fn the_last_answer_is_valid_for_a_minute_while_resolving_fails() {
    let mut known = Resolution::default();
    assert_eq!(known.addresses_at(at(0)), None);
    known.record(at(0), Ok(vec![ip("::ffff:10.0.0.2")]));
    known.record(at(30), failed());
    assert_eq!(
        known.addresses_at(at(60)).as_deref(),
        Some(&[ip("10.0.0.2")][..])
    );
    assert_eq!(known.addresses_at(at(61)).as_deref(), Some(&[][..]));
    known.record(at(62), Ok(vec![ip("10.0.0.3")]));
    assert_eq!(
        known.addresses_at(at(63)).as_deref(),
        Some(&[ip("10.0.0.3")][..])
    );
}

#[test]
fn a_name_that_never_resolved_has_no_addresses() {
    let mut known = Resolution::default();
    assert_eq!(known.wait(), WAITS[1]);
    known.record(at(0), failed());
    assert_eq!(known.addresses_at(at(0)).as_deref(), Some(&[][..]));
    assert_eq!(known.wait(), WAITS[0]);
}

/// A resolver that answers on the test's command.
#[derive(Clone, Default)]
struct Resolver {
    attempts: Arc<AtomicUsize>,
    waiting: Arc<Mutex<Vec<oneshot::Sender<Answer>>>>,
}

impl Resolver {
    fn names(&self, host: &str) -> HostAddresses {
        let resolver = self.clone();
        let resolve: Resolve = Arc::new(move |_| {
            resolver.attempts.fetch_add(1, Ordering::SeqCst);
            let (sender, answer) = oneshot::channel();
            resolver.waiting.lock().unwrap().push(sender);
            Box::pin(async move { answer.await.unwrap_or_else(|_| failed()) })
        });
        HostAddresses::with_resolver(host, MAX_AGE, resolve)
    }

    fn answer(&self, answer: Answer) {
        let sender = self.waiting.lock().unwrap().pop().unwrap();
        sender.send(answer).unwrap();
    }

    fn attempts(&self) -> usize {
        self.attempts.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn simultaneous_requests_wait_for_one_attempt() {
    let resolver = Resolver::default();
    let names = resolver.names("claude-api");
    let mut requests: Vec<_> = (0..100).map(|_| Box::pin(names.addresses())).collect();
    for request in &mut requests {
        assert!(request.as_mut().now_or_never().is_none());
    }
    assert_eq!(resolver.attempts(), 1);
    resolver.answer(Ok(vec![ip("10.0.0.2"), ip("fd00::2")]));
    for request in requests {
        let addresses = request.await.unwrap();
        assert_eq!(addresses[..], [ip("10.0.0.2"), ip("fd00::2")]);
    }
    assert_eq!(resolver.attempts(), 1);
    // The answer is fresh, so a request does not wait.
    assert!(names.addresses().now_or_never().is_some());
}

#[tokio::test]
async fn a_hanging_resolver_delays_a_request_for_seconds_and_has_one_attempt() {
    let resolver = Resolver::default();
    let names = resolver.names("claude-api");
    let began = Instant::now();
    assert_eq!(names.addresses().await, None);
    assert!(began.elapsed() >= WAITS[1]);
    assert_eq!(names.addresses().await, None);
    assert_eq!(resolver.attempts(), 1);
    // A late answer is used as well.
    resolver.answer(Ok(vec![ip("10.0.0.2")]));
    let mut known = names.known.subscribe();
    known
        .wait_for(|known| known.resolved_at.is_some())
        .await
        .unwrap();
    let addresses = names.addresses().await.unwrap();
    assert_eq!(addresses[..], [ip("10.0.0.2")]);
}

#[tokio::test]
async fn known_addresses_need_no_wait_and_begin_an_attempt() {
    let resolver = Resolver::default();
    let names = resolver.names("claude-api");
    assert!(names.known().is_empty() && names.known().is_empty());
    assert_eq!(resolver.attempts(), 1);
    resolver.answer(Ok(vec![ip("10.0.0.2")]));
    names.addresses().await.unwrap();
    assert_eq!(names.known()[..], [ip("10.0.0.2")]);
    assert_eq!(resolver.attempts(), 1);
    assert_eq!(resolver.names("[::1]").known()[..], [ip("::1")]);
}

#[tokio::test]
async fn an_address_needs_no_resolver() {
    let resolver = Resolver::default();
    for (host, address) in [
        ("127.0.0.3", "127.0.0.3"),
        ("[fd00::3]", "fd00::3"),
        ("[::ffff:10.0.0.3]", "10.0.0.3"),
    ] {
        let addresses = resolver.names(host).addresses().now_or_never().flatten();
        assert_eq!(addresses.as_deref(), Some(&[ip(address)][..]), "{host}");
    }
    assert_eq!(resolver.attempts(), 0);
    let localhost = HostAddresses::new("localhost", MAX_AGE)
        .addresses()
        .await
        .unwrap();
    assert!(localhost.iter().all(IpAddr::is_loopback) && !localhost.is_empty());
}

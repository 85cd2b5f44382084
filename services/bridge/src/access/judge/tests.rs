//! Tests of the judge with short times and without a network.

use std::sync::atomic::{AtomicUsize, Ordering};

use protocol::{Problem, Role};

use super::*;
use crate::upstream::Times;

/// The answers of a claude-api in a test, with the number of questions.
struct Api {
    answer: Mutex<Judgement>,
    questions: AtomicUsize,
}

impl Api {
    fn set(&self, answer: Judgement) {
        *self.answer.lock().unwrap() = answer;
    }

    fn questions(&self) -> usize {
        self.questions.load(Ordering::Relaxed)
    }
}

fn me(principal: &str) -> Me {
    Me {
        principal: Some(principal.to_owned()),
        role: Role::Control,
        name: Some("name".to_owned()),
        expires: None,
        share: None,
        quota: None,
        share_quota: None,
    }
}

fn granted() -> Judgement {
    Judgement::Granted(Box::new(me("p")))
}

fn token(text: &str) -> Credential {
    text.parse::<Secret>().unwrap().into()
}

const TIMES: JudgeTimes = JudgeTimes {
    fresh: Duration::from_millis(400),
    repeat: Duration::from_millis(40),
    patience: Duration::from_millis(300),
    renewal: Duration::from_millis(40),
};
/// Far longer than any step of these tests takes.
const SOON: Duration = Duration::from_secs(20);

struct Bench {
    api: Arc<Api>,
    judge: Arc<Judge>,
    limits: watch::Sender<Option<Limits>>,
    stop: CancellationToken,
}

impl Bench {
    fn new(answer: Judgement, times: JudgeTimes) -> Self {
        let api = Arc::new(Api {
            answer: Mutex::new(answer),
            questions: AtomicUsize::new(0),
        });
        let asked = api.clone();
        let ask: Ask = Arc::new(move |_| {
            asked.questions.fetch_add(1, Ordering::Relaxed);
            let answer = asked.answer.lock().unwrap().clone();
            Box::pin(async move {
                tokio::time::sleep(Duration::from_millis(5)).await;
                let problem = Problem::new(ProblemType::Unauthorized, "x");
                match answer {
                    Judgement::Granted(me) => Ok(*me),
                    Judgement::Refused => Err(Failure::Refused(Box::new(problem), None)),
                    Judgement::NoAnswer => Err(Failure::Broken("x".to_owned())),
                }
            })
        });
        let second = Duration::from_secs(1);
        let upstream = Upstream::new(
            "http://127.0.0.1:1",
            Times {
                call: second,
                accept: second,
                attempt: second,
                head: second,
                silence: second,
                stall: second,
                heartbeat: second,
            },
        );
        let (limits, known) = watch::channel(None);
        let stop = CancellationToken::new();
        let judge = Judge::with_ask(upstream.unwrap(), ask, times, known, stop.clone());
        Self {
            api,
            judge,
            limits,
            stop,
        }
    }

    fn learn(&self, tokens: bool) {
        let limits = Limits {
            tokens,
            ..Limits::default()
        };
        self.limits.send_replace(Some(limits));
    }
}

async fn soon(future: impl Future) {
    tokio::time::timeout(SOON, future).await.unwrap();
}

/// Whether the grant is revoked after several questions.
async fn is_revoked(grant: &Grant) -> bool {
    let revoked = grant.revoked().cancelled();
    tokio::time::timeout(TIMES.repeat * 8, revoked)
        .await
        .is_ok()
}

#[tokio::test]
async fn an_answer_is_used_for_its_time_and_each_secret_has_its_own() {
    for answer in [granted(), Judgement::Refused] {
        let bench = Bench::new(answer.clone(), TIMES);
        for _ in 0..3 {
            assert_eq!(bench.judge.judge(&token("a")).await, answer);
        }
        assert_eq!(bench.api.questions(), 1);
        bench.judge.judge(&token("b")).await;
        assert_eq!(bench.api.questions(), 2);
        sleep(TIMES.fresh).await;
        bench.judge.judge(&token("a")).await;
        assert_eq!(bench.api.questions(), 3);
    }
}

#[tokio::test]
async fn concurrent_questions_about_one_secret_are_one_call() {
    let bench = Bench::new(granted(), TIMES);
    let a = token("a");
    // The first asker leaves; its question continues for the others.
    let first = tokio::time::timeout(Duration::ZERO, bench.judge.judge(&a));
    assert!(first.await.is_err());
    let all = (0..50).map(|_| bench.judge.judge(&a));
    for judgement in futures::future::join_all(all).await {
        assert_eq!(judgement, granted());
    }
    assert_eq!(bench.api.questions(), 1);
}

#[tokio::test]
async fn no_answer_is_retried_for_a_while_and_not_kept() {
    let bench = Bench::new(Judgement::NoAnswer, TIMES);
    let start = Instant::now();
    assert_eq!(bench.judge.judge(&token("a")).await, Judgement::NoAnswer);
    assert!(start.elapsed() < SOON);
    let questions = bench.api.questions();
    assert!(questions >= 2, "{questions}");
    bench.api.set(granted());
    assert_eq!(bench.judge.judge(&token("a")).await, granted());
}

#[tokio::test]
async fn a_granted_answer_is_not_used_beyond_its_known_end() {
    let mut ends = me("p");
    ends.expires = Some(Timestamp::now() + Duration::from_millis(100));
    let bench = Bench::new(Judgement::Granted(Box::new(ends)), TIMES);
    bench.judge.judge(&token("a")).await;
    bench.api.set(Judgement::Refused);
    sleep(Duration::from_millis(120)).await;
    assert_eq!(bench.judge.judge(&token("a")).await, Judgement::Refused);
}

#[tokio::test]
async fn all_holders_of_a_credential_share_one_grant_and_its_questions() {
    let bench = Bench::new(granted(), TIMES);
    let grant = || bench.judge.grant(&token("a"), Box::new(me("p")));
    let grants: Vec<_> = (0..1000).map(|_| grant()).collect();
    assert!(grants.iter().all(|g| Arc::ptr_eq(g, &grants[0])));
    let start = Instant::now();
    sleep(TIMES.repeat * 5).await;
    let most = start.elapsed().as_millis() / TIMES.repeat.as_millis() + 1;
    let questions = bench.api.questions();
    assert!(questions >= 1 && questions as u128 <= most, "{questions}");
    // A question in use also answers new handshakes.
    let before = bench.api.questions();
    assert_eq!(bench.judge.judge(&token("a")).await, granted());
    assert!(bench.api.questions() <= before + 1);
    drop(grants);
    sleep(TIMES.repeat * 2).await;
    let questions = bench.api.questions();
    sleep(TIMES.repeat * 4).await;
    assert_eq!(bench.api.questions(), questions, "nobody holds it");
}

#[tokio::test]
async fn only_a_refusal_or_the_known_end_revokes_a_grant() {
    let bench = Bench::new(granted(), TIMES);
    let grant = bench.judge.grant(&token("a"), Box::new(me("p")));
    assert!(!is_revoked(&grant).await);
    bench.api.set(Judgement::NoAnswer);
    assert!(!is_revoked(&grant).await);
    bench.api.set(Judgement::Refused);
    soon(grant.revoked().cancelled()).await;
    assert_eq!(grant.reason(), REMOVED);
    // The refusal is known to new handshakes at once.
    assert_eq!(bench.judge.judge(&token("a")).await, Judgement::Refused);

    bench.api.set(Judgement::NoAnswer);
    let mut ends = me("p");
    ends.expires = Some(Timestamp::now() + Duration::from_millis(100));
    let grant = bench.judge.grant(&token("b"), Box::new(ends));
    soon(grant.revoked().cancelled()).await;
}

#[tokio::test]
async fn a_new_principal_of_a_token_gets_a_grant_of_its_own() {
    let bench = Bench::new(granted(), TIMES);
    let old = bench.judge.grant(&token("a"), Box::new(me("p")));
    let new = bench.judge.grant(&token("a"), Box::new(me("q")));
    assert_eq!(old.principal().map(|p| &**p), Some("p"));
    assert_eq!(new.principal().map(|p| &**p), Some("q"));
}

#[tokio::test]
async fn grants_from_before_the_tokens_end_with_their_beginning() {
    let bench = Bench::new(granted(), TIMES);
    tokio::spawn(bench.judge.clone().revoke_unjudged());
    assert_eq!(bench.judge.has_tokens(), None);
    for known in [None, Some(false)] {
        if let Some(tokens) = known {
            bench.learn(tokens);
        }
        let without = bench.judge.grant_unjudged(None);
        let with = bench.judge.grant_unjudged(Some(&token("a")));
        assert_eq!(*with.me(), Me::without_tokens());
        tokio::task::yield_now().await;
        assert!(!without.revoked().is_cancelled());
        bench.learn(true);
        soon(without.revoked().cancelled()).await;
        soon(with.revoked().cancelled()).await;
        assert_eq!(without.reason(), NEEDED);
        // A handshake that was judged before the news.
        let late = bench.judge.grant_unjudged(None);
        soon(late.revoked().cancelled()).await;
    }
    assert_eq!(bench.api.questions(), 0);
}

#[tokio::test]
async fn a_stop_revokes_every_grant() {
    let bench = Bench::new(granted(), TIMES);
    let grants = [
        bench.judge.grant_unjudged(None),
        bench.judge.grant(&token("a"), Box::new(me("p"))),
    ];
    bench.stop.cancel();
    assert!(grants.iter().all(|grant| grant.revoked().is_cancelled()));
}

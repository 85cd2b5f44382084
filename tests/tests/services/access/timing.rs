//! The time of an answer does not tell whether an id exists. An id that belongs to another
//! principal is answered as late as one that nobody has.

use std::time::{Duration, Instant};

use cc_tests::harness::StackOptions;
use cc_tests::http::Http;
use reqwest::Method;
use serde_json::json;

use super::api::{Api, usual_tokens};
use crate::support::{accept, ended, id, path, send};

/// How often each id is asked for.
const ROUNDS: usize = 300;
/// The largest difference of two medians. It is generous: a smaller one takes many requests for
/// each id, and nobody can guess ids.
const MEDIANS_APART: Duration = Duration::from_micros(500);
/// The chance that a random answer about an existing id is later than one about an unknown id. 0.5
/// means that nobody can tell. Chance alone moves it by 0.024 in this many rounds, so a busy
/// machine does not reach these bounds. A lookup that takes 2 ms longer, without the wait of 3 ms,
/// has 0.9.
const LATER: std::ops::Range<f64> = 0.25..0.75;

/// The times of the answers about one id.
struct Samples {
    what: &'static str,
    id: String,
    times: Vec<Duration>,
}

impl Samples {
    fn new(what: &'static str, id: &str) -> Self {
        Self {
            what,
            id: id.to_owned(),
            times: Vec::new(),
        }
    }

    async fn take(&mut self, http: &Http, method: &Method, rest: &str) {
        let begun = Instant::now();
        let (code, _, problem) = send(http, method.clone(), &path(&self.id, rest), "").await;
        self.times.push(begun.elapsed());
        assert_eq!(
            (code, &problem["type"]),
            (404, &json!("not-found")),
            "{problem}"
        );
    }
}

fn median(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    times[times.len() / 2]
}

/// Returns the chance that a random one of `times` is longer than a random one of `others`. This is
/// the statistic of the rank test of Mann and Whitney.
fn chance_of_longer(times: &[Duration], others: &[Duration]) -> f64 {
    let mut score = 0.0;
    for time in times {
        for other in others {
            score += match time.cmp(other) {
                std::cmp::Ordering::Greater => 1.0,
                std::cmp::Ordering::Equal => 0.5,
                std::cmp::Ordering::Less => 0.0,
            };
        }
    }
    score / (times.len() * others.len()) as f64
}

/// Returns the fault that somebody could measure; `None` if the times are alike.
fn difference(times: &[Duration], others: &[Duration]) -> Option<String> {
    let (one, other) = (median(times), median(others));
    let apart = one.abs_diff(other);
    let chance = chance_of_longer(times, others);
    let shown = apart > MEDIANS_APART && !LATER.contains(&chance);
    shown.then(|| format!("medians {one:?} and {other:?}, longer with chance {chance:.3}"))
}

#[tokio::test]
async fn an_answer_about_anothers_id_takes_as_long_as_about_an_unknown_one() {
    let api = Api::start(usual_tokens(), StackOptions::default()).await;
    let (alice, bob) = (api.http("alice"), api.http("bob"));
    let mut run = Vec::new();
    for _ in 0..2 {
        let id = id();
        accept(&alice, &id, "@say x", json!({})).await;
        ended(&alice, &id).await;
        run.push(id);
    }
    let deleted = run.pop().expect("two executions");
    assert_eq!(
        send(&alice, Method::DELETE, &path(&deleted, ""), "")
            .await
            .0,
        204
    );
    let live = api.begin(&alice, json!({})).await;
    for (method, rest) in [
        (Method::GET, ""),
        (Method::GET, "/output"),
        (Method::POST, "/cancel"),
    ] {
        let mut unknown = Samples::new("unknown", &id());
        let mut existing = [
            Samples::new("live", &live.id),
            Samples::new("ended", &run[0]),
            Samples::new("deleted", &deleted),
        ];
        // In turn, so that a busy moment of the machine meets all of them.
        for _ in 0..ROUNDS {
            unknown.take(&bob, &method, rest).await;
            for samples in &mut existing {
                samples.take(&bob, &method, rest).await;
            }
        }
        for samples in &existing {
            let difference = difference(&samples.times, &unknown.times);
            let what = samples.what;
            assert_eq!(
                difference, None,
                "{method} {rest} of a {what} execution can be told"
            );
        }
    }
    live.open();
    assert_eq!(ended(&alice, &live.id).await["state"], "completed");
    api.service.assert_quiet();
}

#[test]
fn a_shift_by_the_time_of_a_lookup_is_a_difference_and_noise_is_none() {
    // A few late answers, as on a busy machine.
    let noisy = |shift: u64| -> Vec<_> {
        let late = |n: u64| {
            if n.is_multiple_of(7) {
                20_000 + 97 * n
            } else {
                37 * (n % 29)
            }
        };
        (0..300)
            .map(|n| Duration::from_micros(3000 + shift + late(n * 13 + shift)))
            .collect()
    };
    assert_eq!(difference(&noisy(0), &noisy(1)), None);
    assert_ne!(difference(&noisy(2500), &noisy(0)), None);
    assert_ne!(difference(&noisy(0), &noisy(2500)), None);
}

//! F1 in full: the connections of several viewers of one execution are cut again and again, on both
//! hops, and each viewer gets exactly the output. All cuts hit the stream, however slow the machine
//! is: see [`sections`].

mod sections;

use std::time::Duration;

use cc_tests::{
    faults::{Cut, FaultProxy, Faults, Pipe},
    harness::{Stack, StackOptions, eventually},
    hex, ws,
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

use self::sections::{Gate, SECTIONS, expected};
use crate::support::{accept, id, until};

const VIEWERS: usize = 4;
/// Cuts on the clients' hop; each hits one viewer.
const FRONT_CUTS: usize = 100;
/// Cuts on the hop to claude-api; each hits at least one viewer's stream.
const MIDDLE_CUTS: usize = 100;
/// First section without cuts.
const UNCUT_SECTIONS_FROM: u64 = SECTIONS - 2;
/// Bytes; the messages of a session before its first output (`connected`, the answer, a
/// statusUpdate) are far fewer.
const BEFORE_OUTPUT: u64 = 16 * 1024;
/// Bytes; only an output stream carries so many on that hop in so short a time, so a cut after them
/// hits one.
const OUTPUT_FOR_SURE: u64 = 6 * 1024;
/// The whole test takes 20 s on an idle machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Returns `count` random offsets in `0..limit`, sorted, each with a way to cut.
fn points(rng: &mut StdRng, count: usize, limit: u64) -> Vec<(u64, Cut)> {
    let mut points: Vec<_> = (0..count).map(|_| rng.random_range(0..limit)).collect();
    points.sort_unstable();
    let cut = |rng: &mut StdRng| if rng.random() { Cut::Reset } else { Cut::Close };
    points.into_iter().map(|at| (at, cut(rng))).collect()
}

fn down(pipe: Pipe) -> Faults {
    Faults {
        down: pipe,
        ..Faults::default()
    }
}

/// Output and end that one viewer received.
struct Seen {
    joined: Vec<u8>,
    end: Value,
    /// How often its connection was cut.
    cuts: usize,
}

/// Views an execution to its end. The connection is cut at each point; the viewer resumes at the
/// byte that it reached.
async fn view(
    stack: &Stack,
    execution: &str,
    points: Vec<(u64, Cut)>,
    next_cut: impl Fn(u64),
) -> Seen {
    let proxy = FaultProxy::start(stack.ws_addr()).await;
    let mut points = points.into_iter();
    let (mut joined, mut cuts) = (Vec::new(), 0);
    loop {
        let point = points.next();
        next_cut(point.map_or(u64::MAX, |(at, _)| at));
        let reached = joined.len() as u64;
        proxy.set(point.map_or(Faults::default(), |(at, cut)| {
            down(Pipe {
                cut_after: Some(BEFORE_OUTPUT + at.saturating_sub(reached)),
                cut,
                ..Pipe::default()
            })
        }));
        let options = ws::Options {
            patience: PATIENCE,
            ..ws::Options::default()
        };
        let mut client = ws::Client::connect_with(proxy.addr(), options).await;
        let answer = client.attach(execution, Some(reached)).await;
        answer.expect("attached at the byte that was reached");
        let (bytes, end) = client.wait_terminal_or_closed(execution).await;
        assert_eq!(client.gaps(execution), [], "nothing was freed");
        joined.extend(bytes);
        match (end, point) {
            (None, Some(_)) => cuts += 1,
            (None, None) => panic!("closed without a cut\n{}", client.transcript()),
            (Some(end), None) => {
                // The ping's answer arrives after every message that was under way.
                client.call("ping", json!({})).await.expect("alive");
                let updates = client.updates(execution);
                let terminal = updates.iter().filter(|update| !update["endedAt"].is_null());
                assert_eq!(terminal.count(), 1, "{updates:#?}");
                client.finish().await;
                assert_eq!(proxy.cuts(), cuts as u64);
                return Seen { joined, end, cuts };
            }
            (Some(end), Some(point)) => {
                panic!("the execution ended before the cut at {point:?}: {end}")
            }
        }
    }
}

/// Cuts the hop to claude-api within the next kilobytes of an output stream, at each point: when
/// each viewer has received so many bytes over the hop. Returns the number of cuts.
async fn cut_upstream(
    middle: &FaultProxy,
    points: Vec<(u64, Cut)>,
    rng: &mut StdRng,
    next_cut: impl Fn(u64),
) -> usize {
    let mut cuts = 0;
    for (at, cut) in points {
        next_cut(at);
        eventually("output to reach the point", PATIENCE, || {
            (middle.bytes().1 >= at * VIEWERS as u64).then_some(())
        })
        .await;
        let earlier = middle.cuts();
        middle.set(down(Pipe {
            cut_in: Some(rng.random_range(OUTPUT_FOR_SURE..4 * OUTPUT_FOR_SURE)),
            cut,
            ..Pipe::default()
        }));
        eventually("the cut", PATIENCE, || {
            (middle.cuts() > earlier).then_some(())
        })
        .await;
        middle.heal();
        cuts += 1;
    }
    next_cut(u64::MAX);
    cuts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn f1_four_viewers_get_the_exact_output_despite_two_hundred_cuts() {
    let given = std::env::var("CCB_SEED")
        .ok()
        .map(|text| text.parse().expect("CCB_SEED is a number"));
    let seed: u64 = given.unwrap_or_else(|| rand::rng().random());
    println!("CCB_SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);

    let stack = Stack::with(StackOptions {
        proxy_upstream: true,
        ..StackOptions::default()
    })
    .await;
    let (http, id, expected) = (stack.http(), id(), expected());
    let section_bytes = expected.len() as u64 / SECTIONS;
    let limit = UNCUT_SECTIONS_FROM * section_bytes;
    let middle = stack.middle.as_ref().expect("a proxy");
    let gate = Gate::new(stack.path("tmp"), VIEWERS + 1);
    accept(&http, &id, &gate.prompt(), json!({})).await;

    let viewers: Vec<_> = (0..VIEWERS)
        .map(|viewer| {
            let points = points(&mut rng, FRONT_CUTS / VIEWERS, limit);
            let gate = &gate;
            view(&stack, &id, points, move |at| gate.next_cut(viewer, at))
        })
        .collect();
    let upstream = points(&mut rng, MIDDLE_CUTS, limit);
    let cutting = async {
        let next_cut = |at| gate.next_cut(VIEWERS, at);
        let cuts = cut_upstream(middle, upstream, &mut rng, next_cut).await;
        let status = http.status(&id).await.expect("a status");
        assert_eq!(status["state"], "running", "the last cut was too late");
        cuts
    };
    let (seen, upstream_cuts, ()) = tokio::join!(
        futures::future::join_all(viewers),
        cutting,
        gate.open_sections(section_bytes)
    );

    let front_cuts: usize = seen.iter().map(|viewer| viewer.cuts).sum();
    println!(
        "{front_cuts} cuts of viewers; {upstream_cuts} of the hop to claude-api, which hit {} of \
         {} connections",
        middle.cuts(),
        middle.connections()
    );
    assert_eq!((front_cuts, upstream_cuts), (FRONT_CUTS, MIDDLE_CUTS));
    let status = until(&http, &id, "digested", |status| {
        status["sha256"].is_string()
    })
    .await;
    let sha256 = ring::digest::digest(&ring::digest::SHA256, expected.as_bytes());
    let crc32 = format!("{:08x}", crc32fast::hash(expected.as_bytes()));
    assert_eq!(
        (&status["outputBytes"], &status["crc32"], &status["sha256"]),
        (
            &json!(expected.len()),
            &json!(crc32),
            &json!(hex(sha256.as_ref()))
        )
    );
    for (number, Seen { joined, end, .. }) in seen.iter().enumerate() {
        assert_joined(number, joined, expected.as_bytes());
        assert_eq!(
            (&end["status"], &end["outputBytes"], &end["crc32"]),
            (&json!("COMPLETED"), &json!(expected.len()), &json!(crc32)),
        );
    }
    assert_eq!(stack.spawns(&id), 1);
    stack.assert_quiet();
}

/// Asserts equality, and reports only the first difference: fifty megabytes do not fit in a
/// message.
#[track_caller]
fn assert_joined(viewer: usize, joined: &[u8], expected: &[u8]) {
    if joined != expected {
        let same = joined.iter().zip(expected).take_while(|(a, b)| a == b);
        let at = same.count();
        let around = |bytes: &[u8]| {
            let part = &bytes[at.saturating_sub(20)..(at + 20).min(bytes.len())];
            String::from_utf8_lossy(part).into_owned()
        };
        panic!(
            "viewer {viewer} has {} bytes of {}; they differ from byte {at} on: {:?}, \
             expected {:?}",
            joined.len(),
            expected.len(),
            around(joined),
            around(expected)
        );
    }
}

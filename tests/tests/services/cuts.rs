//! F1 in full: viewers of one execution are cut off again and again, on either hop, and each ends with exactly its output.
//! All cuts fall into the stream, however slow the machine is: see [`sections`].

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
/// On the clients' hop: each hits one viewer.
const FRONT_CUTS: usize = 100;
/// On the hop to claude-api: each hits at least one viewer's stream.
const MIDDLE_CUTS: usize = 100;
/// The cuts lie before this one.
const UNCUT_SECTIONS_FROM: u64 = SECTIONS - 2;
/// What a session brings before its first output (`connected`, the answer, a statusUpdate) is well below it, bytes.
const BEFORE_OUTPUT: u64 = 16 * 1024;
/// Nothing else on that hop brings so much in so short a time: what is cut behind it is an output stream. Bytes.
const OUTPUT_FOR_SURE: u64 = 6 * 1024;
/// All takes 20 s where nothing else runs.
const PATIENCE: Duration = Duration::from_secs(120);

/// Random bytes of `0..before`, in order, each with a way to cut.
fn points(rng: &mut StdRng, count: usize, before: u64) -> Vec<(u64, Cut)> {
    let mut points: Vec<_> = (0..count).map(|_| rng.random_range(0..before)).collect();
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

/// What one viewer has seen.
struct Seen {
    joined: Vec<u8>,
    end: Value,
    /// How often it was cut off in the middle.
    cuts: usize,
}

/// Views an execution to its end. It is cut off at each point, and comes back each time at the byte that it reached.
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
            (None, None) => panic!("closed by nobody\n{}", client.transcript()),
            (Some(end), None) => {
                // The ping's answer comes after all that was under way.
                client.call("ping", json!({})).await.expect("alive");
                let updates = client.updates(execution);
                let terminal = updates.iter().filter(|update| !update["endedAt"].is_null());
                assert_eq!(terminal.count(), 1, "{updates:#?}");
                client.finish().await;
                assert_eq!(proxy.cuts(), cuts as u64);
                return Seen { joined, end, cuts };
            }
            (Some(end), Some(point)) => panic!("the end came before the cut at {point:?}: {end}"),
        }
    }
}

/// Cuts the hop to claude-api whenever so many bytes have come to each viewer over it, within the next kilobytes of an output stream.
async fn cut_upstream(
    middle: &FaultProxy,
    points: Vec<(u64, Cut)>,
    rng: &mut StdRng,
    next_cut: impl Fn(u64),
) -> usize {
    let mut cuts = 0;
    for (at, cut) in points {
        next_cut(at);
        eventually("output to come to the point", PATIENCE, || {
            (middle.bytes().1 >= at * VIEWERS as u64).then_some(())
        })
        .await;
        let before = middle.cuts();
        middle.set(down(Pipe {
            cut_in: Some(rng.random_range(OUTPUT_FOR_SURE..4 * OUTPUT_FOR_SURE)),
            cut,
            ..Pipe::default()
        }));
        eventually("the cut", PATIENCE, || {
            (middle.cuts() > before).then_some(())
        })
        .await;
        middle.heal();
        cuts += 1;
    }
    next_cut(u64::MAX);
    cuts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn f1_four_viewers_and_two_hundred_cuts_on_either_hop() {
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
    let before = UNCUT_SECTIONS_FROM * section_bytes;
    let middle = stack.middle.as_ref().expect("a proxy");
    let gate = Gate::new(stack.path("tmp"), VIEWERS + 1);
    accept(&http, &id, &gate.prompt(), json!({})).await;

    let viewers: Vec<_> = (0..VIEWERS)
        .map(|who| {
            let points = points(&mut rng, FRONT_CUTS / VIEWERS, before);
            let gate = &gate;
            view(&stack, &id, points, move |at| gate.next_cut(who, at))
        })
        .collect();
    let upstream = points(&mut rng, MIDDLE_CUTS, before);
    let cutting = async {
        let next_cut = |at| gate.next_cut(VIEWERS, at);
        let cuts = cut_upstream(middle, upstream, &mut rng, next_cut).await;
        let status = http.status(&id).await.expect("a status");
        assert_eq!(status["state"], "running", "the last cut came too late");
        cuts
    };
    let (seen, upstream_cuts, ()) = tokio::join!(
        futures::future::join_all(viewers),
        cutting,
        gate.keep(section_bytes)
    );

    let front_cuts: usize = seen.iter().map(|viewer| viewer.cuts).sum();
    println!(
        "{front_cuts} cuts of viewers; {upstream_cuts} of the hop to claude-api, which hit {} of {} connections",
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

/// Fifty megabytes are not for a message: the first difference is.
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
            "viewer {viewer} has {} bytes of {}; from byte {at} on they differ: {:?} in place of {:?}",
            joined.len(),
            expected.len(),
            around(joined),
            around(expected)
        );
    }
}

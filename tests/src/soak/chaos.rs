//! Makes the faults: on each hop, and to the processes, each from a stream of choices of its own.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use rustix::process::{Pid, Signal};

use super::world::World;
use crate::{
    faults::{Cut, Entry, FaultProxy, Faults, Pipe},
    harness::{Service, Stack, processes},
};

/// The streams of faults made here; clients make about 40 % of all by themselves.
const STREAMS: f64 = 3.0;
const SHARE: f64 = 0.6;
/// The part of the time that is meant to be enough: faults that last take longer than the pauses.
const TIME: f64 = 0.35;
/// After a start of claude-api the ends of what ran before are told within this (the contract's 5 s, and the way).
const TRUTH: Duration = Duration::from_secs(6);

/// Makes faults until there were enough, or time is up; then heals everything.
pub(super) async fn run(world: Arc<World>, mut stack: Stack, seed: u64) -> Stack {
    let mut seeds = StdRng::seed_from_u64(seed);
    let (front, middle, services) = (seeds.random(), seeds.random(), seeds.random());
    {
        let Stack {
            bridge,
            api,
            front: front_proxy,
            middle: middle_proxy,
            ..
        } = &mut stack;
        let both = async {
            if let (Some(first), Some(second)) = (&front_proxy, &middle_proxy) {
                tokio::join!(
                    hop(&world, first, true, front),
                    hop(&world, second, false, middle)
                );
            }
        };
        tokio::join!(both, kills(&world, api, bridge, services));
    }
    stack
}

/// The time between two faults of one of the three streams.
fn pause(world: &World, rng: &mut StdRng) -> Duration {
    let faults = f64::from(u32::try_from(world.options.faults.max(1)).unwrap_or(u32::MAX));
    let each = Duration::from_secs(world.options.seconds).mul_f64(TIME * STREAMS / SHARE / faults);
    each.min(Duration::from_secs(1))
        .mul_f64(rng.random_range(0.3..1.7))
}

/// Faults of one hop.
async fn hop(world: &World, proxy: &FaultProxy, front: bool, seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    while world.under_fire() {
        tokio::time::sleep(pause(world, &mut rng)).await;
        let bytes = rng.random_range(1..150_000);
        let (kind, faults, longest) = match rng.random_range(0..100) {
            0..30 => {
                proxy.cut_now(if rng.random() { Cut::Reset } else { Cut::Close });
                world.fault(if front { "cut front" } else { "cut upstream" });
                continue;
            }
            30..55 => (
                "cut after bytes",
                Faults {
                    down: Pipe::cut_after(bytes),
                    ..Faults::default()
                },
                600,
            ),
            55..63 => (
                "cut request",
                Faults {
                    up: Pipe::cut_after(bytes % 3000),
                    ..Faults::default()
                },
                400,
            ),
            63..72 => (
                "stall",
                Faults {
                    down: Pipe::stalled(),
                    ..Faults::default()
                },
                1500,
            ),
            72..77 => (
                "stall request",
                Faults {
                    up: Pipe::stalled(),
                    ..Faults::default()
                },
                1000,
            ),
            77..85 => (
                "slow",
                Faults {
                    down: Pipe::slow(50_000),
                    ..Faults::default()
                },
                1000,
            ),
            85..91 => ("refuse", Faults::refuse(), 500),
            91..96 => (
                "reset at once",
                Faults {
                    entry: Entry::Reset,
                    ..Faults::default()
                },
                400,
            ),
            _ => ("blackhole", Faults::blackhole(), 1500),
        };
        world.fault(kind);
        proxy.set(faults);
        tokio::time::sleep(Duration::from_millis(rng.random_range(20..longest))).await;
        proxy.heal();
    }
    proxy.heal();
}

/// Kills and stops of the services, of runners and of the CLI.
async fn kills(world: &Arc<World>, api: &mut Service, bridge: &mut Service, seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    while world.under_fire() {
        tokio::time::sleep(pause(world, &mut rng)).await;
        match rng.random_range(0..100) {
            0..25 => {
                world.fault("kill bridge");
                world.bridge_pid.store(0, Ordering::SeqCst);
                bridge.kill();
                again(world, &mut rng, bridge).await;
                world.bridge_pid.store(bridge.pid(), Ordering::SeqCst);
            }
            25..50 => {
                world.fault("kill claude-api");
                interrupting(world, api, &mut rng, true).await;
            }
            50..56 => {
                world.fault("stop bridge");
                world.bridge_pid.store(0, Ordering::SeqCst);
                bridge.stop().await;
                again(world, &mut rng, bridge).await;
                world.bridge_pid.store(bridge.pid(), Ordering::SeqCst);
            }
            56..62 => {
                world.fault("stop claude-api");
                interrupting(world, api, &mut rng, false).await;
            }
            62..85 => {
                world.each_live(|one| one.facts().may_die = true);
                if kill_one(&mut rng, api.pid(), |arguments| {
                    arguments.contains("--session-id") || arguments.contains("--resume")
                }) {
                    world.fault("kill CLI");
                }
                world.each_live(|one| one.facts().may_die = true);
            }
            _ => {
                world.each_live(|one| one.facts().may_interrupt = true);
                if kill_one(&mut rng, api.pid(), |arguments| {
                    arguments.contains("claude-api runner")
                }) {
                    world.fault("kill runner");
                }
                world.each_live(|one| one.facts().may_interrupt = true);
            }
        }
    }
}

/// A service is started again after a short while.
async fn again(world: &World, rng: &mut StdRng, service: &mut Service) {
    tokio::time::sleep(Duration::from_millis(rng.random_range(0..300))).await;
    let began = Instant::now();
    service.start_again().await;
    if began.elapsed() > Duration::from_secs(5) {
        world.violate(
            "the services",
            &format!("a start took {:?}", began.elapsed()),
        );
    }
}

async fn interrupting(world: &Arc<World>, api: &mut Service, rng: &mut StdRng, hard: bool) {
    let mark = |one: &super::execution::Execution| one.facts().may_interrupt = true;
    world.each_live(mark);
    world.api_pid.store(0, Ordering::SeqCst);
    if hard {
        api.kill();
    } else {
        api.stop().await;
    }
    world.each_live(mark);
    // Who runs from now on was started later.
    let ended = Timestamp::now();
    again(world, rng, api).await;
    let pid = api.pid();
    world.api_pid.store(pid, Ordering::SeqCst);
    tokio::spawn(truth(Arc::clone(world), pid, ended));
}

/// What ran under the service that was killed has ended in time, unless it was killed again meanwhile.
async fn truth(world: Arc<World>, pid: i32, ended: Timestamp) {
    tokio::time::sleep(TRUTH).await;
    let Ok((code, list)) = world.http.get("/v1/executions?limit=200").await else {
        return;
    };
    if code != 200 || world.api_pid.load(Ordering::SeqCst) != pid {
        return;
    }
    for status in list["executions"].as_array().into_iter().flatten() {
        let live = matches!(status["state"].as_str(), Some("running" | "paused"));
        let started = status["startedAt"]
            .as_str()
            .and_then(|at| at.parse::<Timestamp>().ok());
        if live && started.is_some_and(|started| started < ended) {
            world.violate(
                "claude-api",
                &format!("{TRUTH:?} after its start this still runs, from before: {status}"),
            );
        }
    }
}

/// Kills one descendant of claude-api whose arguments say what it is.
fn kill_one(rng: &mut StdRng, api: i32, which: impl Fn(&str) -> bool) -> bool {
    let mut found = processes::descendants(api);
    found.retain(|process| process.state != 'Z' && which(&process.arguments));
    let Some(pid) = found
        .choose(rng)
        .and_then(|process| Pid::from_raw(process.pid))
    else {
        return false;
    };
    rustix::process::kill_process(pid, Signal::KILL).is_ok()
}

//! Makes the faults on each hop and to the processes, each from its own stream of random choices.
//! Only faults with an effect count.

pub(super) mod ends;

use std::time::Duration;

use rand::{Rng, SeedableRng, rngs::StdRng};

use super::world::World;
use crate::{
    faults::{Cut, Entry, FaultProxy, Faults, Pipe},
    harness::Stack,
};

/// The number of fault streams here; clients make about 40 % of all faults.
const STREAMS: f64 = 3.0;
const SHARE: f64 = 0.6;
/// The planned part of the time for pauses: lasting faults take longer than the pauses.
const TIME: f64 = 0.25;
/// The timeout for a cut, which the tasks of the connections make.
const CUT: Duration = Duration::from_secs(1);

/// Makes faults until there are enough or the time is up; then removes all faults.
///
/// # Panics
/// If a service does not end or start.
pub(super) async fn run(world: &World, stack: &mut Stack, seed: u64) {
    let mut seeds = StdRng::seed_from_u64(seed);
    let (front, middle, services) = (seeds.random(), seeds.random(), seeds.random());
    let Stack {
        bridge,
        api,
        front: front_proxy,
        middle: middle_proxy,
        ..
    } = stack;
    let hops = async {
        if let (Some(first), Some(second)) = (&front_proxy, &middle_proxy) {
            tokio::join!(
                hop(world, first, true, front),
                hop(world, second, false, middle)
            );
        }
    };
    tokio::join!(hops, ends::run(world, api, bridge, services));
}

/// Returns a random pause between two faults of one of the three streams.
pub(super) fn pause(world: &World, rng: &mut StdRng) -> Duration {
    let faults = f64::from(u32::try_from(world.options.faults.max(1)).unwrap_or(u32::MAX));
    let each = Duration::from_secs(world.options.seconds).mul_f64(TIME * STREAMS / SHARE / faults);
    each.min(Duration::from_secs(1))
        .mul_f64(rng.random_range(0.3..1.7))
}

/// Makes the faults of one hop.
async fn hop(world: &World, proxy: &FaultProxy, front: bool, seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    while world.under_fire() {
        tokio::time::sleep(pause(world, &mut rng)).await;
        let bytes = rng.random_range(1..150_000);
        let (kind, faults, longest) = match rng.random_range(0..100) {
            0..30 => {
                let cut = if rng.random() { Cut::Reset } else { Cut::Close };
                if cut_now(proxy, cut).await {
                    world.fault(if front { "cut front" } else { "cut upstream" });
                }
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
        let (cuts, connections, open) = (proxy.cuts(), proxy.connections(), proxy.open());
        proxy.set(faults);
        if faults.entry != Entry::Open {
            // Only new connections get this fault, so the open ones are cut.
            cut_now(proxy, Cut::Reset).await;
        }
        tokio::time::sleep(Duration::from_millis(rng.random_range(20..longest))).await;
        let cut = proxy.cuts() > cuts;
        let new = proxy.connections() > connections;
        let cuts_only = faults.down.cut_after.or(faults.up.cut_after).is_some();
        if cut || !cuts_only && (new || faults.entry == Entry::Open && open > 0) {
            world.fault(kind);
        }
        proxy.heal();
    }
    proxy.heal();
}

/// Cuts all connections; returns whether there was one.
async fn cut_now(proxy: &FaultProxy, cut: Cut) -> bool {
    let cuts = proxy.cuts();
    if proxy.open() == 0 {
        return false;
    }
    proxy.cut_now(cut);
    let moved = async {
        while proxy.cuts() == cuts {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(CUT, moved).await.is_ok()
}

//! Both services under fire: random clients and random faults on both hops for a while, every message checked
//! against I1 to I6 (docs/protocol.md, "Invariants"), every byte against what the stand-in is known
//! to write.
//!
//! ```text
//!   actors ──▶ front proxy ──▶ bridge ──▶ middle proxy ──▶ claude-api ──▶ stand-in CLI
//!     │ each message            ▲ cuts, stalls, kills by `chaos`  ▲           │
//!     ▼                                                                       ▼
//!   Checker, View (joined over reconnects), World::judge          Plan (what it will write)
//! ```
//!
//! Some executions take input, sent by any client in any pieces; some go on in the conversation of another, by request or by
//! policy. What they write is known beforehand as well, and that no two of one conversation run at once is looked at.
//! A full disk is no part of it.
//!
//! Every choice comes from the seed; what the machine makes of it (which byte a cut hits) does not, so a failure is
//! repeated by running the seed again, a few times where it is rare.

mod actor;
mod audit;
mod chaos;
mod deeds;
mod execution;
mod family;
mod input;
mod known;
mod plan;
mod plant;
mod stuck;
mod survey;
mod view;
mod world;

use std::{any::Any, panic::AssertUnwindSafe, path::PathBuf, sync::Arc, time::Duration};

use futures::FutureExt;
use rand::{Rng, SeedableRng, rngs::StdRng};

pub use plant::Plant;
use world::{Phase, World};

use crate::harness::{Stack, StackOptions};

/// Output beyond this is freed, so that gaps are seen.
const KEPT_BYTES: u64 = 3 << 20;
/// How long everything may take to come to its end when the faults are over.
const SETTLE: Duration = Duration::from_secs(60);

/// What a run is like.
#[derive(Debug, Clone)]
pub struct Options {
    /// Faults to make.
    pub faults: u64,
    /// The longest time for them; the settling and the last look come on top, at most two minutes.
    pub seconds: u64,
    /// Where all choices come from.
    pub seed: u64,
    /// Clients at once.
    pub clients: usize,
    /// Both services together may be resident with so much, in bytes.
    pub memory_bytes: u64,
    /// A bug put in on purpose, to see it found.
    pub plant: Option<Plant>,
    /// Where logs go when something was violated.
    pub keep: PathBuf,
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Faults made.
    pub faults: u64,
    /// What was broken, one text each.
    pub violations: Vec<String>,
    /// What else is worth to be told.
    pub notes: String,
}

/// Runs it to its end. Progress goes to `progress`, a line each.
///
/// # Panics
/// If the services do not even start.
pub async fn run(options: &Options, progress: impl Fn(&str) + Send + Sync + 'static) -> Outcome {
    let mut stack = Stack::with(stack_options()).await;
    if let (Some(Plant::UpstreamDropsByte), Some(proxy)) = (options.plant, &stack.middle) {
        proxy.lose_a_byte_of_each_resume();
    }
    let mut seeds = StdRng::seed_from_u64(options.seed);
    let world = Arc::new(World::new(&stack, options, Box::new(progress)));
    let survey = tokio::spawn(survey::run(Arc::clone(&world)));
    let janitor = tokio::spawn(survey::janitor(Arc::clone(&world)));
    let actors: Vec<_> = (0..options.clients)
        .map(|number| {
            tokio::spawn(actor::run(
                Arc::clone(&world),
                number,
                seeds.random::<u64>(),
            ))
        })
        .collect();
    let faults = chaos::run(&world, &mut stack, seeds.random::<u64>());
    let faults = AssertUnwindSafe(faults).catch_unwind().await;
    if let Err(panic) = &faults {
        world.violate("the services", said(panic.as_ref()));
    }
    // Without the services, or with what was looked for, there is nothing to wait for.
    if faults.is_err() || world.plant_found() {
        world.set_phase(Phase::Over);
        actors.iter().for_each(tokio::task::JoinHandle::abort);
        janitor.abort();
        return world.finish(&stack);
    }
    world.set_phase(Phase::Settle);
    world.say("the faults are over; everything comes to its end");
    let settled = tokio::time::timeout(SETTLE, async {
        for actor in actors {
            if let Err(error) = actor.await {
                world.violate("a client", &format!("panicked: {error}"));
            }
        }
    })
    .await;
    if settled.is_err() {
        world.violate(
            "the run",
            "clients had not seen the end of all a minute after the last fault",
        );
    }
    audit::all_ended(&world).await;
    world.set_phase(Phase::Over);
    janitor.abort();
    if let Err(error) = survey.await {
        world.violate("the survey", &format!("panicked: {error}"));
    }
    audit::run(&world, &mut stack).await;
    world.finish(&stack)
}

/// What a panic said.
fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("it panicked")
}

fn stack_options() -> StackOptions {
    StackOptions::default()
        .proxies()
        .api(format!("--kept-bytes={KEPT_BYTES}"))
        .api("--kill-ms=500")
        .api("--drain-ms=500")
        .api("--linger-ms=1000")
        .api("--heartbeat-ms=1000")
        .api("--shutdown-ms=1000")
        .bridge("--heartbeat-ms=1000")
        .bridge("--ping-ms=2000")
        .bridge("--shutdown-ms=1000")
}

//! Runs both services under random faults, with random clients and faults on both hops. The soak
//! checks every message against I1 to I7 (docs/protocol.md, "Invariants"), and every byte against
//! the known output of the stand-in.
//!
//! ```text
//!   actors ──▶ front proxy ──▶ bridge ──▶ middle proxy ──▶ claude-api ──▶ stand-in CLI
//!     │ each message            ▲ cuts, stalls, kills by `chaos`  ▲           │
//!     ▼                                                                       ▼
//!   Checker, View (joined over reconnects), World::judge          Plan (its known output)
//! ```
//!
//! Some executions get input, which any client sends in any pieces. Some continue the conversation
//! of another execution, by request or by policy. Their output is known beforehand too, and the
//! soak checks that no two executions of one conversation run at the same time. It has no full
//! disk.
//!
//! Some executions ask. The clients answer in every way: over both services, twice, at the same
//! time with different answers, after the end, or never. The output must have the outcome of the
//! answer that was confirmed.
//!
//! Some executions have a client that answers the requests of their CLI itself
//! (`"permissionPrompts": "client"`). The CLI must read each answer once, and the output must be what
//! the CLI has written.
//!
//! The clients belong to three principals, which use the same names of lanes and workspaces. All
//! that a client receives is searched for what belongs to the other principals, and each count of
//! waiting executions is compared with the principal's own. Clients also make requests about
//! executions of the others. With [`Options::tokens`] false, all clients are one principal.
//!
//! Every choice depends on the seed, but its effect (such as the byte that a cut hits) depends on
//! the machine. To repeat a rare failure, run its seed several times.

mod actor;
mod attack;
mod audit;
mod chaos;
mod deeds;
mod dialogue;
mod exchange;
mod execution;
mod family;
mod feeder;
mod input;
mod isolation;
mod known;
mod leftover_questions;
mod lists;
mod marks;
mod pages;
mod plan;
mod plant;
mod principal;
mod questions;
mod stuck;
mod survey;
mod view;
mod waiting;
mod world;

use std::{any::Any, panic::AssertUnwindSafe, path::PathBuf, sync::Arc, time::Duration};

use futures::FutureExt;
use rand::{Rng, SeedableRng, rngs::StdRng};

pub use plant::Plant;
/// The number of principals of a run with tokens.
pub const PRINCIPALS: usize = principal::MARKS.len();
use world::{Phase, World};

use crate::harness::{Stack, StackOptions, Tokens};

/// claude-api frees older output beyond this size, which makes gaps.
const KEPT_BYTES: u64 = 3 << 20;
/// The time for all executions and clients to end after the last fault. The soak itself leaves
/// questions open in the first part of it.
const SETTLE: Duration = Duration::from_secs(60).saturating_add(leftover_questions::CALM_HOLD);

/// The options of a run.
#[derive(Debug, Clone)]
pub struct Options {
    /// The number of faults.
    pub faults: u64,
    /// The time limit for the faults; the end of all executions and the audit take at most two
    /// minutes more.
    pub seconds: u64,
    /// The seed of all choices.
    pub seed: u64,
    /// The number of concurrent clients.
    pub clients: usize,
    /// Whether the services have a token file with three principals, to which the clients belong.
    pub tokens: bool,
    /// The limit for the resident memory of both services together, in bytes.
    pub memory_bytes: u64,
    /// An injected bug that the run must find.
    pub plant: Option<Plant>,
    /// The folder for the logs after a violation.
    pub keep: PathBuf,
}

/// The result of a run.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The number of faults.
    pub faults: u64,
    /// A text for each violation.
    pub violations: Vec<String>,
    /// The summary.
    pub notes: String,
}

/// Runs the soak to its end, and calls `progress` with each line of progress.
///
/// # Panics
/// If a service does not start.
pub async fn run(options: &Options, progress: impl Fn(&str) + Send + Sync + 'static) -> Outcome {
    let tokens = options.tokens.then(principal::tokens);
    let mut stack = Stack::with(stack_options(tokens.clone())).await;
    if let (Some(Plant::UpstreamDropsByte), Some(proxy)) = (options.plant, &stack.middle) {
        proxy.lose_a_byte_of_each_resume();
    }
    let mut seeds = StdRng::seed_from_u64(options.seed);
    let world = Arc::new(World::new(
        &stack,
        tokens.as_ref(),
        options,
        Box::new(progress),
    ));
    let survey = tokio::spawn(survey::run(Arc::clone(&world)));
    let janitor = tokio::spawn(survey::janitor(Arc::clone(&world)));
    let pages = tokio::spawn(pages::run(Arc::clone(&world)));
    let actors: Vec<_> = (0..options.clients)
        .map(|number| {
            tokio::spawn(actor::run(
                Arc::clone(&world),
                number,
                seeds.random::<u64>(),
            ))
        })
        .collect();
    let feeders: Vec<_> = (0..feeder::FEEDERS)
        .map(|number| {
            tokio::spawn(feeder::run(
                Arc::clone(&world),
                number,
                seeds.random::<u64>(),
            ))
        })
        .collect();
    let faults = chaos::run(&world, &mut stack, seeds.random::<u64>());
    let faults = AssertUnwindSafe(faults).catch_unwind().await;
    if let Err(panic) = &faults {
        world.violate("the services", panic_message(panic.as_ref()));
    }
    // After a failure of the services, or when the injected bug is found, the run ends immediately.
    if faults.is_err() || world.plant_found() {
        world.set_phase(Phase::Over);
        let clients = actors.iter().chain(&feeders);
        clients.for_each(tokio::task::JoinHandle::abort);
        janitor.abort();
        pages.abort();
        return world.finish(&stack);
    }
    world.set_phase(Phase::Settle);
    world.say("the faults are over; the bridge is restarted while questions are open");
    let restart = chaos::ends::restart_while_asking(&world, &mut stack.bridge);
    if let Err(panic) = AssertUnwindSafe(restart).catch_unwind().await {
        world.violate("the services", panic_message(panic.as_ref()));
    }
    world.begin_calm();
    world.say("waiting for all executions and clients to end");
    let settled = tokio::time::timeout(SETTLE, async {
        for client in actors.into_iter().chain(feeders) {
            if let Err(error) = client.await {
                world.violate("a client", &format!("panicked: {error}"));
            }
        }
    })
    .await;
    if settled.is_err() {
        world.violate(
            "the run",
            &format!(
                "{SETTLE:?} after the last fault, clients still wait for the end of executions"
            ),
        );
    }
    audit::all_ended(&world).await;
    world.set_phase(Phase::Over);
    janitor.abort();
    pages.abort();
    if let Err(error) = survey.await {
        world.violate("the survey", &format!("panicked: {error}"));
    }
    audit::run(&world, &mut stack).await;
    world.finish(&stack)
}

/// Returns the message of a panic.
fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("it panicked")
}

fn stack_options(tokens: Option<Tokens>) -> StackOptions {
    let options = match tokens {
        // Short lanes are often full.
        Some(tokens) => StackOptions::default()
            .tokens(tokens)
            .api("--queued-per-lane=2"),
        None => StackOptions::default(),
    };
    options
        .proxies()
        .api(format!("--kept-bytes={KEPT_BYTES}"))
        // The ceiling of the tools that executions may ask for.
        .api("--allowed-tools=Bash")
        .api("--kill-ms=500")
        .api("--drain-ms=500")
        .api("--linger-ms=1000")
        .api("--heartbeat-ms=1000")
        .api("--shutdown-ms=1000")
        .bridge("--heartbeat-ms=1000")
        .bridge("--ping-ms=2000")
        .bridge("--shutdown-ms=1000")
}

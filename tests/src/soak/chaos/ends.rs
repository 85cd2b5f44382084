//! Kills and stops services, and kills runners and CLIs. Each deed is recorded before it is done.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use rustix::process::{Pid, Signal};
use serde_json::Value;

use super::pause;
use crate::{
    harness::{
        Service,
        processes::{self, Process},
    },
    soak::{deeds::Deed, execution::Execution, family::conversation, survey::brief, world::World},
};

/// The time after a start of claude-api in which it records what it interrupted (docs/protocol.md,
/// "State names").
const RECOVERY: Duration = Duration::from_secs(5);
/// The time for a question of each principal after the last fault.
const ASKED: Duration = Duration::from_secs(10);
const ASK_AGAIN: Duration = Duration::from_millis(50);

/// Ends processes until the run has enough faults.
///
/// # Panics
/// If a service does not end, or does not start again.
pub(super) async fn run(world: &World, api: &mut Service, bridge: &mut Service, seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    while world.under_fire() {
        tokio::time::sleep(pause(world, &mut rng)).await;
        match rng.random_range(0..100) {
            0..25 => end_bridge(world, bridge, &mut rng, true).await,
            25..50 => end_api(world, api, &mut rng, true).await,
            50..56 => end_bridge(world, bridge, &mut rng, false).await,
            56..62 => end_api(world, api, &mut rng, false).await,
            62..85 => kill_cli(world, &mut rng, api.pid()),
            _ => kill_runner(world, &mut rng, api.pid()),
        }
    }
}

/// Restarts the bridge while questions are open, after the last fault: every view that resumes must
/// announce them again.
///
/// # Panics
/// If the bridge does not start.
pub(in crate::soak) async fn restart_while_asking(world: &World, bridge: &mut Service) {
    let due = Instant::now() + ASKED;
    let is_asking = |execution: &Execution| {
        let facts = execution.facts();
        facts.terminal.is_none() && facts.questions.older_than(Duration::ZERO).is_some()
    };
    let open = loop {
        let all = world.executions();
        let mut open = vec![0; world.principals.len()];
        for execution in all.iter().filter(|one| is_asking(one)) {
            open[execution.principal] += 1;
        }
        if open.iter().all(|count| *count > 0) || Instant::now() > due {
            break open;
        }
        tokio::time::sleep(ASK_AGAIN).await;
    };
    world.bridge_pid.store(0, Ordering::SeqCst);
    end(world, "bridge", bridge, true).await;
    bridge.start_again().await;
    world.bridge_restarts.fetch_add(1, Ordering::Relaxed);
    world.bridge_pid.store(bridge.pid(), Ordering::SeqCst);
    world.remark(format!(
        "open questions of each principal at the last restart of the bridge: {open:?}"
    ));
}

async fn end_bridge(world: &World, bridge: &mut Service, rng: &mut StdRng, hard: bool) {
    world.bridge_pid.store(0, Ordering::SeqCst);
    end(world, "bridge", bridge, hard).await;
    world.fault(if hard { "kill bridge" } else { "stop bridge" });
    restart(world, rng, bridge).await;
    world.bridge_restarts.fetch_add(1, Ordering::Relaxed);
    world.bridge_pid.store(bridge.pid(), Ordering::SeqCst);
}

async fn end_api(world: &World, api: &mut Service, rng: &mut StdRng, hard: bool) {
    world.api_pid.store(0, Ordering::SeqCst);
    let deed = if hard { Deed::Kill } else { Deed::Stop };
    let deed = world.deeds.begin(deed);
    end(world, "claude-api", api, hard).await;
    world.deeds.done(deed);
    world.fault(if hard {
        "kill claude-api"
    } else {
        "stop claude-api"
    });
    // Executions that start from now on are not recovered ones.
    let ended = Timestamp::now();
    restart(world, rng, api).await;
    world.api_pid.store(api.pid(), Ordering::SeqCst);
    check_recovery(world, ended).await;
}

/// Ends a service that must have lived until now.
async fn end(world: &World, name: &str, service: &mut Service, hard: bool) {
    if let Some(status) = service.exited() {
        return world.violate(name, &format!("the service ended by itself: {status}"));
    }
    if hard {
        return service.kill();
    }
    let status = service.stop().await;
    if !status.success() {
        world.violate(
            name,
            &format!("the service ended with {status} after SIGTERM"),
        );
    }
}

/// Starts a service again after a short pause.
async fn restart(world: &World, rng: &mut StdRng, service: &mut Service) {
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

/// Checks that claude-api records in time the end of every execution that ran before its restart.
async fn check_recovery(world: &World, ended: Timestamp) {
    let due = Instant::now() + RECOVERY;
    loop {
        let left = left_from_before(world, ended).await;
        match left {
            Ok(left) if left.is_empty() => {
                world.recoveries.fetch_add(1, Ordering::Relaxed);
                return;
            }
            left if Instant::now() > due => {
                let text = format!(
                    "{RECOVERY:?} after a start, executions from before have no end: {left:?}"
                );
                return world.violate("claude-api", &text);
            }
            _ => tokio::time::sleep(ASK_AGAIN).await,
        }
    }
}

async fn left_from_before(world: &World, ended: Timestamp) -> Result<Vec<String>, String> {
    let (code, list) = world
        .admin
        .get("/v1/executions?limit=1000")
        .await
        .map_err(|error| error.to_string())?;
    let all = list["executions"].as_array().filter(|_| code == 200);
    let all = all.ok_or_else(|| format!("the list returned {code}: {list}"))?;
    let from_before = |status: &&Value| {
        let live = matches!(status["state"].as_str(), Some("running" | "paused"));
        let started = status["startedAt"].as_str();
        let started = started.and_then(|at| at.parse::<Timestamp>().ok());
        live && started.is_none_or(|started| started < ended)
    };
    Ok(all.iter().filter(from_before).map(brief).collect())
}

fn kill_cli(world: &World, rng: &mut StdRng, api: i32) {
    let found = victim(rng, api, |arguments| conversation(arguments).is_some());
    let Some(process) = found else { return };
    let Some(of) = conversation(&process.arguments) else {
        return;
    };
    if kill(world, &process, Deed::Cli(of.to_owned())) {
        world.fault("kill CLI");
    }
}

fn kill_runner(world: &World, rng: &mut StdRng, api: i32) {
    // The runner's path differs, so this matches its last argument.
    let found = victim(rng, api, |arguments| arguments.ends_with(" runner"));
    let Some(process) = found else { return };
    let of = processes::descendants(process.pid)
        .iter()
        .find_map(|one| conversation(&one.arguments).map(str::to_owned));
    if kill(world, &process, Deed::Runner(of)) {
        world.fault("kill runner");
    }
}

/// Returns a random descendant of claude-api whose arguments match.
fn victim(rng: &mut StdRng, api: i32, which: impl Fn(&str) -> bool) -> Option<Process> {
    let mut found = processes::descendants(api);
    found.retain(|process| process.state != 'Z' && which(&process.arguments));
    found.choose(rng).cloned()
}

/// Kills a process; returns whether it still existed.
fn kill(world: &World, process: &Process, deed: Deed) -> bool {
    let deed = world.deeds.begin(deed);
    let killed = Pid::from_raw(process.pid)
        .is_some_and(|pid| rustix::process::kill_process(pid, Signal::KILL).is_ok());
    world.deeds.done(deed);
    killed
}

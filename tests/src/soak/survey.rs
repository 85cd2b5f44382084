//! Looks at the services from outside, again and again: memory, zombies, processes of what has ended; and sees to
//! it that nothing waits for ever for a client that paused it and went away.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{
    execution::Execution,
    family,
    stuck::Stuck,
    world::{Phase, World},
};
use crate::harness::processes;

const EVERY: Duration = Duration::from_millis(250);
const REPORT: Duration = Duration::from_secs(5);
/// A zombie that is older is kept, not just about to be reaped; a process that is there so long after the end was
/// seen is left behind.
const LEFT: Duration = Duration::from_secs(3);
/// Input that clients have not ended by then is ended: the run must go on.
const UNFED: Duration = Duration::from_secs(4);
/// claude-api answers a few requests about one execution long before.
const ANSWER: Duration = Duration::from_secs(20);
/// What runs for so much longer than its plan says hangs. A busy machine takes some of it.
const SLACK: Duration = Duration::from_secs(15);

/// Looks until the run is over.
pub(super) async fn run(world: Arc<World>) {
    let mut reported = Instant::now();
    let mut zombies: HashMap<i32, Instant> = HashMap::new();
    let mut remains: HashMap<i32, Instant> = HashMap::new();
    let mut told = HashSet::new();
    while world.phase() < Phase::Over {
        tokio::time::sleep(EVERY).await;
        let (api, bridge) = (
            world.api_pid.load(Ordering::SeqCst),
            world.bridge_pid.load(Ordering::SeqCst),
        );
        memory(&world, api, bridge);
        let everybody = processes::all();
        family::two_at_once(&world, &everybody, &mut told);
        let dead: Vec<_> = everybody
            .iter()
            .filter(|one| one.state == 'Z' && api != 0 && one.parent == api)
            .collect();
        zombies.retain(|pid, _| dead.iter().any(|one| one.pid == *pid));
        for one in dead {
            if since(&mut zombies, one.pid) > LEFT {
                world.violate("claude-api", &format!("I5: keeps a zombie: {one:?}"));
                zombies.insert(one.pid, Instant::now());
            }
        }
        let left: Vec<_> = everybody
            .iter()
            .filter(|one| one.state != 'Z' && is_remains(&world, &one.arguments))
            .collect();
        remains.retain(|pid, _| left.iter().any(|one| one.pid == *pid));
        for one in left {
            if since(&mut remains, one.pid) > LEFT {
                world.violate(
                    "claude-api",
                    &format!("I5: a process of what has ended is there: {one:?}"),
                );
                remains.insert(one.pid, Instant::now());
            }
        }
        if reported.elapsed() > REPORT {
            reported = Instant::now();
            report(&world, api, bridge);
        }
    }
}

fn since(times: &mut HashMap<i32, Instant>, pid: i32) -> Duration {
    times.entry(pid).or_insert_with(Instant::now).elapsed()
}

/// Whether the arguments name a conversation (an execution's, mostly) whose end was seen.
fn is_remains(world: &World, arguments: &str) -> bool {
    arguments
        .split([' ', '='])
        .filter(|word| word.len() == 36)
        .any(|conversation| world.is_silent(conversation))
}

fn memory(world: &World, api: i32, bridge: i32) {
    let api = processes::resident_bytes(api).unwrap_or(0);
    let bridge = processes::resident_bytes(bridge).unwrap_or(0);
    for (most, now) in world.resident.iter().zip([api, bridge, api + bridge]) {
        most.fetch_max(now, Ordering::Relaxed);
    }
}

fn report(world: &World, api: i32, bridge: i32) {
    let (made, live) = world.census();
    let mib = |pid| processes::resident_bytes(pid).unwrap_or(0) >> 20;
    world.say(&format!(
        "{}/{} faults, {made} executions ({live} live), {} messages, {} MB compared, claude-api {} MiB, bridge {} MiB, {} violations",
        world.fault_count.load(Ordering::Relaxed),
        world.options.faults,
        world.messages.load(Ordering::Relaxed),
        world.checked.load(Ordering::Relaxed) / 1_000_000,
        mib(api),
        mib(bridge),
        world.violation_count(),
    ));
}

/// Resumes what was paused, ends the input that nobody ends, and is a witness of every end. It helps nothing that hangs, but
/// tells of it.
pub(super) async fn janitor(world: Arc<World>) {
    let mut stuck = Stuck::default();
    loop {
        tokio::time::sleep(EVERY).await;
        let api = world.api_pid.load(Ordering::SeqCst);
        let mut statuses = Some(Vec::new());
        for execution in world.executions() {
            if execution.is_done() {
                continue;
            }
            let tended = tokio::time::timeout(ANSWER, tend(&world, &execution));
            let status = tended.await.unwrap_or_else(|_| {
                let text = format!("no answer about {} in {ANSWER:?}", execution.id);
                world.violate("claude-api", &text);
                None
            });
            // Who was not asked may be what the others wait for.
            statuses = statuses.zip(status).map(|(mut all, status)| {
                all.push(status);
                all
            });
        }
        let statuses = statuses.filter(|_| api == world.api_pid.load(Ordering::SeqCst));
        stuck.look(&world, api, statuses);
    }
}

/// Its status, null where there is none; `None` when claude-api is not reached.
async fn tend(world: &World, execution: &Execution) -> Option<Value> {
    let due = execution
        .facts()
        .resume_at
        .is_some_and(|at| at <= Instant::now());
    let path = format!("/v1/executions/{}", execution.id);
    let resumed = if due {
        let path = format!("{path}/resume");
        let call = world.http.call(reqwest::Method::POST, &path, None).await;
        call.ok().filter(|(code, _)| *code == 200)
    } else {
        None
    };
    let (code, status) = match resumed {
        Some(answer) => answer,
        None => world.http.get(&path).await.ok()?,
    };
    if code.is_server_error() {
        return None;
    }
    if code != 200 {
        return Some(Value::Null);
    }
    if let Err(rule) = world.judge(execution, &status, false) {
        world.violate(
            "claude-api",
            &format!("{}: {rule}\n{}", execution.id, brief(&status)),
        );
    }
    overdue(world, execution, &status);
    if status["state"] == "running" && execution.born.elapsed() > UNFED {
        feed(world, execution).await;
    }
    if due && status["state"] == "running" {
        // Another pause may have come meanwhile; it has set a time of its own.
        let mut facts = execution.facts();
        if facts.resume_at.is_some_and(|at| at <= Instant::now()) {
            facts.resume_at = None;
        }
    }
    Some(status)
}

/// What runs for longer than it can take hangs.
fn overdue(world: &World, execution: &Execution, status: &Value) {
    let ran = Duration::from_millis(status["durationMs"].as_u64().unwrap_or_default());
    let input = execution.taken().map_or(Duration::ZERO, |_| UNFED);
    let longest = execution.longest() + input + SLACK;
    let told = std::mem::replace(&mut execution.facts().overdue, ran > longest);
    if status["state"] == "running" && ran > longest && !told {
        let text = format!(
            "I1: {} has run for {ran:?}, where {longest:?} is more than enough\n{}",
            execution.id,
            brief(status)
        );
        world.violate("claude-api", &text);
    }
}

/// Sends all input once more, and its end.
async fn feed(world: &World, execution: &Execution) {
    let offered = execution.facts().input.as_mut().map(|input| input.all());
    let Some((offer, data)) = offered else { return };
    let path = format!("/v1/executions/{}/input?offset=0&eof=true", execution.id);
    let request = world.http.request(reqwest::Method::POST, &path).body(data);
    let Ok(response) = request.send().await else {
        return;
    };
    let code = response.status();
    let answer = response.bytes().await.unwrap_or_default();
    let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
    let judged = match (code.as_u16(), answer["accepted"].as_u64()) {
        (200, Some(total)) => {
            let mut facts = execution.facts();
            let input = facts.input.as_mut();
            input.map_or(Ok(()), |input| input.accepted(offer, total))
        }
        // It has ended meanwhile, or was deleted, or the service ends.
        (409, _) if answer["state"].is_string() => Ok(()),
        (404 | 410 | 503, _) => Ok(()),
        _ => Err(format!("input from 0 on is answered with {code}: {answer}")),
    };
    if let Err(rule) = judged {
        world.violate("claude-api", &format!("{}: {rule}", execution.id));
    }
}

/// A status for a message.
pub(super) fn brief(status: &Value) -> String {
    let mut status = status.clone();
    status["stderrTail"] = Value::Null;
    status.to_string()
}

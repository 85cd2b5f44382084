//! Checks the services regularly from outside: their memory, zombies, and processes of ended
//! executions. Also resumes executions whose client paused them and left.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use reqwest::Method;
use serde_json::Value;

use super::{
    exchange::Call,
    execution::Execution,
    family, leftover_questions,
    stuck::Stuck,
    world::{Phase, World},
};
use crate::harness::processes;

const EVERY: Duration = Duration::from_millis(250);
const REPORT: Duration = Duration::from_secs(5);
/// A zombie that is older than this is a leak. So is a process that exists so long after the end of
/// its execution.
const LEFT: Duration = Duration::from_secs(3);
/// The survey ends input that no client has ended by then: otherwise the execution would not end.
const UNFED: Duration = Duration::from_secs(4);
/// The timeout for a few requests about one execution.
const ANSWER: Duration = Duration::from_secs(20);
/// An execution that runs so much longer than its plan hangs. This includes delays of a busy
/// machine.
const SLACK: Duration = Duration::from_secs(15);

/// Checks the services until the run is over.
pub(super) async fn run(world: Arc<World>) {
    let mut reported = Instant::now();
    let mut zombies: HashMap<i32, Instant> = HashMap::new();
    let mut remains: HashMap<i32, Instant> = HashMap::new();
    let mut conversations = HashSet::new();
    while world.phase() < Phase::Over {
        tokio::time::sleep(EVERY).await;
        let (api, bridge) = (
            world.api_pid.load(Ordering::SeqCst),
            world.bridge_pid.load(Ordering::SeqCst),
        );
        memory(&world, api, bridge);
        let everybody = processes::all();
        family::report_concurrent_runs(&world, &everybody, &mut conversations);
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
                    &format!("I5: a process of an ended execution is left: {one:?}"),
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

/// Returns whether the arguments name a conversation (mostly an execution's id) that has ended.
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
        "{}/{} faults, {made} executions ({live} live), {} messages, {} MB compared, \
         claude-api {} MiB, bridge {} MiB, {} violations",
        world.fault_count.load(Ordering::Relaxed),
        world.options.faults,
        world.messages.load(Ordering::Relaxed),
        world.checked.load(Ordering::Relaxed) / 1_000_000,
        mib(api),
        mib(bridge),
        world.violation_count(),
    ));
}

/// Resumes paused executions, ends input that no client ends, and reads the end of every execution.
/// It reports executions that hang, but does not help them.
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
            // The others may wait for an execution without an answer.
            statuses = statuses.zip(status).map(|(mut all, status)| {
                all.push(status);
                all
            });
        }
        let statuses = statuses.filter(|_| api == world.api_pid.load(Ordering::SeqCst));
        stuck.look(&world, api, statuses);
    }
}

/// Tends one execution and returns its status, null if it has none; `None` when claude-api is not
/// reachable.
async fn tend(world: &World, execution: &Execution) -> Option<Value> {
    let due = execution
        .facts()
        .resume_at
        .is_some_and(|at| at <= Instant::now());
    let path = format!("/v1/executions/{}", execution.id);
    let owner = world.owner(execution);
    let (asked, sent) = (Timestamp::now(), Instant::now());
    let resumed = if due {
        let call = Call::own(Method::POST, format!("{path}/resume"));
        let answer = world.exchange(owner, &call).await;
        answer.filter(|answer| answer.code == 200)
    } else {
        None
    };
    let answer = match resumed {
        Some(answer) => answer,
        None => world.exchange(owner, &Call::own(Method::GET, path)).await?,
    };
    if answer.code >= 500 {
        return None;
    }
    if answer.code != 200 {
        return Some(Value::Null);
    }
    let status = answer.json();
    world.note_position(execution, &status, Some(asked));
    if let Err(rule) = world.judge(execution, &status, false) {
        world.violate(
            "claude-api",
            &format!("{}: {rule}\n{}", execution.id, brief(&status)),
        );
    }
    overdue(world, execution, &status);
    leftover_questions::answer_or_cancel(world, execution, &status, sent).await;
    if status["state"] == "running" && execution.born.elapsed() > UNFED {
        feed(world, execution).await;
    }
    if due && status["state"] == "running" {
        // Another pause may have set a new time meanwhile.
        let mut facts = execution.facts();
        if facts.resume_at.is_some_and(|at| at <= Instant::now()) {
            facts.resume_at = None;
        }
    }
    Some(status)
}

/// Reports an execution that runs longer than it can take.
fn overdue(world: &World, execution: &Execution, status: &Value) {
    let ran = Duration::from_millis(status["durationMs"].as_u64().unwrap_or_default());
    let input = execution.taken().map_or(Duration::ZERO, |_| UNFED);
    let longest = execution.longest() + input + SLACK;
    let reported = std::mem::replace(&mut execution.facts().overdue, ran > longest);
    if status["state"] == "running" && ran > longest && !reported {
        let text = format!(
            "I1: {} has run for {ran:?}, longer than its limit of {longest:?}\n{}",
            execution.id,
            brief(status)
        );
        world.violate("claude-api", &text);
    }
}

/// Sends all input again, and its end.
async fn feed(world: &World, execution: &Execution) {
    let offered = execution.facts().input.as_mut().map(|input| input.all());
    let Some((offer, data)) = offered else { return };
    let path = format!("/v1/executions/{}/input?offset=0&eof=true", execution.id);
    let call = Call {
        body: data,
        ..Call::own(Method::POST, path)
    };
    let Some(answer) = world.exchange(world.owner(execution), &call).await else {
        return;
    };
    let (code, answer) = (answer.code, answer.json());
    let judged = match (code, answer["accepted"].as_u64()) {
        (200, Some(total)) => {
            let mut facts = execution.facts();
            let input = facts.input.as_mut();
            input.map_or(Ok(()), |input| input.accepted(offer, total))
        }
        // The execution has ended meanwhile, or was deleted, or the service stops.
        (409, _) if answer["state"].is_string() => Ok(()),
        (404 | 410 | 503, _) => Ok(()),
        _ => Err(format!("the input from offset 0 returned {code}: {answer}")),
    };
    if let Err(rule) = judged {
        world.violate("claude-api", &format!("{}: {rule}", execution.id));
    }
}

/// Formats a status for a message.
pub(super) fn brief(status: &Value) -> String {
    let mut status = status.clone();
    status["stderrTail"] = Value::Null;
    status.to_string()
}

//! The final audit: every execution has ended, both services still return it, its CLI was started
//! once, and it left no process.

mod late;
mod questions;

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use reqwest::Method;
use serde_json::Value;

use super::{
    exchange::Call, execution::Execution, family, lists, survey::brief, waiting, world::World,
};
use crate::harness::{Stack, processes};

/// The time for all executions to end after the last client.
const ENDS: Duration = Duration::from_secs(30);
const LEFT: Duration = Duration::from_secs(5);
/// The bridge checks every 20 s for connections that were idle for 20 s, and drops them.
const SPARE: Duration = Duration::from_secs(45);
/// The limit of a service's descriptors without clients: those at its start, and idle connections.
const DESCRIPTORS: usize = 80;

/// Waits until each accepted execution has ended.
pub(super) async fn all_ended(world: &World) {
    let end = Instant::now() + ENDS;
    loop {
        let live: Vec<_> = world
            .executions()
            .into_iter()
            .filter(|one| !one.is_over() && one.facts().accepted && !one.facts().deleted)
            .collect();
        if live.is_empty() {
            return;
        }
        if Instant::now() > end {
            for one in live {
                let status = world
                    .admin
                    .status(&one.id)
                    .await
                    .map_or_else(|error| error.to_string(), |status| brief(&status));
                world.violate(
                    "claude-api",
                    &format!(
                        "I1: {} has not ended {ENDS:?} after the last client: {status}",
                        one.id
                    ),
                );
            }
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Audits all executions and both services.
pub(super) async fn run(world: &Arc<World>, stack: &mut Stack) {
    for (name, service) in [
        ("claude-api", &mut stack.api),
        ("bridge", &mut stack.bridge),
    ] {
        if let Some(status) = service.exited() {
            return world.violate(name, &format!("the service ended by itself: {status}"));
        }
    }
    let stack = &*stack;
    let executions = world.executions();
    world.say(&format!(
        "reading all {} executions again",
        executions.len()
    ));
    for execution in &executions {
        if let Err(rule) = read_again(world, execution).await {
            world.violate("the audit", &format!("{}: {rule}", execution.id));
        }
    }
    for execution in executions.iter().rev().take(200) {
        let deleted = execution.facts().deleted;
        if execution.is_over()
            && !deleted
            && let Err(rule) = late::seen(world, stack, execution).await
        {
            world.violate("a late viewer", &rule);
        }
    }
    family::audit(world, &executions);
    waiting::audit(world, &executions);
    lists::audit(world, &executions).await;
    leftovers(world, &executions).await;
    for (name, service) in [("claude-api", &stack.api), ("bridge", &stack.bridge)] {
        for line in service.complaints() {
            world.violate(name, &line);
        }
        descriptors(world, name, service.pid()).await;
    }
    let most = world.resident[2].load(Ordering::Relaxed);
    if most > world.options.memory_bytes {
        world.violate(
            "the services",
            &format!("I6: {} MiB were resident at once", most >> 20),
        );
    }
}

/// Checks that a service closes the descriptors of its clients; an open one after that is a leak.
async fn descriptors(world: &World, name: &str, pid: i32) {
    let end = Instant::now() + SPARE;
    loop {
        match processes::descriptors(pid) {
            Ok(open) if open.len() <= DESCRIPTORS => {
                return world.remark(format!(
                    "{name} holds {} descriptors at the end",
                    open.len()
                ));
            }
            Ok(open) if Instant::now() > end => {
                let count = open.len();
                let text = format!("I6: holds {count} descriptors without clients: {open:?}");
                return world.violate(name, &text);
            }
            Ok(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            // Only root may read the descriptors of a process that is not dumpable.
            Err(error) => {
                return world.remark(format!("descriptors of {name}: not checked ({error})"));
            }
        }
    }
}

/// Checks the status and the kept output, read directly from claude-api.
async fn read_again(world: &World, execution: &Execution) -> Result<(), String> {
    let (deleted, accepted) = {
        let facts = execution.facts();
        (facts.deleted, facts.accepted)
    };
    let path = format!("/v1/executions/{}", execution.id);
    let owner = world.owner(execution);
    let read = async |path: String| {
        let answer = world.exchange(owner, &Call::own(Method::GET, path)).await;
        answer.ok_or("an answer was aborted")
    };
    let answer = read(path.clone()).await?;
    let (code, status) = (answer.code, answer.json());
    if code == 404 && !accepted || code == 410 && deleted {
        return Ok(());
    }
    if code != 200 {
        return Err(format!(
            "the request for its status returned {code}: {status}"
        ));
    }
    world.judge(execution, &status, !deleted)?;
    questions::read_again(world, execution).await?;
    let kept = status["keptFrom"].as_u64().unwrap_or_default();
    let answer = read(format!("{path}/output?offset={kept}")).await?;
    if answer.code != 200 {
        return Err(format!(
            "the request for its output returned {}",
            answer.code
        ));
    }
    let output = answer.body;
    if kept + output.len() as u64 != status["outputBytes"].as_u64().unwrap_or_default() {
        return Err(format!(
            "the output has {} bytes from {kept} on: {}",
            output.len(),
            brief(&status)
        ));
    }
    execution.content(kept, &output)?;
    if kept == 0 {
        let crc32 = format!("{:08x}", crc32fast::hash(&output));
        if status["crc32"] != crc32.as_str() {
            return Err(format!(
                "I3: crc32 {} of an output with {crc32}",
                status["crc32"]
            ));
        }
        if execution.events() {
            return deltas(execution, &output, &status);
        }
    }
    Ok(())
}

/// Checks that the text in the event lines is the text of a plan.
fn deltas(execution: &Execution, output: &[u8], status: &Value) -> Result<(), String> {
    let mut text = Vec::new();
    for line in output.split(|byte| *byte == b'\n') {
        let Ok(event) = serde_json::from_slice::<Value>(line) else {
            continue;
        };
        // A sub-agent's words are not the answer.
        if event["parent_tool_use_id"].is_null() && event["event"]["delta"]["type"] == "text_delta"
        {
            text.extend_from_slice(
                event["event"]["delta"]["text"]
                    .as_str()
                    .unwrap_or_default()
                    .as_bytes(),
            );
        }
    }
    if execution.dialogue().is_some() {
        return execution.follows_answers(&text, false, Some(status), &execution.facts());
    }
    let whole = status["state"] == "completed";
    let good = |due: &[u8]| due.starts_with(&text) && (!whole || due.len() == text.len());
    if execution.plans.iter().any(|plan| good(&plan.deltas)) {
        return Ok(());
    }
    let due: Vec<_> = execution
        .plans
        .iter()
        .map(|plan| plan.deltas.len())
        .collect();
    Err(format!(
        "the events hold {} bytes of text, the CLI wrote {due:?}, or the texts differ",
        text.len()
    ))
}

async fn leftovers(world: &World, executions: &[Arc<Execution>]) {
    let end = Instant::now() + LEFT;
    loop {
        let left: Vec<_> = processes::all()
            .into_iter()
            .filter(|one| {
                one.state != 'Z'
                    && executions
                        .iter()
                        .any(|execution| one.arguments.contains(&execution.id))
            })
            .collect();
        let zombies = processes::zombies(world.api_pid.load(Ordering::SeqCst));
        if left.is_empty() && zombies.is_empty() {
            return;
        }
        if Instant::now() > end {
            return world.violate(
                "claude-api",
                &format!("I5: left behind: {left:?}, zombies {zombies:?}"),
            );
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

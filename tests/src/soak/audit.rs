//! The last look: everything has ended, is to be had again from both services, was started once, and left nothing.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use futures::FutureExt;
use serde_json::Value;

use super::{execution::Execution, survey::brief, world::World};
use crate::{
    harness::{Stack, processes},
    http::read_output,
};

/// For all to end when the clients are gone.
const ENDS: Duration = Duration::from_secs(30);
const LEFT: Duration = Duration::from_secs(5);
/// Descriptors of a service without clients: what it has at its start, some spare connections.
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
                    .http
                    .status(&one.id)
                    .await
                    .map_or_else(|error| error.to_string(), |status| brief(&status));
                world.violate(
                    "claude-api",
                    &format!(
                        "I1: {} has no end {ENDS:?} after the clients went: {status}",
                        one.id
                    ),
                );
            }
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Looks at everything once more.
pub(super) async fn run(world: &Arc<World>, stack: &Stack) {
    let executions = world.executions();
    world.say(&format!(
        "reads all {} executions once more",
        executions.len()
    ));
    spawns(world, &executions);
    for execution in &executions {
        if let Err(rule) = once_more(world, execution).await {
            world.violate("the last look", &format!("{}: {rule}", execution.id));
        }
    }
    for execution in executions.iter().rev().take(200) {
        let deleted = execution.facts().deleted;
        if execution.is_over()
            && !deleted
            && let Err(rule) = seen_late(stack, execution).await
        {
            world.violate("a late viewer", &rule);
        }
    }
    leftovers(world, &executions).await;
    for (name, service) in [("claude-api", &stack.api), ("bridge", &stack.bridge)] {
        for line in service
            .log()
            .lines()
            .filter(|line| line.contains("panicked at"))
        {
            world.violate(name, line);
        }
        let open =
            std::fs::read_dir(format!("/proc/{}/fd", service.pid())).map_or(0, Iterator::count);
        if open > DESCRIPTORS {
            world.violate(
                name,
                &format!("I6: holds {open} descriptors without clients"),
            );
        }
    }
    let most = world.resident[2].load(Ordering::Relaxed);
    if most > world.options.memory_bytes {
        world.violate(
            "the services",
            &format!("I6: {} MiB were resident at once", most >> 20),
        );
    }
}

fn spawns(world: &World, executions: &[Arc<Execution>]) {
    let log = std::fs::read_to_string(&world.spawns_log).unwrap_or_default();
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for id in log
        .lines()
        .filter_map(|line| line.split_whitespace().nth(1))
    {
        *counts.entry(id).or_default() += 1;
    }
    for execution in executions {
        let count = counts.get(execution.id.as_str()).copied().unwrap_or(0);
        if count > 1 {
            world.violate(
                "claude-api",
                &format!("I4: {} was started {count} times", execution.id),
            );
        }
        let facts = execution.facts();
        let completed = facts
            .terminal
            .as_ref()
            .is_some_and(|(status, _)| status["state"] == "completed");
        if completed && count == 0 {
            world.violate(
                "claude-api",
                &format!("{} completed without a process", execution.id),
            );
        }
    }
}

/// The status and the kept output, straight from claude-api.
async fn once_more(world: &World, execution: &Execution) -> Result<(), String> {
    let (deleted, accepted) = {
        let facts = execution.facts();
        (facts.deleted, facts.accepted)
    };
    let path = format!("/v1/executions/{}", execution.id);
    let (code, status) = world
        .http
        .get(&path)
        .await
        .map_err(|error| error.to_string())?;
    if code == 404 && !accepted || code == 410 && deleted {
        return Ok(());
    }
    if code != 200 {
        return Err(format!("its status is answered with {code}: {status}"));
    }
    execution.judge(&status, !deleted)?;
    let kept = status["keptFrom"].as_u64().unwrap_or_default();
    let response = world
        .http
        .open_output(&execution.id, kept)
        .await
        .map_err(|error| format!("its output: {error}"))?;
    let output = read_output(response).await;
    if !output.clean {
        return Err("its output was aborted".into());
    }
    if kept + output.bytes.len() as u64 != status["outputBytes"].as_u64().unwrap_or_default() {
        return Err(format!(
            "{} bytes are to be had from {kept} on: {}",
            output.bytes.len(),
            brief(&status)
        ));
    }
    execution.content(kept, &output.bytes)?;
    if kept == 0 {
        let crc32 = format!("{:08x}", crc32fast::hash(&output.bytes));
        if status["crc32"] != crc32.as_str() {
            return Err(format!(
                "I3: crc32 {} of an output with {crc32}",
                status["crc32"]
            ));
        }
        if execution.plan.events {
            return deltas(execution, &output.bytes, &status);
        }
    }
    Ok(())
}

/// The text in the event lines is what the stand-in was told to say.
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
    let due = &execution.plan.deltas;
    let whole = status["state"] == "completed";
    if due.starts_with(&text) && (!whole || due.len() == text.len()) {
        Ok(())
    } else {
        Err(format!(
            "the events say {} bytes of text, the CLI {}; or others",
            text.len(),
            due.len()
        ))
    }
}

/// As [`late_viewer`]; what makes its client panic is a violation as well.
async fn seen_late(stack: &Stack, execution: &Execution) -> Result<(), String> {
    let viewer = std::panic::AssertUnwindSafe(late_viewer(stack, execution));
    viewer.catch_unwind().await.unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .map_or("it panicked", String::as_str);
        Err(format!("{}: {text}", execution.id))
    })
}

/// A new client that attaches long after the end sees the whole, or a gap and the rest.
async fn late_viewer(stack: &Stack, execution: &Execution) -> Result<(), String> {
    let mut client = stack.client().await;
    client
        .attach(&execution.id, None)
        .await
        .map_err(|error| format!("{}: {error}", execution.id))?;
    let (output, end) = client.wait_terminal(&execution.id).await;
    let from = client.gaps(&execution.id).last().map_or(0, |gap| gap.1);
    execution.content(from, &output)?;
    execution.judge(&end, true)?;
    client.finish().await;
    Ok(())
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

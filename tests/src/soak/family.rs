//! Checks the executions of one conversation: which one continues which, that no two of them run at
//! the same time, and that each was started once.

use std::{
    collections::{HashMap, HashSet},
    fs,
    sync::Arc,
};

use jiff::Timestamp;
use serde_json::Value;

use super::{execution::Execution, plant::spoil_status, world::World};
use crate::harness::processes::{self, Process};

impl World {
    /// Checks a status of an execution, and adds the execution that a policy created after it.
    ///
    /// # Errors
    /// The rule that the status breaks.
    pub(super) fn judge(
        &self,
        execution: &Execution,
        status: &Value,
        asked_over: bool,
    ) -> Result<(), String> {
        let status = &spoil_status(self.plant(), status);
        let allowed_ends = self.deeds.during(&execution.conversation, status);
        execution.judge(status, asked_over, allowed_ends)?;
        // For a lost execution the bridge knows no other fields.
        if status["reason"] == "lost" {
            return Ok(());
        }
        for (name, due) in [
            ("conversation", Some(execution.conversation.as_str())),
            ("continues", execution.continues()),
            ("principal", self.owner(execution).name),
        ] {
            if status[name].as_str() != due {
                return Err(format!("{name} is {}, not {due:?}", status[name]));
            }
        }
        match status["continuedBy"].as_str() {
            Some(by) => self.continued(execution, by),
            None => is_followed(execution, status),
        }
    }

    /// Records that `by` continues an execution.
    ///
    /// # Errors
    /// If another execution continues it, if `by` continues another one, or if a client of another
    /// principal received that id.
    pub(super) fn continued(&self, execution: &Execution, by: &str) -> Result<(), String> {
        let first = {
            let mut facts = execution.facts();
            facts
                .continued_by
                .get_or_insert_with(|| by.to_owned())
                .clone()
        };
        if first != by {
            return Err(format!("both {first} and {by} continue it"));
        }
        if execution.params["onInterrupt"] == "continue" {
            let child = || Execution::child(by.to_owned(), execution);
            self.add_unless_known(by, child)?;
        }
        let known = self.find(by);
        let claims = known.as_ref().and_then(|by| by.continues());
        if claims == Some(execution.id.as_str()) {
            return Ok(());
        }
        Err(format!(
            "`continuedBy` is {by}, but that one continues {claims:?}"
        ))
    }
}

/// Checks that an interrupted execution was continued if its policy says so, or has a warning.
fn is_followed(execution: &Execution, status: &Value) -> Result<(), String> {
    let due = execution.params["onInterrupt"] == "continue" && status["state"] == "interrupted";
    let excused = || {
        let warnings = status["warnings"].as_array();
        warnings.is_some_and(|all| all.iter().any(|one| one["code"] == "not_continued"))
    };
    if due && !excused() {
        return Err("it was interrupted, but not continued as its policy says".into());
    }
    Ok(())
}

/// Returns the conversation of a CLI from its arguments.
pub(super) fn conversation(arguments: &str) -> Option<&str> {
    let mut words = arguments.split(' ');
    words.find_map(|word| {
        word.strip_prefix("--session-id=")
            .or_else(|| word.strip_prefix("--resume="))
    })
}

/// Reports conversations that two CLIs run; `reported` holds those that were reported before.
pub(super) fn report_concurrent_runs(
    world: &World,
    everybody: &[Process],
    reported: &mut HashSet<String>,
) {
    let mut seen: HashMap<&str, &Process> = HashMap::new();
    for one in everybody.iter().filter(|one| one.state != 'Z') {
        let Some(name) = conversation(&one.arguments) else {
            continue;
        };
        let Some(other) = seen.insert(name, one) else {
            continue;
        };
        // A process that was forked just now has its parent's arguments. The list is not a
        // snapshot, so both processes are checked again.
        let related = one.parent == other.pid || other.parent == one.pid;
        if !related
            && world.find(name).is_some()
            && processes::is_alive(one.pid)
            && processes::is_alive(other.pid)
            && reported.insert(name.to_owned())
        {
            let text = format!("two CLIs run one conversation: {one:?} and {other:?}");
            world.violate("claude-api", &text);
        }
    }
}

/// Audits all conversations at the end.
pub(super) fn audit(world: &World, executions: &[Arc<Execution>]) {
    let mut continued: HashMap<&str, &Execution> = HashMap::new();
    for execution in executions {
        let (accepted, deleted) = {
            let facts = execution.facts();
            (facts.accepted, facts.deleted)
        };
        let Some(old) = execution.continues().filter(|_| accepted) else {
            continue;
        };
        if let Some(other) = continued.insert(old, execution) {
            let text = format!("both {} and {} continue {old}", other.id, execution.id);
            world.violate("claude-api", &text);
        }
        let Some(old) = world.find(old) else { continue };
        let facts = old.facts();
        let named = facts.continued_by.as_deref();
        if named != Some(execution.id.as_str()) && !facts.deleted && !deleted {
            let text = format!(
                "{} continues {}, whose `continuedBy` is {named:?}",
                execution.id, old.id
            );
            world.violate("claude-api", &text);
        }
    }
    let mut conversations: HashMap<&str, Vec<&Execution>> = HashMap::new();
    for execution in executions {
        let name = execution.conversation.as_str();
        conversations.entry(name).or_default().push(execution);
    }
    let starts = counts(world);
    for (name, members) in &conversations {
        one_at_a_time(world, members);
        spawns(world, members, starts.get(*name).copied().unwrap_or(0));
    }
}

/// Returns when an execution ran, from its terminal status; `None` if it did not.
fn ran(execution: &Execution) -> Option<(Timestamp, Timestamp)> {
    let facts = execution.facts();
    let (status, _) = facts.terminal.as_ref()?;
    let at = |name: &str| status[name].as_str()?.parse().ok();
    Some((at("startedAt")?, at("endedAt")?))
}

fn one_at_a_time(world: &World, members: &[&Execution]) {
    let mut runs: Vec<_> = members
        .iter()
        .filter_map(|one| Some((ran(one)?, &one.id)))
        .collect();
    runs.sort_unstable();
    for pair in runs.windows(2) {
        let ((_, ended), first) = &pair[0];
        let ((started, _), second) = &pair[1];
        if started < ended {
            let text = format!(
                "two runs of one conversation overlap: \
                 {first} until {ended}, {second} from {started}"
            );
            world.violate("claude-api", &text);
        }
    }
}

/// Counts the starts of each conversation's CLI.
fn counts(world: &World) -> HashMap<String, usize> {
    let log = fs::read_to_string(&world.spawns_log).unwrap_or_default();
    let mut counts = HashMap::new();
    let sessions = log
        .lines()
        .filter_map(|line| line.split_whitespace().nth(1));
    for session in sessions {
        *counts.entry(session.to_owned()).or_default() += 1;
    }
    counts
}

/// Checks I4: each member was started at most once, by the log of all starts of the conversation
/// and by the log of its own prompt.
fn spawns(world: &World, members: &[&Execution], starts: usize) {
    let state = |one: &Execution, name: &str| {
        let facts = one.facts();
        let status = facts.terminal.as_ref().map(|(status, _)| status);
        status.is_some_and(|status| status["state"] == name)
    };
    let may = members
        .iter()
        .filter(|one| one.is_over() && ran(one).is_some());
    // An execution that was deleted before any client received its end may have run.
    let unseen = members
        .iter()
        .filter(|one| !one.is_over() && one.facts().accepted);
    let most = may.count() + unseen.count();
    let least = members.iter().filter(|one| state(one, "completed")).count();
    let ids: Vec<_> = members.iter().map(|one| one.id.as_str()).collect();
    if starts > most || starts < least {
        let text = format!(
            "I4: {ids:?} were started {starts} times, {most} of them ran, {least} completed"
        );
        world.violate("claude-api", &text);
    }
    // The policy's executions may send the prompt again.
    let children = members.iter().filter(|one| one.is_child()).count();
    for one in members.iter().filter(|one| !one.is_child()) {
        let own = fs::read_to_string(world.starts.join(&one.id)).unwrap_or_default();
        let times = own.lines().count();
        let most = if one.params["onInterrupt"] == "continue" {
            1 + children
        } else {
            1
        };
        if times > most {
            let text = format!("I4: the prompt of {} was run {times} times", one.id);
            world.violate("claude-api", &text);
        }
    }
}

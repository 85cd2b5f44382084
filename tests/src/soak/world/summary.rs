//! The summary of a run.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    sync::{Arc, atomic::Ordering},
};

use super::{World, lock};
use crate::{
    harness::Stack,
    soak::{Outcome, execution::Execution},
};

impl World {
    /// Returns the result of the run, and copies the logs after a violation.
    pub(in crate::soak) fn finish(&self, stack: &Stack) -> Outcome {
        let violations = lock(&self.violations).clone();
        let mut notes = self.notes();
        if !violations.is_empty() {
            let keep = &self.options.keep;
            let saved = fs::create_dir_all(keep)
                .and_then(|()| fs::copy(stack.api.log_path(), keep.join("claude-api.log")))
                .and_then(|_| fs::copy(stack.bridge.log_path(), keep.join("bridge.log")))
                .and_then(|_| fs::copy(&self.spawns_log, keep.join("spawns.log")))
                .and_then(|_| fs::write(keep.join("violations.txt"), violations.join("\n\n")));
            notes.push_str(&match saved {
                Ok(()) => format!("\nlogs and violations: {}", keep.display()),
                Err(error) => format!("\ncould not copy the logs: {error}"),
            });
        }
        Outcome {
            faults: self.fault_count.load(Ordering::Relaxed),
            violations,
            notes,
        }
    }

    fn notes(&self) -> String {
        let mut kinds: Vec<_> = lock(&self.faults)
            .iter()
            .map(|(kind, count)| format!("{count} {kind}"))
            .collect();
        kinds.sort_unstable_by(|a, b| a.split(' ').nth(1).cmp(&b.split(' ').nth(1)));
        let mut ends: HashMap<String, u64> = HashMap::new();
        for execution in self.executions() {
            let state = execution
                .facts()
                .terminal
                .as_ref()
                .map_or("not accepted", |(status, _)| {
                    status["state"].as_str().unwrap_or_default()
                })
                .to_owned();
            *ends.entry(state).or_default() += 1;
        }
        let mut ends: Vec<_> = ends
            .into_iter()
            .map(|(state, count)| format!("{count} {state}"))
            .collect();
        ends.sort_unstable();
        let mib = |at: usize| self.resident[at].load(Ordering::Relaxed) >> 20;
        let all = self.executions();
        let count = |which: fn(&Execution) -> bool| all.iter().filter(|one| which(one)).count();
        let remarks: String = lock(&self.remarks)
            .iter()
            .map(|remark| format!("\n{remark}"))
            .collect();
        let questions = questions(&all);
        let taken: u64 = all.iter().filter_map(|one| one.taken()).sum();
        format!(
            "faults: {}\nexecutions: {}\ncontinued: {} by request, {} by policy, \
             {} more in a conversation; input: {} executions, {} KB; \
             a full disk is tested elsewhere (the service tests)\n{questions}\n\
             {} executions whose client answers the CLI's requests, {} answers compared\n\
             {} messages, {} MB of output compared; -32005 {} times, a full lane {} times; \
             {} principals, {} requests about executions of others refused; \
             peak memory: claude-api {} MiB, bridge {} MiB, both {} MiB\n\
             {} starts of claude-api after which all earlier executions got their end{remarks}",
            kinds.join(", "),
            ends.join(", "),
            count(|one| !one.is_child() && one.continues().is_some()),
            count(Execution::is_child),
            count(|one| !one.params["conversation"].is_null()),
            count(|one| one.taken().is_some()),
            taken / 1000,
            count(|one| one.params["permissionPrompts"] == "client"),
            self.control_answers.load(Ordering::Relaxed),
            self.messages.load(Ordering::Relaxed),
            self.checked.load(Ordering::Relaxed) / 1_000_000,
            self.unavailable.load(Ordering::Relaxed),
            self.full_lanes.load(Ordering::Relaxed),
            self.principals.len(),
            self.attacks.load(Ordering::Relaxed),
            mib(0),
            mib(1),
            mib(2),
            self.recoveries.load(Ordering::Relaxed)
        )
    }
}

/// Returns a line about the questions of all executions.
fn questions(executions: &[Arc<Execution>]) -> String {
    let mut ends: BTreeMap<String, u64> = BTreeMap::new();
    let (mut asked, mut refused_late, mut repeats) = (0, 0, 0);
    for execution in executions {
        let facts = execution.facts();
        for question in facts.questions.all() {
            asked += 1;
            let end = question.closed_by().unwrap_or("unknown");
            *ends.entry(end.to_owned()).or_default() += 1;
        }
        refused_late += facts.questions.refused_late;
        repeats += facts.questions.repeats;
    }
    let ends: Vec<_> = ends
        .iter()
        .map(|(end, count)| format!("{count} {end}"))
        .collect();
    format!(
        "{asked} questions, closed by: {}; {refused_late} answers were too late, {repeats} were \
         repeated",
        ends.join(", ")
    )
}

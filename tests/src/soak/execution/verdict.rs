//! Whether what was seen of an execution may be: its output against its plans, its statuses against what was done to it.
//!
//! A stop of claude-api between a successful result and the exit hides the exit code that was due:
//! such an execution is `completed` with `lingered` (the truth table's row for "one
//! that lingers after its result and is ended by us"; claude-api's `verdict.rs` has the decision).
//! A kill of claude-api leaves no such end, and an error result makes none.

use std::time::Instant;

use serde_json::Value;

use super::{Execution, Facts};
use crate::{
    soak::{
        KEPT_BYTES,
        deeds::Suffered,
        plan::{Ending, Plan},
    },
    ws::status::is_terminal,
};

/// The cap frees in steps of a thirty-second part, and up to a character: so much is kept for sure where more was written.
const KEPT_AT_LEAST: u64 = KEPT_BYTES - KEPT_BYTES / 16 - 4096;

impl Execution {
    /// Output at an offset was received by somebody.
    pub(in crate::soak) fn content(&self, offset: u64, content: &[u8]) -> Result<(), String> {
        let mut facts = self.facts();
        let end = offset + content.len() as u64;
        facts.length = facts.length.max(end);
        if let Some((status, _)) = &facts.terminal
            && status["reason"] != "lost"
            && status["outputBytes"]
                .as_u64()
                .is_some_and(|length| end > length)
        {
            return Err(format!(
                "output up to {end}, but it ended with {}",
                status["outputBytes"]
            ));
        }
        if self.events() {
            return facts
                .known
                .take(offset, content)
                .map_err(|at| format!("two viewers saw byte {at} differently"));
        }
        let mut ruled_out = facts.ruled_out.clone();
        let mut broken = String::new();
        for (plan, out) in self.plans.iter().zip(&mut ruled_out) {
            if *out {
                continue;
            }
            if let Err(rule) = follows(plan, offset, content) {
                *out = true;
                broken = rule;
            }
        }
        // What agrees with nothing rules nothing out.
        if ruled_out.iter().all(|out| *out) {
            return Err(broken);
        }
        facts.ruled_out = ruled_out;
        Ok(())
    }

    /// A status was seen: checks what can be said of it alone and against what was seen before. `asked_over`: it was asked
    /// for after somebody had seen the end. `suffered`: what was done to it while it ran.
    pub(in crate::soak) fn judge(
        &self,
        status: &Value,
        asked_over: bool,
        suffered: Suffered,
    ) -> Result<(), String> {
        let state = status["state"].as_str().unwrap_or_default();
        let mut facts = self.facts();
        facts.accepted = true;
        if facts.deleted && status["reason"] == "lost" {
            return Ok(());
        }
        if !facts.deleted {
            kept(status)?;
        }
        if !is_terminal(state) {
            if asked_over && !facts.deleted {
                return Err(format!("{state} after its end was seen"));
            }
            return Ok(());
        }
        if let Some((first, _)) = &facts.terminal {
            for name in [
                "state",
                "reason",
                "exitCode",
                "outputBytes",
                "crc32",
                "endedAt",
            ] {
                if first[name] != status[name] {
                    return Err(format!(
                        "the terminal status was set twice: {name} {} then {}",
                        first[name], status[name]
                    ));
                }
            }
            return Ok(());
        }
        facts.terminal = Some((status.clone(), Instant::now()));
        self.allowed(state, status, &facts, suffered)
    }

    /// A cancel was answered with a state that was not the end: it was accepted.
    pub(in crate::soak) fn cancelled(&self, answer: &Value) -> Result<(), String> {
        if answer["state"].as_str().is_none_or(is_terminal) {
            return Ok(());
        }
        let mut facts = self.facts();
        facts.must_cancel = true;
        match &facts.terminal {
            Some((status, _)) if status["state"] != "cancelled" && status["reason"] != "lost" => {
                Err(format!(
                    "its cancel was accepted, but it ended {}",
                    status["state"]
                ))
            }
            _ => Ok(()),
        }
    }

    fn allowed(
        &self,
        state: &str,
        status: &Value,
        facts: &Facts,
        suffered: Suffered,
    ) -> Result<(), String> {
        let reason = status["reason"].as_str();
        let length = status["outputBytes"].as_u64().unwrap_or_default();
        if length < facts.length {
            return Err(format!(
                "I2: it ended with {length} bytes, but byte {} was seen",
                facts.length
            ));
        }
        let plans = || self.possible(facts);
        let failed = |due| state == "failed" && reason == Some(due);
        // The CLI's last result was a success, and a stop ended the CLI before it could fail.
        let stopped = suffered.stop && state == "completed" && reason == Some("lingered");
        let due = |plan: &Plan| match plan.ending {
            Ending::Failed("nonzero_exit" | "killed_by_signal") if stopped => {
                status["exitCode"].is_null()
            }
            Ending::Completed => state == "completed",
            Ending::Failed(due) => failed(due),
            Ending::Deadline => state == "timed_out" && reason == Some("deadline"),
        };
        let good = match state {
            "cancelled" => facts.may_cancel,
            _ if facts.must_cancel => false,
            "failed" if suffered.die && reason == Some("killed_by_signal") => true,
            "interrupted" => suffered.interrupt,
            _ => plans().any(due),
        };
        if !good {
            let endings: Vec<_> = plans().map(|plan| plan.ending).collect();
            return Err(format!(
                "it ended {state} ({reason:?}, startedAt {}, endedAt {}), where {endings:?} was due (cancel asked {}, accepted {}; {suffered:?})",
                status["startedAt"], status["endedAt"], facts.may_cancel, facts.must_cancel
            ));
        }
        let by_itself =
            state == "completed" || state == "failed" && reason != Some("killed_by_signal");
        let lengths: Vec<_> = plans()
            .filter(|plan| due(plan))
            .map(|plan| plan.text.len() as u64)
            .collect();
        if by_itself && !self.events() && !lengths.contains(&length) {
            return Err(format!(
                "I2: it ended {state} with {length} bytes, the CLI wrote {lengths:?}"
            ));
        }
        Ok(())
    }

    /// The plans that agree with all that was seen.
    fn possible<'a>(&'a self, facts: &'a Facts) -> impl Iterator<Item = &'a Plan> {
        let all = self.plans.iter().zip(&facts.ruled_out);
        all.filter(|(_, out)| !**out).map(|(plan, _)| plan)
    }
}

/// Nothing of the output goes without need.
fn kept(status: &Value) -> Result<(), String> {
    let (Some(length), Some(from)) = (status["outputBytes"].as_u64(), status["keptFrom"].as_u64())
    else {
        return Ok(());
    };
    let good = if length <= KEPT_BYTES {
        from == 0
    } else {
        length.saturating_sub(from) >= KEPT_AT_LEAST
    };
    if good {
        return Ok(());
    }
    Err(format!(
        "output was lost: of {length} bytes those from {from} on are kept, the cap is {KEPT_BYTES}"
    ))
}

/// Whether a plan has this at that offset.
fn follows(plan: &Plan, offset: u64, content: &[u8]) -> Result<(), String> {
    let from = usize::try_from(offset).unwrap_or(usize::MAX);
    let rest = plan.text.get(from..);
    let Some(due) = rest.and_then(|rest| rest.get(..content.len())) else {
        return Err(format!(
            "output {offset}..{}, but the CLI writes {} bytes",
            offset + content.len() as u64,
            plan.text.len()
        ));
    };
    if due == content {
        return Ok(());
    }
    let mut pairs = due.iter().zip(content);
    let at = pairs.position(|(a, b)| a != b).unwrap_or(0);
    let show = |bytes: &[u8]| {
        String::from_utf8_lossy(&bytes[at.saturating_sub(20)..bytes.len().min(at + 20)])
            .into_owned()
    };
    Err(format!(
        "byte {} of the output is wrong: {:?} where the CLI wrote {:?}",
        from + at,
        show(content),
        show(due)
    ))
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};
    use serde_json::json;

    use super::*;

    /// The execution of a plan that ends so.
    fn due(ending: Ending) -> Execution {
        let mut rng = StdRng::seed_from_u64(1);
        let plan = loop {
            let plan = Plan::random(&mut rng);
            if plan.ending == ending && !plan.events && plan.input.is_none() {
                break plan;
            }
        };
        Execution::new("a".to_owned(), plan, json!({}), None)
    }

    /// The soak's seed 904417.
    #[test]
    fn a_stop_between_the_result_and_the_exit_may_hide_the_failure_and_nothing_else_may() {
        let stop = Suffered {
            interrupt: true,
            stop: true,
            die: false,
        };
        let kill = Suffered {
            stop: false,
            ..stop
        };
        for (ending, reason, suffered, good) in [
            ("nonzero_exit", json!("lingered"), stop, true),
            ("killed_by_signal", json!("lingered"), stop, true),
            ("nonzero_exit", json!("lingered"), kill, false),
            (
                "nonzero_exit",
                json!("lingered"),
                Suffered::default(),
                false,
            ),
            ("nonzero_exit", json!(null), stop, false),
            ("cli_error", json!("lingered"), stop, false),
            ("no_result", json!("lingered"), stop, false),
        ] {
            let execution = due(Ending::Failed(ending));
            let length = execution.plans[0].text.len();
            let status = json!({"state": "completed", "reason": reason, "exitCode": null,
                "outputBytes": length, "keptFrom": length.saturating_sub(1 << 20)});
            let judged = execution.judge(&status, false, suffered);
            assert_eq!(judged.is_ok(), good, "{ending} {suffered:?}: {judged:?}");
        }
    }
}

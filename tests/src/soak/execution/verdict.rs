//! Whether what was seen of an execution may be: its output against its plans, its statuses against what was done to it.

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
        let due = |plan: &Plan| match plan.ending {
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

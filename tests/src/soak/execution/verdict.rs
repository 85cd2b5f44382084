//! Checks an execution: its output against its plans, its statuses against the deeds of the run.
//!
//! A stop of claude-api between a successful result and the exit hides the expected exit code:
//! such an execution is `completed` with `lingered` (docs/protocol.md, "Ends";
//! claude-api's `verdict.rs` has the decision).
//! Neither a kill of claude-api nor an error result leads to this end.

use std::time::Instant;

use serde_json::Value;

use super::{Execution, Facts};
use crate::{
    soak::{
        KEPT_BYTES,
        deeds::AllowedEnds,
        plan::{Ending, Plan},
    },
    ws::status::is_terminal,
};

/// The minimum that claude-api keeps of a longer output: it frees in steps of a thirty-second of
/// the cap, and up to the end of a character.
const KEPT_AT_LEAST: u64 = KEPT_BYTES - KEPT_BYTES / 16 - 4096;

impl Execution {
    /// Checks output that a client received at an offset.
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
        if self.events() || self.dialogue().is_some() {
            facts
                .known
                .take(offset, content)
                .map_err(|at| format!("two viewers saw byte {at} differently"))?;
            return self.said(&facts);
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
        // Output that contradicts every plan is a violation, and rules out none.
        if ruled_out.iter().all(|out| *out) {
            return Err(broken);
        }
        facts.ruled_out = ruled_out;
        Ok(())
    }

    /// Checks a status, alone and against earlier ones. `asked_over`: the request was sent after a
    /// client had received the end. `allowed_ends`: the ends that the deeds allow.
    pub(in crate::soak) fn judge(
        &self,
        status: &Value,
        asked_over: bool,
        allowed_ends: AllowedEnds,
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
        self.asks(status, &mut facts)?;
        if state == "paused" && !facts.may_pause {
            return Err("it is paused, but no client of its principal requested that".into());
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
        self.allowed(state, status, &facts, allowed_ends)
    }

    /// Records an accepted cancel: its answer has a state that is not terminal.
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
        allowed_ends: AllowedEnds,
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
        let may_end_turn = self.may_end_turn(facts);
        let failed = |due| state == "failed" && reason == Some(due);
        // The CLI's last result was a success, and a stop ended the CLI before it could fail.
        let stopped = allowed_ends.stop && state == "completed" && reason == Some("lingered");
        let due = |plan: &Plan| match plan.ending {
            Ending::Failed("nonzero_exit" | "killed_by_signal") if stopped => {
                status["exitCode"].is_null()
            }
            Ending::Completed => state == "completed",
            Ending::Failed(due) => failed(due),
            Ending::Deadline => state == "timed_out" && reason == Some("deadline"),
        };
        // An answer or an interrupt may have ended the last turn.
        let cut = |plan: &Plan| plan.dialogue.is_some() && failed("cli_error") && may_end_turn;
        let good = match state {
            "cancelled" => facts.may_cancel,
            _ if facts.must_cancel => false,
            "failed" if allowed_ends.die && reason == Some("killed_by_signal") => true,
            "interrupted" => allowed_ends.interrupt,
            _ => plans().any(|plan| due(plan) || cut(plan)),
        };
        if !good {
            let endings: Vec<_> = plans().map(|plan| plan.ending).collect();
            return Err(format!(
                "it ended {state} ({reason:?}, startedAt {}, endedAt {}), but {endings:?} was due \
                 (cancel requested {}, accepted {}; {allowed_ends:?})",
                status["startedAt"], status["endedAt"], facts.may_cancel, facts.must_cancel
            ));
        }
        if self.dialogue().is_some() {
            return self.said(facts);
        }
        let by_itself = ended_by_itself(status);
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

    /// Checks the questions in a status: its CLI asks one at a time, and none is open at the end.
    fn asks(&self, status: &Value, facts: &mut Facts) -> Result<(), String> {
        let listed = status["questions"].as_array().map(Vec::as_slice);
        let listed = listed.unwrap_or_default();
        let open = status["questionsOpen"].as_u64().unwrap_or_default();
        if open != listed.len() as u64 || open > 1 {
            return Err(format!(
                "{open} questions are open, and the status has {listed:?}"
            ));
        }
        let Some(question) = listed.first() else {
            return Ok(());
        };
        if is_terminal(status["state"].as_str().unwrap_or_default()) {
            return Err(format!("a question is open after the end: {question}"));
        }
        let activity = format!("waiting: {}", question["tool"].as_str().unwrap_or_default());
        if status["activity"] != activity.as_str() {
            return Err(format!(
                "the activity is {} while a question is open: {question}",
                status["activity"]
            ));
        }
        match self.dialogue() {
            Some(dialogue) => facts.questions.shown(dialogue, question),
            None => Err(format!("it asks, but its CLI does not: {question}")),
        }
    }

    /// Returns whether an answer or an interrupt may have ended a turn of the CLI.
    fn may_end_turn(&self, facts: &Facts) -> bool {
        let has_interrupt = self.dialogue().is_some_and(|all| all.has_interrupt);
        has_interrupt || facts.questions.may_end_turn()
    }

    /// Checks the known beginning of the text of an execution that asks: the CLI has said the
    /// outcome of each question, as it was answered. Checks the whole text if it is known.
    fn said(&self, facts: &Facts) -> Result<(), String> {
        if self.events() {
            return Ok(());
        }
        let text = facts.known.beginning();
        let end = facts.terminal.as_ref().map(|(status, _)| status);
        let end = end.filter(|end| end["outputBytes"].as_u64() == Some(text.len() as u64));
        self.follows_answers(text, true, end, facts)
    }

    /// Checks a text against the plans and the answers. With `end`, the terminal status, the text
    /// is all that the CLI has written before that end.
    pub(in crate::soak) fn follows_answers(
        &self,
        text: &[u8],
        separated: bool,
        end: Option<&Value>,
        facts: &Facts,
    ) -> Result<(), String> {
        let outcomes = self.dialogue().map(|all| facts.questions.outcomes(all));
        let outcomes = outcomes.unwrap_or_default();
        let end = end.filter(|end| ended_by_itself(end));
        let is_aborted = end.is_some_and(|end| end["reason"] == "cli_error");
        let good = self.plans.iter().any(|plan| {
            let fit = plan.fit(text, separated, &outcomes);
            let by_error = plan.ending == Ending::Failed("cli_error");
            match end {
                None => fit.is_prefix,
                Some(_) if is_aborted => fit.is_cut_short || by_error && fit.is_complete,
                Some(_) => fit.is_complete,
            }
        });
        if good {
            return Ok(());
        }
        let shown = &text[text.len().saturating_sub(300)..];
        Err(format!(
            "the output differs from the answers: {:?} after {outcomes:?} (end {:?})",
            String::from_utf8_lossy(shown),
            end.map(|end| &end["reason"])
        ))
    }

    /// Returns the plans that the received output does not contradict.
    fn possible<'a>(&'a self, facts: &'a Facts) -> impl Iterator<Item = &'a Plan> {
        let all = self.plans.iter().zip(&facts.ruled_out);
        all.filter(|(_, out)| !**out).map(|(plan, _)| plan)
    }
}

/// Returns whether the CLI of a terminal status ended by itself, so that its output is whole.
fn ended_by_itself(status: &Value) -> bool {
    let is_killed = status["reason"] == "killed_by_signal";
    status["state"] == "completed" || status["state"] == "failed" && !is_killed
}

/// Checks that claude-api frees no output below the cap.
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

/// Checks that a plan has this content at that offset.
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

    /// Creates an execution whose plan has this ending.
    fn due(ending: Ending) -> Execution {
        let mut rng = StdRng::seed_from_u64(1);
        let plan = loop {
            let plan = Plan::random(&mut rng, "");
            if plan.ending == ending && !plan.events && plan.input.is_none() {
                break plan;
            }
        };
        Execution::new("a".to_owned(), 0, plan, json!({}), None)
    }

    /// The soak's seed 904417.
    #[test]
    fn a_stop_between_the_result_and_the_exit_may_hide_the_failure_and_nothing_else_may() {
        let stop = AllowedEnds {
            interrupt: true,
            stop: true,
            die: false,
        };
        let kill = AllowedEnds {
            stop: false,
            ..stop
        };
        for (ending, reason, allowed_ends, good) in [
            ("nonzero_exit", json!("lingered"), stop, true),
            ("killed_by_signal", json!("lingered"), stop, true),
            ("nonzero_exit", json!("lingered"), kill, false),
            (
                "nonzero_exit",
                json!("lingered"),
                AllowedEnds::default(),
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
            let judged = execution.judge(&status, false, allowed_ends);
            assert_eq!(
                judged.is_ok(),
                good,
                "{ending} {allowed_ends:?}: {judged:?}"
            );
        }
    }
}

//! One execution as the run knows it: what was asked, what may come of it, what was seen of it by anybody.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use serde_json::{Value, json};

use super::{
    known::Known,
    plan::{Ending, Plan},
};
use crate::ws::status::is_terminal;

/// What was done to it, and seen of it.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// Somebody had an answer that it exists.
    pub(super) accepted: bool,
    /// Refused for good (queue full): it must never run.
    pub(super) may_cancel: bool,
    /// claude-api or its runner was ended while it may have run.
    pub(super) may_interrupt: bool,
    /// Its CLI was killed by a fault.
    pub(super) may_die: bool,
    /// A DELETE was sent; it may be gone from then on.
    pub(super) deleted: bool,
    /// Paused by a client, to be resumed at that time.
    pub(super) resume_at: Option<Instant>,
    /// The terminal status that was seen first, and when.
    pub(super) terminal: Option<(Value, Instant)>,
    /// The end of the last byte that anybody has received.
    pub(super) length: u64,
    known: Known,
}

/// One execution.
#[derive(Debug)]
pub(super) struct Execution {
    pub(super) id: String,
    /// The parameters of `execute`.
    pub(super) params: Value,
    pub(super) plan: Plan,
    pub(super) born: Instant,
    /// No await happens inside the lock.
    facts: Mutex<Facts>,
}

impl Execution {
    pub(super) fn new(id: String, plan: Plan, extra: Value) -> Self {
        let mut params = json!({"executionId": id, "prompt": plan.prompt});
        if plan.events {
            params["format"] = "events".into();
        }
        if let Some(deadline) = plan.deadline {
            params["deadlineSeconds"] = deadline.into();
        }
        let facts = Facts {
            may_cancel: extra["onDisconnect"] == "cancel",
            ..Facts::default()
        };
        if let (Value::Object(params), Value::Object(extra)) = (&mut params, extra) {
            params.extend(extra);
        }
        Self {
            id,
            params,
            plan,
            born: Instant::now(),
            facts: Mutex::new(facts),
        }
    }

    pub(super) fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_over(&self) -> bool {
        self.facts().terminal.is_some()
    }

    /// Output at an offset was received by somebody.
    pub(super) fn content(&self, offset: u64, content: &[u8]) -> Result<(), String> {
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
        if self.plan.events {
            return facts
                .known
                .take(offset, content)
                .map_err(|at| format!("two viewers saw byte {at} differently"));
        }
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        match self
            .plan
            .text
            .get(from..)
            .and_then(|rest| rest.get(..content.len()))
        {
            Some(due) if due == content => Ok(()),
            Some(due) => {
                let at = due
                    .iter()
                    .zip(content)
                    .position(|(a, b)| a != b)
                    .unwrap_or(0);
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
            None => Err(format!(
                "output {offset}..{end}, but the CLI writes {} bytes",
                self.plan.text.len()
            )),
        }
    }

    /// A status was seen: checks what can be said of it alone and against what was seen before. `asked_over`: it was asked
    /// for after somebody had seen the end.
    pub(super) fn judge(&self, status: &Value, asked_over: bool) -> Result<(), String> {
        let state = status["state"].as_str().unwrap_or_default();
        let mut facts = self.facts();
        facts.accepted = true;
        if facts.deleted && status["reason"] == "lost" {
            return Ok(());
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
        self.allowed(state, status, &facts)
    }

    fn allowed(&self, state: &str, status: &Value, facts: &Facts) -> Result<(), String> {
        let reason = status["reason"].as_str();
        let length = status["outputBytes"].as_u64().unwrap_or_default();
        if length < facts.length {
            return Err(format!(
                "I2: it ended with {length} bytes, but byte {} was seen",
                facts.length
            ));
        }
        let good = match (state, self.plan.ending) {
            ("completed", Ending::Completed) => true,
            ("failed", _) if facts.may_die && reason == Some("killed_by_signal") => true,
            ("failed", Ending::Failed(due)) => reason == Some(due),
            ("timed_out", Ending::Deadline) => reason == Some("deadline"),
            ("cancelled", _) => facts.may_cancel,
            // What waited must wait on.
            ("interrupted", _) => facts.may_interrupt && !status["startedAt"].is_null(),
            _ => false,
        };
        if !good {
            return Err(format!(
                "it ended {state} ({reason:?}, startedAt {}), where {:?} was due (cancel {}, interrupt {}, killed {})",
                status["startedAt"],
                self.plan.ending,
                facts.may_cancel,
                facts.may_interrupt,
                facts.may_die
            ));
        }
        let by_itself =
            state == "completed" || state == "failed" && reason != Some("killed_by_signal");
        if by_itself && !self.plan.events && length != self.plan.text.len() as u64 {
            return Err(format!(
                "I2: it ended {state} with {length} bytes, the CLI wrote {}",
                self.plan.text.len()
            ));
        }
        Ok(())
    }
}

//! One execution as the run knows it: its request, its possible ends, and all that clients
//! received.

mod verdict;

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{dialogue::Dialogue, input::Input, known::Known, plan::Plan, questions::Questions};

/// The changing facts about an execution: what clients did to it, and what they received.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// Whether a client has an answer that the execution exists.
    pub(super) accepted: bool,
    /// Refused for good (another execution continues the same one): it must never run.
    pub(super) refused: bool,
    pub(super) may_cancel: bool,
    /// A client of its principal requested a pause: it may be paused.
    pub(super) may_pause: bool,
    /// A cancel was accepted before its end, so it must end as cancelled.
    pub(super) must_cancel: bool,
    /// It ran for too long, which is reported once.
    pub(super) overdue: bool,
    /// A DELETE was sent: claude-api may have deleted it.
    pub(super) deleted: bool,
    /// The time to resume it, if a client paused it.
    pub(super) resume_at: Option<Instant>,
    /// The first terminal status that was received, and when.
    pub(super) terminal: Option<(Value, Instant)>,
    /// The end of the output that any client has received.
    pub(super) length: u64,
    /// The execution that continues it, if known.
    pub(super) continued_by: Option<String>,
    /// The input of its clients, if it has any.
    pub(super) input: Option<Input>,
    /// Its questions, if it asks.
    pub(super) questions: Questions,
    /// For each plan, whether the received output contradicts it.
    ruled_out: Vec<bool>,
    known: Known,
}

/// One execution.
#[derive(Debug)]
pub(super) struct Execution {
    pub(super) id: String,
    /// The number of the principal that owns it.
    pub(super) principal: usize,
    /// The parameters of `execute`; for one that a policy created, the known ones.
    pub(super) params: Value,
    /// The possible plans: one, or several for an execution that a policy created.
    pub(super) plans: Vec<Plan>,
    pub(super) conversation: String,
    pub(super) born: Instant,
    /// No await happens inside the lock.
    facts: Mutex<Facts>,
}

impl Execution {
    /// Creates an execution of a client of a principal, with further parameters. Without a
    /// conversation it begins a new one.
    pub(super) fn new(
        id: String,
        principal: usize,
        plan: Plan,
        extra: Value,
        conversation: Option<String>,
    ) -> Self {
        let mut params = json!({"executionId": id, "prompt": plan.prompt});
        if plan.events {
            params["format"] = "events".into();
        }
        if let Some(deadline) = plan.deadline {
            params["deadlineSeconds"] = deadline.into();
        }
        if plan.input.is_some() {
            params["input"] = "stream".into();
        }
        if let Some(dialogue) = &plan.dialogue {
            params["permissionPrompts"] = "ask".into();
            if let Some(timeout) = dialogue.timeout {
                params["questionTimeoutSeconds"] = timeout.into();
            }
        }
        let facts = Facts {
            may_cancel: extra["onDisconnect"] == "cancel",
            input: plan.input.clone().map(Input::new),
            ruled_out: vec![false],
            ..Facts::default()
        };
        if let (Value::Object(params), Value::Object(extra)) = (&mut params, extra) {
            params.extend(extra);
        }
        Self {
            conversation: conversation.unwrap_or_else(|| id.clone()),
            id,
            principal,
            params,
            plans: vec![plan],
            born: Instant::now(),
            facts: Mutex::new(facts),
        }
    }

    /// Creates the execution that the policy of `parent` created.
    pub(super) fn child(id: String, parent: &Self) -> Self {
        let parent_facts = parent.facts();
        let mut plans: Vec<Plan> = vec![parent.plans[0].continued()];
        // After any output in format text, claude-api does not send the prompt again. The first
        // event line precedes the CLI's read of its prompt: the CLI may be killed in between.
        if parent_facts.length == 0 || parent.events() {
            plans.extend(parent.plans.clone());
        }
        // The child inherits `onDisconnect`.
        let on_disconnect = &parent.params["onDisconnect"];
        let facts = Facts {
            accepted: true,
            may_cancel: on_disconnect == "cancel",
            ruled_out: vec![false; plans.len()],
            ..Facts::default()
        };
        let policy = &parent.params["onInterrupt"];
        Self {
            id,
            principal: parent.principal,
            params: json!({
                "continues": parent.id, "onInterrupt": policy, "onDisconnect": on_disconnect,
            }),
            plans,
            conversation: parent.conversation.clone(),
            born: Instant::now(),
            facts: Mutex::new(facts),
        }
    }

    /// Returns whether a policy created it: no client knows its body.
    pub(super) fn is_child(&self) -> bool {
        self.params["executionId"].is_null()
    }

    /// Returns how many bytes of its input were accepted; `None` if it has no input.
    pub(super) fn taken(&self) -> Option<u64> {
        self.facts().input.as_ref().map(Input::taken)
    }

    /// Returns how long it may run, without the time for its input.
    pub(super) fn longest(&self) -> Duration {
        let plans = self.plans.iter().map(|plan| plan.longest);
        plans.max().unwrap_or_default()
    }

    pub(super) fn continues(&self) -> Option<&str> {
        self.params["continues"].as_str()
    }

    pub(super) fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_over(&self) -> bool {
        self.facts().terminal.is_some()
    }

    /// Returns whether it has ended, or was refused for good.
    pub(super) fn is_done(&self) -> bool {
        let facts = self.facts();
        facts.terminal.is_some() || facts.refused
    }

    /// Returns the id of a question that a client has seen; `None` without any.
    pub(super) fn any_question(&self) -> Option<String> {
        let facts = self.facts();
        facts.questions.all().first().map(|one| one.id.clone())
    }

    /// Returns what the CLI may ask; `None` if it asks nothing.
    pub(super) fn dialogue(&self) -> Option<&Dialogue> {
        self.plans.iter().find_map(|plan| plan.dialogue.as_deref())
    }

    pub(super) fn events(&self) -> bool {
        self.plans.iter().any(|plan| plan.events)
    }
}

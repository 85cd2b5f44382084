//! One execution as the run knows it: what was asked, what may come of it, what was seen of it by anybody.

mod verdict;

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{input::Input, known::Known, plan::Plan};
/// What was done to it, and seen of it.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// Somebody had an answer that it exists.
    pub(super) accepted: bool,
    /// Refused for good (what it continues is continued by another): it must never run.
    pub(super) refused: bool,
    pub(super) may_cancel: bool,
    /// A cancel was answered before its end: nothing else may come of it.
    pub(super) must_cancel: bool,
    /// It was found to run for too long; that is told once.
    pub(super) overdue: bool,
    /// A DELETE was sent; it may be gone from then on.
    pub(super) deleted: bool,
    /// Paused by a client, to be resumed at that time.
    pub(super) resume_at: Option<Instant>,
    /// The terminal status that was seen first, and when.
    pub(super) terminal: Option<(Value, Instant)>,
    /// The end of the last byte that anybody has received.
    pub(super) length: u64,
    /// What it is continued by, once anybody has seen that.
    pub(super) continued_by: Option<String>,
    /// What its clients send, where it takes input.
    pub(super) input: Option<Input>,
    /// Which of the plans what was seen does not agree with.
    ruled_out: Vec<bool>,
    known: Known,
}

/// One execution.
#[derive(Debug)]
pub(super) struct Execution {
    pub(super) id: String,
    /// The parameters of `execute`; of one that a policy made only what is known of its body.
    pub(super) params: Value,
    /// What it may be doing: one plan, but for what a policy made.
    pub(super) plans: Vec<Plan>,
    pub(super) conversation: String,
    pub(super) born: Instant,
    /// No await happens inside the lock.
    facts: Mutex<Facts>,
}

impl Execution {
    /// One that a client asks for, with more parameters; in a conversation of its own where none is named.
    pub(super) fn new(id: String, plan: Plan, extra: Value, conversation: Option<String>) -> Self {
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
            params,
            plans: vec![plan],
            born: Instant::now(),
            facts: Mutex::new(facts),
        }
    }

    /// The one that the policy of `parent` has made.
    pub(super) fn child(id: String, parent: &Self) -> Self {
        let before = parent.facts();
        let mut plans: Vec<Plan> = vec![parent.plans[0].continued()];
        // What has shown text was asked. Nobody asks that again. The first event line comes before the CLI has read its
        // prompt: it may be killed in between.
        if before.length == 0 || parent.events() {
            plans.extend(parent.plans.clone());
        }
        // A cancel for when nobody views is inherited.
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
            params: json!({
                "continues": parent.id, "onInterrupt": policy, "onDisconnect": on_disconnect,
            }),
            plans,
            conversation: parent.conversation.clone(),
            born: Instant::now(),
            facts: Mutex::new(facts),
        }
    }

    /// Whether a policy made it: no client knows its body.
    pub(super) fn is_child(&self) -> bool {
        self.params["executionId"].is_null()
    }

    /// How much of its input was taken; `None` where it takes none.
    pub(super) fn taken(&self) -> Option<u64> {
        self.facts().input.as_ref().map(Input::taken)
    }

    /// How long it may run, its input aside.
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

    /// Whether nothing more can come of it: it is over, or was refused for good.
    pub(super) fn is_done(&self) -> bool {
        let facts = self.facts();
        facts.terminal.is_some() || facts.refused
    }

    pub(super) fn events(&self) -> bool {
        self.plans.iter().any(|plan| plan.events)
    }
}

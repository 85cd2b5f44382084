//! Creates executions, some of them in an existing conversation, and repeats known executes.

use std::sync::Arc;

use rand::Rng;
use serde_json::{Value, json};

use super::{
    Actor,
    link::{Request, RequestKind},
};
use crate::soak::{execution::Execution, plan::Plan, plant::Plant};

/// The limit of live executions: a client creates no more.
const LIVE: usize = 24;
/// The same for each of several principals. Together they are more, so that many wait.
const LIVE_EACH: usize = 12;
/// The number of lanes with a name.
const LANES: usize = 6;
/// The share of the executions that ask.
const ASKING: f64 = 0.2;
/// The limit of one client's concurrent views.
const VIEWS: usize = 16;

impl Actor {
    fn new_execution(&mut self, mut extra: Value, conversation: Option<String>) -> Arc<Execution> {
        let mark = self.principal.mark();
        match self.rng.random_range(0..10) {
            0 => extra["onDisconnect"] = "cancel".into(),
            1 => extra["onSlow"] = "skip".into(),
            // All principals use these names: each name is a lane of its own for each of them.
            2..5 => extra["lane"] = format!("lane {}", self.rng.random_range(0..LANES)).into(),
            5 if !mark.is_empty() => extra["lane"] = format!("lane {mark}").into(),
            _ => {}
        }
        if !mark.is_empty() && self.rng.random() {
            extra["metadata"] = json!({"owner": mark});
        }
        let plan = if self.rng.random_bool(ASKING) {
            Plan::asking(&mut self.rng, mark)
        } else {
            Plan::random(&mut self.rng, mark)
        };
        // No policy for an execution with input: its clients would have to send the input again.
        if plan.input.is_none() && self.rng.random_bool(0.2) {
            extra["onInterrupt"] = "continue".into();
        }
        self.add_execution(plan, extra, conversation)
    }

    /// Adds an execution with a plan to the run, which is not sent yet.
    pub(super) fn add_execution(
        &mut self,
        mut plan: Plan,
        extra: Value,
        conversation: Option<String>,
    ) -> Arc<Execution> {
        let id = self.principal.new_id(&mut self.rng);
        let starts = self.world.starts.join(&id);
        plan.prompt
            .push_str(&format!("@spawn-log {}\n", starts.display()));
        let execution = Arc::new(Execution::new(
            id,
            self.principal.number,
            plan,
            extra,
            conversation,
        ));
        self.world.add(Arc::clone(&execution));
        execution
    }

    fn has_room(&self) -> bool {
        let live = if self.principal.name.is_some() {
            LIVE_EACH
        } else {
            LIVE
        };
        self.world.live_of(self.principal.number) < live
            && self.views.values().filter(|view| !view.ended).count() < VIEWS
    }

    pub(super) async fn execute_new(&mut self) -> bool {
        if !self.has_room() {
            return true;
        }
        let execution = self.new_execution(json!({}), None);
        self.execute_again(&execution).await
    }

    /// Continues a conversation: with `continues` after a continuable execution, or by its name.
    pub(super) async fn execute_further(&mut self) -> bool {
        if !self.has_room() {
            return true;
        }
        let by_request = self.rng.random_bool(0.7);
        // Sometimes an execution that is continued already: claude-api must refuse that.
        let late = self.rng.random_bool(0.2);
        let old = self.any_own_that(|one| {
            let facts = one.facts();
            let continuable = facts.terminal.as_ref().is_some_and(|(status, _)| {
                status["state"] == "interrupted" || status["reason"] == "usage_limit"
            });
            let free = facts.continued_by.is_none() || late;
            facts.accepted && !facts.deleted && (!by_request || continuable && free)
        });
        let Some(old) = old else { return true };
        let extra = if by_request {
            json!({"continues": old.id})
        } else {
            json!({"conversation": old.conversation})
        };
        let execution = self.new_execution(extra, Some(old.conversation.clone()));
        self.execute_again(&execution).await
    }

    /// Sends an execute with the same id and the same body: it must return the same execution.
    pub(super) async fn execute_again(&mut self, execution: &Arc<Execution>) -> bool {
        let skip = execution.params["onSlow"] == "skip";
        let over = execution.is_over();
        let view = self.view(execution, skip);
        view.active = true;
        view.skip |= skip;
        if self.world.plant() == Some(Plant::SecondSpawn) && over {
            self.spawn_twice(execution);
        }
        let request = Request::about(RequestKind::Execute, execution);
        self.send("execute", execution.params.clone(), request)
            .await
    }

    /// Injects a bug: pretends that the CLI was started again.
    fn spawn_twice(&self, execution: &Execution) {
        use std::io::Write;
        let log = std::fs::OpenOptions::new()
            .append(true)
            .open(&self.world.spawns_log);
        // Without a log, no CLI was started.
        let _ = log.and_then(|mut log| writeln!(log, "1 {}", execution.conversation));
    }

    pub(super) async fn execute_known(&mut self) -> bool {
        let known = |one: &Execution| !one.facts().refused;
        let Some(execution) = self.any_own_that(known) else {
            return true;
        };
        let same = self.rng.random_bool(0.7) || !execution.facts().accepted;
        if same && !execution.is_child() {
            return self.execute_again(&execution).await;
        }
        let params = json!({"executionId": execution.id, "prompt": "@say another body"});
        let request = Request::about(RequestKind::Conflict, &execution);
        self.send("execute", params, request).await
    }
}

//! Checks each message that the client receives.

use std::{borrow::Cow, sync::atomic::Ordering};

use serde_json::Value;

use super::{Actor, link::RequestKind};
use crate::soak::{execution::Execution, isolation::Exempt, plant};

impl Actor {
    /// Checks a message: first what it shows of other principals, then the rules of order, then its
    /// content.
    pub(super) fn received(&mut self, text: &str) {
        self.world.messages.fetch_add(1, Ordering::Relaxed);
        let mut message: Value = match serde_json::from_str(text) {
            Ok(message) => message,
            Err(error) => return self.lost(Some(format!("a message that is no JSON: {error}"))),
        };
        let is_attack = self.link.as_ref().is_some_and(|link| {
            let request = link.pending.get(&message["id"].to_string());
            request.is_some_and(|request| matches!(request.what, RequestKind::Attack(_)))
        });
        let planted = plant::leak(&self.world, &self.principal, &mut message, is_attack);
        let text = &planted.map_or(Cow::Borrowed(text), Cow::Owned);
        let resumed = message["params"]["executionId"]
            .as_str()
            .and_then(|id| self.views.get(id))
            .is_some_and(|view| view.resumed);
        if let Err(rule) = self.check_isolation(&message, text) {
            return self.lost_with(&rule);
        }
        if plant::is_forgotten(&self.world, &message, |id| self.views.get(id)) {
            return;
        }
        for _ in 0..plant::spoil(self.world.plant(), &mut message, resumed) {
            let Some(link) = &mut self.link else { return };
            if let Err(rule) = link.check(&message, text.len()) {
                return self.lost_with(&rule);
            }
            if let Err(rule) = self.take(&message) {
                return self.lost_with(&rule);
            }
        }
    }

    /// Reports a violation and drops the connection: later messages would only repeat the
    /// violation.
    pub(super) fn lost_with(&mut self, rule: &str) {
        self.violate(rule);
        self.lost(None);
    }

    /// Checks that a message shows nothing of another principal. The answer to a request may repeat
    /// the ids of the request, and so may a notice before it.
    fn check_isolation(&self, message: &Value, text: &str) -> Result<(), String> {
        let asked = match &self.link {
            Some(link) if message["method"] == "notice" => link.asked_ids(),
            Some(link) => link.pending_ids(&message["id"]),
            None => Vec::new(),
        };
        let exempt = Exempt {
            asked: &asked,
            output: message["method"] == "output",
        };
        self.world.check_isolation(&self.principal, text, exempt)
    }

    fn take(&mut self, message: &Value) -> Result<(), String> {
        if let Some(answers) = message.as_array() {
            return answers.iter().try_for_each(|answer| self.answered(answer));
        }
        if message.get("method").is_none() {
            return self.answered(message);
        }
        let params = &message["params"];
        if message["method"] == "connected" {
            if let Some(link) = &mut self.link {
                link.session = params["sessionId"].as_str().unwrap_or_default().to_owned();
            }
            return self.world.check_limits("connected", &params["limits"]);
        }
        let Some(id) = params["executionId"].as_str() else {
            return Ok(());
        };
        if message["method"] == "statusUpdate"
            && let Some(execution) = self.world.find(id)
        {
            self.world
                .judge(&execution, params, false)
                .map_err(|rule| format!("{id}: {rule}"))?;
            self.world.note_position(&execution, params, None);
        }
        if let Some(execution) = self.world.find(id) {
            question(&execution, message).map_err(|rule| format!("{id}: {rule}"))?;
        }
        // The checker handles messages about executions that this client does not view.
        let Some(view) = self.views.get_mut(id) else {
            return Ok(());
        };
        let done = match message["method"].as_str() {
            Some("output") => view.output(params).map(|bytes| {
                self.world.checked.fetch_add(bytes, Ordering::Relaxed);
            }),
            Some("gap") => {
                view.gap(params);
                Ok(())
            }
            Some("statusUpdate") if params["crc32"].is_string() || params["reason"] == "lost" => {
                view.end(params)
            }
            Some("question") => {
                let question = params["question"]["questionId"].as_str();
                view.announced.extend(question.map(str::to_owned));
                Ok(())
            }
            Some("questionClosed") => {
                let question = params["questionId"].as_str();
                view.closed.extend(question.map(str::to_owned));
                Ok(())
            }
            _ => Ok(()),
        };
        done.map_err(|rule| format!("{id}: {rule}"))
    }
}

/// Checks the notification of a question or of its end.
fn question(execution: &Execution, message: &Value) -> Result<(), String> {
    let params = &message["params"];
    let mut facts = execution.facts();
    match message["method"].as_str() {
        Some("question") => match execution.dialogue() {
            Some(dialogue) => facts.questions.shown(dialogue, &params["question"]),
            None => Err(format!("it asks, but its CLI does not: {params}")),
        },
        // The bridge takes a deleted execution for an ended one.
        Some("questionClosed") if facts.deleted && params["closedBy"] == "end" => Ok(()),
        Some("questionClosed") => facts.questions.closed(params),
        _ => Ok(()),
    }
}

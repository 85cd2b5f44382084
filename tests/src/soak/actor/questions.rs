//! Answers questions: over WebSocket and over HTTP, the same answer again, another one, and two
//! answers at the same time. Also checks that each view announces the open questions.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rand::Rng;
use reqwest::Method;
use serde_json::{Value, json};

use super::{Actor, link::Request};
use crate::soak::{
    exchange::{Answer, Call},
    execution::Execution,
    plan::Plan,
    plant::second_answer,
    questions::{Reply, Sent},
    world::World,
};

/// The limit for the announcement of an open question to a view while faults are made: a request of
/// the bridge may be lost again and again.
const ANNOUNCEMENT_LIMIT: Duration = Duration::from_secs(20);
/// The limit for the announcement after the last fault.
const CALM_ANNOUNCEMENT_LIMIT: Duration = Duration::from_secs(8);
/// The share of the answers to questions that were closed before.
const LATE_SHARE: f64 = 0.2;
/// The share of the answers that repeat an earlier one.
const REPEATED_SHARE: f64 = 0.2;
/// The share of the answers that do not fit their question.
const INVALID_SHARE: f64 = 0.05;

impl Actor {
    /// Answers some question, or reads the questions of an execution.
    pub(super) async fn answer(&mut self) -> bool {
        let is_late = self.rng.random_bool(LATE_SHARE);
        let execution = self.any_own_that(|one| {
            let facts = one.facts();
            let Some(dialogue) = one.dialogue().filter(|_| !facts.deleted) else {
                return false;
            };
            let mut all = facts.questions.all().iter();
            if is_late {
                all.any(|question| question.closed_by().is_some())
            } else {
                facts.terminal.is_none() && facts.questions.ripe(dialogue).is_some()
            }
        });
        let Some(execution) = execution else {
            return self.read_questions().await;
        };
        let (Some(first), Some(second)) = (
            self.random_answer(&execution, is_late),
            self.random_answer(&execution, is_late),
        ) else {
            return true;
        };
        match self.rng.random_range(0..100) {
            0..50 => self.send_answer(&execution, first).await,
            50..70 => {
                post(&self.world, &execution, first).await;
                true
            }
            // At the same time over both ways, then both over HTTP.
            70..85 => {
                let good = self.send_answer(&execution, first).await;
                post(&self.world, &execution, second).await;
                good
            }
            _ => {
                let world = &self.world;
                tokio::join!(
                    post(world, &execution, first),
                    post(world, &execution, second)
                );
                true
            }
        }
    }

    /// Executes a prompt that asks, once after the last fault. The question is open when the bridge
    /// is restarted for the last time.
    pub(super) async fn ask_at_the_end(&mut self) {
        if std::mem::replace(&mut self.has_asked, true) {
            return;
        }
        let mark = self.principal.mark();
        let plan = loop {
            let plan = Plan::asking(&mut self.rng, mark);
            if plan.is_asking_for_long() {
                break plan;
            }
        };
        let execution = self.add_execution(plan, json!({}), None);
        if !self.execute_again(&execution).await {
            self.lost(None);
        }
    }

    /// Returns a random answer to an open question, or to a closed one.
    fn random_answer(&mut self, execution: &Execution, is_late: bool) -> Option<Sent> {
        let dialogue = execution.dialogue()?;
        let facts = execution.facts();
        let rng = &mut self.rng;
        let question = if is_late {
            facts.questions.any_closed(rng)
        } else {
            facts.questions.ripe(dialogue)
        }?;
        let ask = &dialogue.asks[question.number];
        let is_valid = !rng.random_bool(INVALID_SHARE);
        let earlier = question
            .any_offer(rng)
            .filter(|_| rng.random_bool(REPEATED_SHARE));
        let answer = match earlier {
            _ if !is_valid => ask.invalid_answer(rng),
            Some(answer) => answer,
            None => ask.answer(rng, self.principal.mark()),
        };
        Some(Sent {
            question: question.id.clone(),
            answer,
            is_valid,
        })
    }

    /// Sends an answer over WebSocket.
    async fn send_answer(&mut self, execution: &Arc<Execution>, sent: Sent) -> bool {
        let is_repeated = execution.facts().questions.offer(&sent);
        let mut params = if is_repeated {
            // The service would refuse another answer than the confirmed one.
            sent.answer.clone()
        } else {
            second_answer(&self.world, &sent.answer)
        };
        params["executionId"] = execution.id.as_str().into();
        params["questionId"] = sent.question.as_str().into();
        let request = Request::answer(execution, sent);
        self.send("answer", params, request).await
    }

    /// Reads the questions of some execution over HTTP.
    async fn read_questions(&mut self) -> bool {
        let execution = self.any_own_that(|one| {
            let facts = one.facts();
            one.dialogue().is_some() && facts.accepted && !facts.deleted
        });
        let Some(execution) = execution else {
            return true;
        };
        let sent = Instant::now();
        let path = format!("/v1/executions/{}/questions", execution.id);
        let Some(answer) = self.call(&Call::own(Method::GET, path)).await else {
            return true;
        };
        if answer.code == 200
            && let Err(rule) = list(&execution, &answer.json(), sent)
        {
            let text = format!("{}: {rule}", execution.id);
            self.world.violate(&self.name, &text);
        }
        true
    }

    /// Checks the reply to an answer that was sent over WebSocket.
    pub(super) fn answer_replied(&self, request: &Request, reply: &Value) -> Result<(), String> {
        let (Some(execution), Some(sent)) = (&request.execution, &request.answer) else {
            return Ok(());
        };
        let error = &reply["error"];
        let known = match error["code"].as_i64() {
            None => Reply::Confirmed(&reply["result"]),
            Some(-32008) => Reply::Closed(&error["data"]),
            Some(-32602) => Reply::Invalid,
            Some(-32003 | -32009) => Reply::Unknown,
            Some(-32005) => Reply::Unavailable,
            Some(_) => return Err(format!("an answer to {} got {error}", sent.question)),
        };
        replied(&self.world, execution, sent, known, request.accepted)
    }

    /// Checks that all views have announced the questions that were open for long, and the ends of
    /// those that they have announced.
    pub(super) fn check_announcements(&self) -> Result<(), String> {
        if self
            .link
            .as_ref()
            .is_none_or(|link| link.deaf_until.is_some())
        {
            return Ok(());
        }
        let calm_since = self.world.calm_since();
        let limit = match calm_since {
            Some(_) => CALM_ANNOUNCEMENT_LIMIT,
            None => ANNOUNCEMENT_LIMIT,
        };
        for view in self.views.values().filter(|view| view.active) {
            let Some(since) = view.attached_at else {
                continue;
            };
            let since = calm_since.map_or(since, |calm| calm.max(since));
            let facts = view.execution.facts();
            let is_announced = |id: &str| view.announced.contains(id);
            if let Some(question) = facts.questions.unannounced(since, limit, is_announced) {
                return Err(format!(
                    "question {} of {} was not announced to a view of {:?}",
                    question.id,
                    view.execution.id,
                    since.elapsed()
                ));
            }
            let is_due = |id: &str| view.announced.contains(id) && !view.closed.contains(id);
            if let Some(question) = facts.questions.unclosed(since, limit, is_due) {
                return Err(format!(
                    "the end of question {} of {} was not sent to a view of {:?}",
                    question.id,
                    view.execution.id,
                    since.elapsed()
                ));
            }
        }
        Ok(())
    }
}

/// Sends an answer over HTTP, directly to claude-api, and checks the reply.
pub(in crate::soak) async fn post(world: &World, execution: &Execution, sent: Sent) {
    /// The timeout for a reply of claude-api.
    const REPLY: Duration = Duration::from_secs(20);
    let accepted = execution.facts().accepted;
    execution.facts().questions.offer(&sent);
    let path = format!(
        "/v1/executions/{}/questions/{}",
        execution.id, sent.question
    );
    let call = Call {
        body: sent.answer.to_string(),
        ..Call::own(Method::POST, path)
    };
    let exchange = world.exchange(world.owner(execution), &call);
    let judged = match tokio::time::timeout(REPLY, exchange).await {
        Err(_) => Err(format!("no reply to an answer in {REPLY:?}")),
        Ok(None) => Ok(()),
        Ok(Some(answer)) => judge(world, execution, &sent, &answer, accepted),
    };
    if let Err(rule) = judged {
        world.violate("claude-api", &format!("{}: {rule}", execution.id));
    }
}

fn judge(
    world: &World,
    execution: &Execution,
    sent: &Sent,
    answer: &Answer,
    accepted: bool,
) -> Result<(), String> {
    let json = answer.json();
    let reply = match answer.code {
        200 => Reply::Confirmed(&json),
        409 => Reply::Closed(&json),
        400 => Reply::Invalid,
        404 | 410 => Reply::Unknown,
        503 => Reply::Unavailable,
        code => return Err(format!("an answer got {code}: {json}")),
    };
    replied(world, execution, sent, reply, accepted)
}

/// Checks the reply to an answer. `accepted`: a client had an answer that the execution exists when
/// the answer was sent.
fn replied(
    world: &World,
    execution: &Execution,
    sent: &Sent,
    reply: Reply<'_>,
    accepted: bool,
) -> Result<(), String> {
    let owner = world.owner(execution).name;
    let mut facts = execution.facts();
    let may_be_unknown = facts.deleted || !accepted;
    facts.questions.replied(sent, reply, owner, may_be_unknown)
}

/// Checks a list of questions that was requested at a time.
pub(in crate::soak) fn list(
    execution: &Execution,
    list: &Value,
    sent: Instant,
) -> Result<(), String> {
    let Some(dialogue) = execution.dialogue() else {
        if *list == json!({"open": [], "closed": []}) {
            return Ok(());
        }
        return Err(format!("it does not ask, but has questions: {list}"));
    };
    let mut facts = execution.facts();
    for open in list["open"].as_array().into_iter().flatten() {
        if facts.terminal.is_some() {
            return Err(format!("a question is open after the end: {open}"));
        }
        facts.questions.shown(dialogue, open)?;
        facts.questions.open(&open["questionId"], sent, true)?;
    }
    let mut closed = list["closed"].as_array().into_iter().flatten();
    closed.try_for_each(|closed| facts.questions.closed(closed))
}

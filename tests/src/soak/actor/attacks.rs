//! Sends requests about executions of other principals, and checks that each gets the answer about
//! an id that never existed. Some name an id that did not.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use rand::Rng;
use reqwest::Method;
use serde_json::Value;

use super::{Actor, link::Request};
use crate::soak::{
    attack::{Attack, HttpAttack},
    exchange::{Answer, Call},
    execution::Execution,
};

/// The timeout for an answer of claude-api.
const ANSWER: Duration = Duration::from_secs(20);
/// The share of the requests that name an id that never existed.
const UNKNOWN: f64 = 0.3;
/// The share of the requests over HTTP that burn an id.
const BURN: f64 = 0.05;
/// The most ids of others that one client burns: each takes a slot of the queue for an hour.
const BURNS: u32 = 10;

impl Actor {
    /// Returns a random execution of another principal; `None` without tokens.
    fn victim(&mut self, accepted: bool) -> Option<Arc<Execution>> {
        let own = self.principal.number;
        self.world.any_that(&mut self.rng, |one| {
            one.principal != own && one.facts().accepted >= accepted
        })
    }

    /// Sends a request about an execution of another principal, or about an unknown id.
    pub(super) async fn attack(&mut self) -> bool {
        let attack = Attack::random(&mut self.rng);
        let Some(victim) = self.victim(attack.takes_the_id()) else {
            return true;
        };
        let unknown = !attack.takes_the_id() && self.rng.random_bool(UNKNOWN);
        let id = match attack {
            _ if unknown => uuid::Builder::from_random_bytes(self.rng.random())
                .into_uuid()
                .to_string(),
            Attack::Converse => victim.conversation.clone(),
            _ => victim.id.clone(),
        };
        let Some(link) = &self.link else { return true };
        // The bridge would wait for the other request, and its answer would be another one.
        if link.asked_ids().contains(&id) {
            return true;
        }
        let new = self.principal.new_id(&mut self.rng);
        let question = victim.any_question().unwrap_or_else(|| new.clone());
        let offset = victim.taken().unwrap_or_default();
        let (method, params) = attack.request(&id, &victim, &new, &question, offset);
        let asked = vec![id, new, question];
        self.send(method, params, Request::attack(attack, asked))
            .await
    }

    /// Checks the answer to [`Self::attack`].
    pub(super) fn attack_answered(
        &self,
        attack: Attack,
        request: &Request,
        answer: &Value,
    ) -> Result<(), String> {
        let Some(equal) = attack.judge(answer, &request.asked)? else {
            return Ok(());
        };
        self.world.attacks.fetch_add(1, Ordering::Relaxed);
        self.world.check_refusal(format!("{attack:?}"), &equal)
    }

    /// Makes a call about an execution of another principal, or about an unknown id.
    pub(super) async fn attack_over_http(&mut self) -> bool {
        if self.rng.random_bool(BURN) {
            self.burn().await;
            return true;
        }
        let Some(victim) = self.victim(true) else {
            return true;
        };
        let mut attack = HttpAttack::random(&victim.id, &victim, &mut self.rng);
        if !attack.takes_the_id && self.rng.random_bool(UNKNOWN) {
            let id = uuid::Builder::from_random_bytes(self.rng.random()).into_uuid();
            attack = attack.about(&victim.id, &id.to_string());
        }
        let Some(answer) = self.call(&attack.call).await else {
            return true;
        };
        let judged = attack.judge(&answer).and_then(|equal| {
            let Some(equal) = equal else { return Ok(()) };
            self.world.attacks.fetch_add(1, Ordering::Relaxed);
            self.world.check_refusal(attack.name.clone(), &equal)
        });
        if let Err(rule) = judged {
            self.world.violate(&self.name, &rule);
        }
        true
    }

    /// Burns the id of an execution that another principal is about to create: the id stays free
    /// for that principal.
    async fn burn(&mut self) {
        let own = self.principal.number;
        let victim = self.world.any_that(&mut self.rng, |one| {
            let facts = one.facts();
            one.principal != own && !facts.accepted && !facts.refused
        });
        let Some(victim) = victim.filter(|_| self.burns < BURNS) else {
            return;
        };
        self.burns += 1;
        let call = Call {
            asked: vec![victim.id.clone()],
            ..Call::own(
                Method::POST,
                format!("/v1/executions/{}/cancel?ifUnknown=burn", victim.id),
            )
        };
        let Some(answer) = self.call(&call).await else {
            return;
        };
        // It may have been accepted meanwhile.
        let burned = answer.code == 200 && answer.json()["burned"] == true;
        if !burned && !matches!(answer.code, 404 | 503) {
            let text = format!("I7: a burn of {} got {}", victim.id, answer.text());
            self.world.violate(&self.name, &text);
        }
    }

    /// Makes a call with the client's token; `None` if claude-api is down.
    pub(super) async fn call(&self, call: &Call) -> Option<Answer> {
        let exchange = self.world.exchange(&self.principal, call);
        let answer = tokio::time::timeout(ANSWER, exchange).await;
        answer.unwrap_or_else(|_| {
            let text = format!("no answer to {} {} in {ANSWER:?}", call.method, call.path);
            self.world.violate("claude-api", &text);
            None
        })
    }
}

//! Reads over HTTP what claude-api tells the client about itself and its executions.

use rand::Rng;
use reqwest::Method;

use super::Actor;
use crate::soak::exchange::Call;

impl Actor {
    /// Reads one thing, directly from claude-api.
    pub(super) async fn read_over_http(&mut self) -> bool {
        let own = self.any_own_that(|one| one.is_over() && !one.facts().deleted);
        let kind = self.rng.random_range(0..5);
        let path = match (kind, &own) {
            (0, _) => "/v1/me".to_owned(),
            (1, _) => "/v1/limits".to_owned(),
            (2, Some(own)) => format!("/v1/executions/{}/events?follow=false", own.id),
            (3, Some(own)) => format!("/v1/executions?limit=20&before={}", own.id),
            _ => "/v1/executions".to_owned(),
        };
        let Some(answer) = self.call(&Call::own(Method::GET, path)).await else {
            return true;
        };
        if answer.code != 200 {
            return true;
        }
        let content = answer.json();
        let judged = match kind {
            0 if content["principal"].as_str() != self.principal.name => {
                Err(format!("I7: the principal of the client is {content}"))
            }
            1 => self.world.check_limits("GET /v1/limits", &content),
            _ => self.world.check_list(&self.principal, &content),
        };
        if let Err(rule) = judged {
            self.world.violate(&self.name, &rule);
        }
        true
    }
}

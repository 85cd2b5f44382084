//! The actions of a client.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rand::{Rng, seq::IndexedRandom};
use serde_json::{Value, json};

use super::{
    Actor,
    link::{Request, RequestKind},
};
use crate::soak::execution::Execution;

impl Actor {
    /// Takes one random action.
    pub(super) async fn act(&mut self) {
        let good = match self.rng.random_range(0..110) {
            0..21 => self.execute_new().await,
            21..24 => self.execute_further().await,
            24..32 => self.execute_known().await,
            32..45 => self.attach_anywhere().await,
            45..48 => self.detach().await,
            48..56 => self.control().await,
            56..60 => self.ask("status").await,
            60..62 => self.ask("list").await,
            62..66 => self.ask("ping").await,
            66..70 if self.world.own_fault_is_due() => self.malformed().await,
            70..74 => self.batch().await,
            74..79 if self.world.own_fault_is_due() => {
                let time = Duration::from_millis(self.rng.random_range(50..3000));
                if let Some(link) = &mut self.link {
                    link.deaf_until = Some(Instant::now() + time);
                    self.world.own_fault("deaf client");
                }
                true
            }
            79..84 if self.world.own_fault_is_due() => {
                self.world.own_fault("vanished client");
                false
            }
            84..88 => self.feed().await,
            88..91 => {
                if let Some(link) = self.link.take() {
                    link.close().await;
                }
                false
            }
            91..94 => self.delete().await,
            94..97 => self.attack().await,
            97..99 => self.attack_over_http().await,
            99..109 => self.answer().await,
            _ => self.read_over_http().await,
        };
        if !good {
            self.lost(None);
        }
    }

    pub(super) async fn send(&mut self, method: &str, params: Value, request: Request) -> bool {
        let Some(link) = &mut self.link else {
            return true;
        };
        let id = link.id();
        let message = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        link.send(&message, vec![(id, request)]).await
    }

    /// Returns a random execution of the client's principal, mostly a recent one.
    pub(super) fn any_own(&mut self) -> Option<Arc<Execution>> {
        self.any_own_that(|_| true)
    }

    /// Returns a random execution of the client's principal among those that match.
    pub(super) fn any_own_that(
        &mut self,
        which: impl Fn(&Execution) -> bool,
    ) -> Option<Arc<Execution>> {
        let own = self.principal.number;
        let which = |one: &Execution| one.principal == own && which(one);
        self.world.any_that(&mut self.rng, which)
    }

    async fn attach_anywhere(&mut self) -> bool {
        let Some(execution) = self.any_own() else {
            return true;
        };
        let length = execution.facts().length;
        let offset = match self.rng.random_range(0..10) {
            0..3 => None,
            3 => Some(length),
            4 => Some(length + self.rng.random_range(0..1000)),
            _ => Some(self.rng.random_range(0..=length)),
        };
        let skip = self.rng.random_bool(0.2);
        // The answer begins a new view, which does not continue an earlier one.
        self.send_attach(&execution, offset, skip, true).await
    }

    /// Resumes the existing view, from an offset or the beginning.
    pub(super) async fn attach(
        &mut self,
        execution: &Arc<Execution>,
        offset: Option<u64>,
        skip: bool,
    ) -> bool {
        self.view(execution, skip).active = true;
        self.send_attach(execution, offset, skip, false).await
    }

    async fn send_attach(
        &mut self,
        execution: &Arc<Execution>,
        offset: Option<u64>,
        skip: bool,
        fresh: bool,
    ) -> bool {
        let length = execution.facts().length;
        let seen = offset.is_none_or(|offset| offset <= length);
        let mut params = json!({"executionId": execution.id});
        if let Some(offset) = offset {
            params["offset"] = offset.into();
        }
        if skip {
            params["onSlow"] = "skip".into();
        }
        let what = RequestKind::Attach {
            offset,
            seen,
            fresh,
            skip,
        };
        self.send("attach", params, Request::about(what, execution))
            .await
    }

    async fn detach(&mut self) -> bool {
        let active: Vec<_> = self.sorted_views(|view| view.active);
        let Some(execution) = active.choose(&mut self.rng).cloned() else {
            return true;
        };
        let request = Request::about(RequestKind::Detach, &execution);
        self.send("detach", json!({"executionId": execution.id}), request)
            .await
    }

    /// Returns views in the order of creation: a map's own order does not depend on the seed.
    pub(super) fn sorted_views(
        &self,
        which: impl Fn(&crate::soak::view::View) -> bool,
    ) -> Vec<Arc<Execution>> {
        let mut found: Vec<_> = self
            .views
            .values()
            .filter(|view| which(view))
            .map(|view| Arc::clone(&view.execution))
            .collect();
        found.sort_unstable_by_key(|execution| execution.born);
        found
    }

    async fn control(&mut self) -> bool {
        let Some(execution) = self.any_own() else {
            return true;
        };
        let kind = *["PAUSE", "PAUSE", "RESUME", "CANCEL"]
            .choose(&mut self.rng)
            .unwrap_or(&"PAUSE");
        {
            let mut facts = execution.facts();
            match kind {
                "PAUSE" => {
                    let time = Duration::from_millis(self.rng.random_range(100..2000));
                    facts.resume_at = Some(Instant::now() + time);
                    facts.may_pause = true;
                }
                "CANCEL" => facts.may_cancel = true,
                _ => {}
            }
        }
        let what = if kind == "CANCEL" {
            RequestKind::Cancel
        } else {
            RequestKind::Control
        };
        let request = Request::about(what, &execution);
        let params = json!({"type": kind, "executionId": execution.id});
        self.send("control", params, request).await
    }

    async fn ask(&mut self, method: &str) -> bool {
        match method {
            "status" => {
                let Some(execution) = self.any_own() else {
                    return true;
                };
                let request = Request::about(RequestKind::Control, &execution);
                self.send("status", json!({"executionId": execution.id}), request)
                    .await
            }
            "list" => {
                let limit = self.rng.random_range(1..100);
                self.send(
                    "list",
                    json!({"limit": limit}),
                    Request::without_execution(RequestKind::List),
                )
                .await
            }
            _ => {
                self.send(
                    "ping",
                    json!({}),
                    Request::without_execution(RequestKind::Other),
                )
                .await
            }
        }
    }
}

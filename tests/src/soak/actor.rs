//! A client that makes all requests that a client may make, and some invalid ones, over connections
//! that break.

mod actions;
mod answers;
mod attacks;
mod births;
mod feed;
mod link;
mod nuisances;
pub(super) mod questions;
mod reads;
mod received;

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use rand::{Rng, SeedableRng, rngs::StdRng};

use super::{
    execution::Execution,
    principal::Principal,
    view::View,
    world::{Phase, World},
};
use link::Link;

/// The pause between two actions.
const PACE_MS: std::ops::Range<u64> = 5..150;
/// The pause between two steps after the last fault.
const IDLE: Duration = Duration::from_millis(100);

/// Runs a client until all executions that it views have ended. The clients of a run belong to the
/// principals in turn.
pub(super) async fn run(world: Arc<World>, number: usize, seed: u64) {
    let principal = Arc::clone(&world.principals[number % world.principals.len()]);
    let mut actor = Actor {
        name: format!("client {number} of {}", principal.shown()),
        principal,
        world,
        rng: StdRng::seed_from_u64(seed),
        link: None,
        views: HashMap::new(),
        burns: 0,
        has_asked: false,
    };
    while actor.world.phase() < Phase::Over {
        if actor.world.calm_since().is_some() && actor.is_done() {
            return actor.leave().await;
        }
        actor.step().await;
    }
}

/// One client.
struct Actor {
    name: String,
    principal: Arc<Principal>,
    world: Arc<World>,
    rng: StdRng,
    link: Option<Link>,
    views: HashMap<String, View>,
    /// The ids of other principals that it has burned.
    burns: u32,
    /// Whether it has asked after the last fault.
    has_asked: bool,
}

impl Actor {
    /// Takes one step: connects, or receives messages and then acts.
    async fn step(&mut self) {
        if self.link.is_none() {
            return self.connect().await;
        }
        let pause = if self.world.under_fire() {
            Duration::from_millis(self.rng.random_range(PACE_MS))
        } else {
            IDLE
        };
        let due = Instant::now() + pause;
        loop {
            let Some(link) = &mut self.link else { return };
            match link.next(due).await {
                Ok(Some(text)) => self.received(&text),
                Ok(None) => break,
                Err(rule) => return self.lost(rule),
            }
        }
        if let Err(rule) = self.check_announcements() {
            return self.lost_with(&rule);
        }
        if self.world.under_fire() {
            self.act().await;
        } else {
            self.view_again().await;
            if self.world.phase() == Phase::Settle {
                self.ask_at_the_end().await;
            }
        }
    }

    async fn connect(&mut self) {
        match Link::open(self.world.front, &self.principal).await {
            Ok(link) => {
                self.link = Some(link);
                self.view_again().await;
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(30)).await,
        }
    }

    /// Handles the end of the connection; `rule` is the rule that its end broke.
    fn lost(&mut self, rule: Option<String>) {
        if let Some(rule) = rule {
            self.violate(&rule);
        }
        self.link = None;
        for view in self.views.values_mut() {
            view.active = false;
            view.attached_at = None;
        }
    }

    fn violate(&self, rule: &str) {
        let transcript = self.link.as_ref().map(Link::transcript).unwrap_or_default();
        self.world
            .violate(&self.name, &format!("{rule}\n{transcript}"));
    }

    fn is_done(&self) -> bool {
        let owed = |view: &View| !view.ended && !view.execution.facts().deleted;
        self.link
            .as_ref()
            .is_some_and(|link| link.pending.is_empty())
            && !self.views.values().any(owed)
    }

    async fn leave(mut self) {
        if let Some(link) = self.link.take() {
            if let Err(missing) = link.finished() {
                self.violate(&format!("I1: {missing}"));
            }
            link.close().await;
        }
    }

    /// Resumes each view that this connection does not have, mostly at the byte that it reached.
    async fn view_again(&mut self) {
        for execution in self.sorted_views(|view| !view.active && !view.ended) {
            let id = &execution.id;
            let Some(view) = self.views.get(id) else {
                continue;
            };
            let (reach, skip) = (view.reach, view.skip);
            let (accepted, deleted) = {
                let facts = execution.facts();
                (facts.accepted, facts.deleted)
            };
            if deleted {
                self.views.remove(id);
            } else if !accepted {
                self.execute_again(&execution).await;
            } else {
                let offset = match self.rng.random_range(0..10) {
                    // claude-api refuses an explicit 0 after it has freed the beginning.
                    _ if reach == 0 => None,
                    0 => None,
                    1 => Some(self.rng.random_range(0..=reach)),
                    _ => Some(reach),
                };
                self.attach(&execution, offset, skip).await;
            }
        }
    }

    fn view(&mut self, execution: &Arc<Execution>, skip: bool) -> &mut View {
        self.views
            .entry(execution.id.clone())
            .or_insert_with(|| View::new(Arc::clone(execution), skip))
    }
}

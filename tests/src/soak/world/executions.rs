//! The executions of a run: how they are found, counted and chosen.

use std::{collections::HashMap, sync::Arc};

use rand::{Rng, rngs::StdRng};

use super::{World, lock};
use crate::soak::execution::Execution;

impl World {
    pub(in crate::soak) fn add(&self, execution: Arc<Execution>) {
        self.enlist(&mut lock(&self.by_id), execution);
    }

    /// Adds an execution that a policy created, unless it is known.
    ///
    /// # Errors
    /// If a client of another principal received its id before.
    pub(in crate::soak) fn add_unless_known(
        &self,
        id: &str,
        make: impl FnOnce() -> Execution,
    ) -> Result<(), String> {
        let mut known = lock(&self.by_id);
        if known.contains_key(id) {
            return Ok(());
        }
        let execution = Arc::new(make());
        self.enlist(&mut known, Arc::clone(&execution));
        self.claim_id(&execution)
    }

    fn enlist(&self, known: &mut HashMap<String, Arc<Execution>>, execution: Arc<Execution>) {
        lock(&self.conversations)
            .entry(execution.conversation.clone())
            .or_default()
            .push(Arc::clone(&execution));
        known.insert(execution.id.clone(), Arc::clone(&execution));
        lock(&self.executions).push(execution);
    }

    /// Returns whether all executions of a known conversation have ended.
    pub(in crate::soak) fn is_silent(&self, conversation: &str) -> bool {
        lock(&self.conversations)
            .get(conversation)
            .is_some_and(|members| members.iter().all(|one| one.is_done()))
    }

    pub(in crate::soak) fn find(&self, id: &str) -> Option<Arc<Execution>> {
        lock(&self.by_id).get(id).cloned()
    }

    pub(in crate::soak) fn executions(&self) -> Vec<Arc<Execution>> {
        lock(&self.executions).clone()
    }

    /// Returns how many executions were created, and how many of them are live.
    pub(in crate::soak) fn census(&self) -> (usize, usize) {
        let executions = lock(&self.executions);
        (
            executions.len(),
            executions.iter().filter(|one| !one.is_done()).count(),
        )
    }

    /// Returns how many executions of a principal are live.
    pub(in crate::soak) fn live_of(&self, principal: usize) -> usize {
        let executions = lock(&self.executions);
        let live = |one: &&Arc<Execution>| one.principal == principal && !one.is_done();
        executions.iter().filter(live).count()
    }

    /// Returns a random execution among those that match, mostly a recent one.
    pub(in crate::soak) fn any_that(
        &self,
        rng: &mut StdRng,
        which: impl Fn(&Execution) -> bool,
    ) -> Option<Arc<Execution>> {
        let executions = lock(&self.executions);
        let executions: Vec<_> = executions.iter().filter(|one| which(one)).collect();
        let recent = if rng.random_bool(0.8) {
            30
        } else {
            executions.len()
        };
        let from = executions.len().saturating_sub(recent);
        (from < executions.len())
            .then(|| Arc::clone(executions[rng.random_range(from..executions.len())]))
    }
}

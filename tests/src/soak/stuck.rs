//! Finds executions that stay queued although they could run.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::world::World;

/// The limit for a queued execution that could run.
const PATIENCE: Duration = Duration::from_secs(5);
/// The default of `runningExecutions` (docs/protocol.md, "Limits").
const SLOTS: usize = 8;
/// The slots of each of several principals (docs/protocol.md, "Token file", `running`).
const SLOTS_EACH: usize = SLOTS / 2;
/// The default of `waitingExecutions`: so many that wait for a person need no slot.
const WAITING: usize = 16;

/// Since when each execution is queued without a reason, under this claude-api.
#[derive(Debug, Default)]
pub(super) struct Stuck {
    api: i32,
    since: HashMap<String, Instant>,
}

impl Stuck {
    /// Checks all live executions of a claude-api; `None` if some statuses are missing.
    pub(super) fn look(&mut self, world: &World, api: i32, statuses: Option<Vec<Value>>) {
        let same = std::mem::replace(&mut self.api, api) == api;
        let Some(mut statuses) = statuses.filter(|_| same) else {
            return self.since.clear();
        };
        let created = |status: &Value| status["createdAt"].as_str().map(str::to_owned);
        statuses.sort_by_cached_key(|status| std::cmp::Reverse(created(status)));
        let idle = idle(&statuses);
        self.since.retain(|id, _| idle.contains(&id.as_str()));
        for id in idle {
            let since = self.since.entry(id.to_owned()).or_insert_with(Instant::now);
            if since.elapsed() > PATIENCE {
                // Reported again after the same time.
                *since = Instant::now();
                let text =
                    format!("I1: {id} is still queued, although it could run for {PATIENCE:?}");
                world.violate("claude-api", &text);
            }
        }
    }
}

/// Returns the ids of queued executions that could run: their principal has a free slot, no older
/// execution of their lane or conversation lives, and no younger one runs. The same lane of two
/// principals is two lanes. The list is sorted, newest first.
fn idle(list: &[Value]) -> Vec<&str> {
    let runs = |one: &Value| matches!(one["state"].as_str(), Some("running" | "paused"));
    let asks = |one: &Value| one["questionsOpen"].as_u64().is_some_and(|open| open > 0);
    let queued = |one: &Value| one["state"] == "queued";
    let waiting = list.iter().filter(|one| asks(one)).count().min(WAITING);
    if list.iter().filter(|one| runs(one)).count() >= SLOTS + waiting {
        return Vec::new();
    }
    let is_full = |principal: &Value| {
        let own = |one: &&Value| runs(one) && !asks(one) && one["principal"] == *principal;
        principal.is_string() && list.iter().filter(own).count() >= SLOTS_EACH
    };
    let waits_for = |(at, one): (usize, &Value), (place, other): (usize, &Value)| {
        let shares = |name: &str| one[name].is_string() && one[name] == other[name];
        let same_lane = shares("lane") && one["principal"] == other["principal"];
        let older = place > at;
        (same_lane || shares("conversation")) && (runs(other) || older && queued(other))
    };
    let all = || list.iter().enumerate();
    all()
        .filter(|(_, one)| queued(one) && one["notBefore"].is_null())
        .filter(|(_, one)| !is_full(&one["principal"]))
        .filter(|one| !all().any(|other| waits_for(*one, other)))
        .filter_map(|(_, one)| one["executionId"].as_str())
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn one(id: &str, state: &str, lane: &str, conversation: &str) -> Value {
        json!({"executionId": id, "state": state, "lane": lane, "conversation": conversation,
            "notBefore": null})
    }

    #[test]
    fn a_queued_execution_that_could_run_is_found() {
        let first = one("first", "queued", "a", "x");
        let second = one("second", "queued", "a", "y");
        let other = one("other", "queued", "b", "x");
        assert_eq!(idle(&[second.clone(), first.clone()]), ["first"]);
        let runs = one("runs", "paused", "c", "x");
        let list = [runs, other.clone(), second, first.clone()];
        assert!(
            idle(&list).is_empty(),
            "the conversation runs, and the lane waits for it"
        );
        assert_eq!(
            idle(&[one("old", "completed", "a", "x"), first.clone()]),
            ["first"]
        );
        let of = |principal: &str, mut one: Value| {
            one["principal"] = principal.into();
            one
        };
        let foreign = of("other", one("foreign", "running", "a", "z"));
        let own = of("own", first.clone());
        assert_eq!(idle(&[own.clone(), foreign]), ["first"]);
        let mut part: Vec<_> = (0..SLOTS_EACH)
            .map(|n| {
                of(
                    "own",
                    one("r", "running", &format!("l{n}"), &format!("c{n}")),
                )
            })
            .collect();
        part.push(own);
        assert!(
            idle(&part).is_empty(),
            "all slots of the principal are in use"
        );
        part[0]["questionsOpen"] = 1.into();
        assert_eq!(
            idle(&part),
            ["first"],
            "an execution that asks needs no slot"
        );
        let mut later = first.clone();
        later["notBefore"] = "2030-01-01T00:00:00Z".into();
        assert!(idle(&[later]).is_empty());
        let mut full: Vec<_> = (0..SLOTS)
            .map(|n| one("r", "running", &format!("l{n}"), &format!("c{n}")))
            .collect();
        full.push(other);
        assert!(idle(&full).is_empty());
    }
}

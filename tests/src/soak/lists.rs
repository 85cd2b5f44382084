//! The audit of the lists: each principal sees exactly its own executions, and the admin sees all
//! with their owners.

use std::{collections::HashMap, sync::Arc};

use reqwest::Method;
use serde_json::Value;

use super::{exchange::Call, execution::Execution, principal::Principal, world::World};

/// The number of executions of a page: several pages for each principal.
const PAGE: usize = 100;

/// Audits the lists of all principals, and that of the admin.
pub(super) async fn audit(world: &World, executions: &[Arc<Execution>]) {
    for principal in &world.principals {
        if let Err(rule) = own_list(world, principal, executions).await {
            world.violate("claude-api", &format!("{}: {rule}", principal.shown()));
        }
    }
    let admin = Principal {
        number: usize::MAX,
        name: None,
        token: None,
        http: world.admin.clone(),
    };
    if let Err(rule) = whole_list(world, &admin).await {
        world.violate("claude-api", &format!("the admin: {rule}"));
    }
}

/// Checks that a principal sees each of its executions once, and no other.
async fn own_list(
    world: &World,
    principal: &Principal,
    executions: &[Arc<Execution>],
) -> Result<(), String> {
    let mut listed = listed(world, principal).await?;
    for execution in executions {
        let due = {
            let facts = execution.facts();
            facts.accepted && !facts.deleted && execution.principal == principal.number
        };
        let status = listed.remove(&execution.id);
        if due && status.is_none() {
            return Err(format!("{} is in no list", execution.id));
        }
        let Some(status) = status else { continue };
        if execution.principal != principal.number {
            return Err(format!("I7: a list has {status} of another principal"));
        }
        world.judge(execution, &status, false)?;
    }
    match listed.into_values().next() {
        Some(status) => Err(format!("a list has an execution of no client: {status}")),
        None => Ok(()),
    }
}

/// Checks that the admin sees the executions of all principals, each with its owner.
async fn whole_list(world: &World, admin: &Principal) -> Result<(), String> {
    for (id, status) in listed(world, admin).await? {
        let execution = world.find(&id);
        let Some(execution) = execution else {
            return Err(format!("a list has an execution of no client: {status}"));
        };
        let owner = world.owner(&execution).name;
        if status["principal"].as_str() != owner {
            return Err(format!("I7: {id} belongs to {owner:?}, but has {status}"));
        }
    }
    Ok(())
}

/// Returns all executions that a principal sees, by id.
async fn listed(world: &World, principal: &Principal) -> Result<HashMap<String, Value>, String> {
    let mut all = HashMap::new();
    let mut before = String::new();
    loop {
        let path = format!("/v1/executions?limit={PAGE}{before}");
        let answer = world
            .exchange(principal, &Call::own(Method::GET, path))
            .await;
        let answer = answer.ok_or("its list was aborted")?;
        let list = answer.json();
        if answer.code != 200 {
            return Err(format!("its list returned {}: {list}", answer.code));
        }
        for status in list["executions"].as_array().into_iter().flatten() {
            let id = status["executionId"].as_str().unwrap_or_default();
            if all.insert(id.to_owned(), status.clone()).is_some() {
                return Err(format!("two pages of a list have {id}"));
            }
        }
        match list["next"].as_str() {
            Some(next) => before = format!("&before={next}"),
            None => return Ok(all),
        }
    }
}

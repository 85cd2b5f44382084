//! Tasks (SEP-2663): a task is an execution, and its id is the execution's id. claude-api answers
//! for it, so that a task survives a restart of this server and of the bridge.

use client::Client;
use protocol::{ExecutionId, State, Status};
use rmcp::model::{DetailedTask, Task, TaskPayload, TaskStatus};
use serde_json::Value;

use crate::failure::Failure;
use crate::places::Places;
use crate::{progress, results, views};

/// How often a client is asked to poll, in milliseconds.
const POLL_MS: u64 = 2000;

/// The execution of a task.
///
/// # Errors
/// The text is no id, so the task is unknown.
pub(crate) fn id(task: &str) -> Result<ExecutionId, Failure> {
    task.parse()
        .map_err(|error: protocol::id::BadId| Failure::not_found(error.to_string()))
}

/// The status of an execution.
///
/// # Errors
/// The bridge does not know it or does not answer, or no place is free.
pub(crate) async fn status(places: &Places, id: ExecutionId) -> Result<Status, Failure> {
    let ask = async |client: &Client| client.status(id).await;
    places.ask(ask).await
}

/// The present state of a task, with its result when it has ended.
///
/// # Errors
/// As [`status`].
pub(crate) async fn get(places: &Places, task_id: &str) -> Result<DetailedTask, Failure> {
    let id = id(task_id)?;
    let status = status(places, id).await?;
    let payload = match status.state {
        State::Queued | State::Running | State::Paused => TaskPayload::Working,
        State::Cancelled => TaskPayload::Cancelled,
        // A tool that ran and failed is a completed task whose result is an error.
        State::Completed | State::Failed | State::TimedOut | State::Interrupted => {
            let (text, status, verdict) = views::ended(places, id).await?;
            let result = results::ended(&text, &status, verdict);
            match serde_json::to_value(result) {
                Ok(Value::Object(result)) => TaskPayload::Completed { result },
                _ => return Err(Failure::internal("the result cannot be written as JSON")),
            }
        }
    };
    Ok(DetailedTask::new(task(&status), payload))
}

/// The task of an execution.
pub(crate) fn task(status: &Status) -> Task {
    let changed = status.ended_at.or(status.started_at);
    let task = Task::new(
        status.execution_id.to_string(),
        TaskStatus::Working,
        status.created_at.to_string(),
        changed.unwrap_or(status.created_at).to_string(),
    );
    let task = task.with_status_message(progress::doing(status));
    task.with_poll_interval_ms(POLL_MS)
}

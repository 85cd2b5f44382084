//! MCP tasks (SEP-2663), which let a client poll for the result of a long call. A task is an
//! execution, and its id is the execution's id. Its state is stored in claude-api, so a task
//! survives a restart of this server and of the bridge.

use client::Client;
use protocol::{ExecutionId, State, Status};
use rmcp::model::{DetailedTask, Task, TaskPayload, TaskStatus};
use serde_json::Value;

use crate::failure::Failure;
use crate::slots::Slots;
use crate::{elicitation, progress, questions, results, views};

/// The interval at which clients are asked to poll a task, in milliseconds.
const POLL_MS: u64 = 2000;

/// Parses the id of an MCP task, which is the id of its execution.
///
/// # Errors
/// The text is not a UUID, so no such task exists.
pub(crate) fn id(task: &str) -> Result<ExecutionId, Failure> {
    task.parse()
        .map_err(|error: protocol::id::BadId| Failure::not_found(error.to_string()))
}

/// Returns the status of an execution, which is requested over a new connection to the bridge.
///
/// # Errors
/// The bridge does not know the execution or does not answer, or too many calls already run.
pub(crate) async fn status(slots: &Slots, id: ExecutionId) -> Result<Status, Failure> {
    let status = async |client: &Client| client.status(id).await;
    slots.request(status).await
}

/// Returns the present state of an MCP task. If its execution has ended and was not cancelled, the
/// state includes the result that the tool `execute` would have returned. With `asks` it includes
/// the forms of the open questions.
///
/// # Errors
/// As [`status`], or the text is not an execution id.
pub(crate) async fn get(slots: &Slots, task_id: &str, asks: bool) -> Result<DetailedTask, Failure> {
    let id = id(task_id)?;
    let (status, questions) = match asks {
        true => questions::with_status(slots, id).await?,
        false => (status(slots, id).await?, Vec::new()),
    };
    let input_requests = elicitation::forms(id, questions.iter());
    let payload = match status.state {
        State::Queued | State::Running | State::Paused if !input_requests.is_empty() => {
            TaskPayload::InputRequired { input_requests }
        }
        State::Queued | State::Running | State::Paused => TaskPayload::Working,
        State::Cancelled => TaskPayload::Cancelled,
        // A tool that ran and failed is a completed task whose result is an error.
        State::Completed | State::Failed | State::TimedOut | State::Interrupted => {
            let (text, status, verdict) = views::ended(slots, id).await?;
            let result = results::ended(&text, &status, verdict);
            match serde_json::to_value(result) {
                Ok(Value::Object(result)) => TaskPayload::Completed { result },
                _ => return Err(Failure::internal("could not write the result as JSON")),
            }
        }
    };
    Ok(DetailedTask::new(task(&status), payload))
}

/// Converts the status of an execution to the MCP task that describes it.
pub(crate) fn task(status: &Status) -> Task {
    let changed = status.ended_at.or(status.started_at);
    let task = Task::new(
        status.execution_id.to_string(),
        TaskStatus::Working,
        status.created_at.to_string(),
        changed.unwrap_or(status.created_at).to_string(),
    );
    let task = task.with_status_message(progress::activity(status));
    task.with_poll_interval_ms(POLL_MS)
}

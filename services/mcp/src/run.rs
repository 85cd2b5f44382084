//! An execution as one call: from the prompt to the terminal status.

use client::{Control, Event, ExecuteParams};
use protocol::rpc::OnDisconnect;
use protocol::{ExecutionId, Status};
use rmcp::model::CallToolResult;
use tokio_util::sync::CancellationToken;

use crate::failure::Failure;
use crate::http::Charge;
use crate::places::{Call, Places, Purpose};
use crate::progress::Progress;
use crate::results;
use crate::running::Signals;
use crate::text::Text;

/// Runs an execution to its end, and sends progress. The future is not dropped early: `signals` end
/// it, so that a cancel reaches the bridge. `lost` says that the response stream is lost. `charge` is
/// released when the execution is accepted.
///
/// # Errors
/// The bridge refuses the execution or is lost, no place is free, or a signal ended the call.
pub(crate) async fn to_the_end(
    places: Places,
    mut execute: ExecuteParams,
    mut progress: Progress,
    signals: Signals,
    lost: CancellationToken,
    charge: Option<Charge>,
) -> Result<CallToolResult, Failure> {
    let id = execute.ensure_id();
    // An execution that is to outlive its call is accepted first.
    let mut may_leave = execute.on_disconnect == OnDisconnect::Cancel;
    let mut call = tokio::select! {
        biased;
        () = signals.cancelled.cancelled() => return Err(left(id)),
        () = signals.abandoned(), if may_leave => return Err(left(id)),
        call = places.call(Purpose::View) => call?,
    };
    let mut run = call.client.execute(execute)?;
    let mut text = Text::new(0, places.settings().text_bytes);
    loop {
        let event = tokio::select! {
            // A cancel comes before the output, however much there is.
            biased;
            () = signals.cancelled.cancelled() => {
                cancel(call, id).await;
                return Err(left(id));
            }
            () = signals.abandoned(), if may_leave => {
                drop(run);
                call.client.close().await;
                return Err(left(id));
            }
            () = call.lost(&lost) => {
                call.give_back();
                continue;
            }
            () = progress.due(), if !signals.is_abandoned() => {
                tokio::select! {
                    biased;
                    () = signals.any() => {}
                    () = progress.send() => {}
                }
                continue;
            }
            event = run.next() => event.map_err(|error| Failure::from(error).with("executionId", id.to_string()))?,
        };
        let Some(event) = event else {
            return Err(left(id));
        };
        progress.note(&event);
        match event {
            // From now on no repetition needs the prompt.
            Event::Answer(_) => {
                charge.iter().for_each(Charge::release);
                may_leave = true;
            }
            Event::Output { offset, bytes } => text.push(offset, &bytes),
            Event::Gap(gone) => text.gap(gone),
            Event::Terminal { update, verdict } => {
                drop(run);
                call.client.close().await;
                return Ok(results::ended(&text, &update.status, verdict));
            }
            _ => {}
        }
    }
}

/// Starts an execution and returns as soon as the bridge has accepted it.
///
/// # Errors
/// The bridge refuses the execution or is lost, or no place is free.
pub(crate) async fn start(places: &Places, mut execute: ExecuteParams) -> Result<Status, Failure> {
    let id = execute.ensure_id();
    let call = places.call(Purpose::Ask).await?;
    let mut run = call.client.execute(execute)?;
    let status = loop {
        match run.next().await {
            Ok(Some(Event::Answer(status))) => break status,
            Ok(Some(_)) => {}
            Ok(None) => return Err(left(id)),
            Err(error) => return Err(Failure::from(error).with("executionId", id.to_string())),
        }
    };
    drop(run);
    call.client.close().await;
    Ok(*status)
}

/// Cancels on the session that executed, because only that one can cancel before the acceptance.
async fn cancel(call: Call, id: ExecutionId) {
    match call.client.control(id, Control::Cancel).await {
        Ok(_) => tracing::info!(execution = %id, "cancelled with its MCP call"),
        Err(error) => {
            tracing::warn!(execution = %id, %error, "could not cancel with its MCP call");
        }
    }
    call.client.close().await;
}

/// The result of a call that nobody waits for.
fn left(id: ExecutionId) -> Failure {
    Failure::cancelled().with("executionId", id.to_string())
}

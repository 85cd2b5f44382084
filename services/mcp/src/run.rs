//! The two tools that run a prompt. `execute` returns when the execution has ended, and `start`
//! returns when it is accepted.

use client::{Control, Event, ExecuteParams};
use protocol::rpc::OnDisconnect;
use protocol::{ExecutionId, Status};
use rmcp::model::CallToolResult;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::elicitation::Change;
use crate::failure::Failure;
use crate::http::Charge;
use crate::progress::Progress;
use crate::results;
use crate::running_calls::Signals;
use crate::slots::{Call, Purpose, Slots};
use crate::text::Text;

/// The parts of one call of the tool `execute` that its MCP client decides about.
pub(crate) struct ExecuteCall {
    /// The progress notifications of the call.
    pub(crate) progress: Progress,
    /// The signals that end the call early.
    pub(crate) signals: Signals,
    /// A token that is cancelled when the response stream is closed. The call then no longer counts
    /// against the limit on concurrent calls.
    pub(crate) stream_closed: CancellationToken,
    /// The memory of the request's body. It is released when the execution is accepted.
    pub(crate) charge: Option<Charge>,
    /// The sender of changes of the open questions. An execution asks at most 10,000 questions,
    /// each message at most about 40 KiB; without a client that can ask its user, the receiver is
    /// dropped.
    pub(crate) questions: mpsc::UnboundedSender<Change>,
}

/// Runs a prompt until its execution has ended, and returns the output. Sends progress
/// notifications to the MCP client meanwhile. It is the tool `execute`.
///
/// The future must not be dropped. Use the signals of the call to end it early, so that a cancel
/// reaches the bridge.
///
/// # Errors
/// The bridge refuses the execution or is lost, too many calls run already, or a signal ended the
/// call.
pub(crate) async fn to_end(
    slots: Slots,
    mut execute: ExecuteParams,
    call: ExecuteCall,
) -> Result<CallToolResult, Failure> {
    let ExecuteCall {
        mut progress,
        signals,
        stream_closed,
        charge,
        questions,
    } = call;
    let id = execute.ensure_id();
    // With `onDisconnect: "continue"`, an abandoned call still waits for the acceptance.
    let mut may_abandon = execute.on_disconnect == OnDisconnect::Cancel;
    let mut call = tokio::select! {
        biased;
        () = signals.cancelled.cancelled() => return Err(ended_early(id)),
        () = signals.abandoned(), if may_abandon => return Err(ended_early(id)),
        call = slots.call(Purpose::View) => call?,
    };
    let mut run = call.client.execute(execute)?;
    let mut text = Text::new(0, slots.settings().text_bytes);
    loop {
        let event = tokio::select! {
            // A cancel first, so that much output does not delay it.
            biased;
            () = signals.cancelled.cancelled() => {
                cancel(call, id).await;
                return Err(ended_early(id));
            }
            () = signals.abandoned(), if may_abandon => {
                drop(run);
                call.client.close().await;
                return Err(ended_early(id));
            }
            () = call.stream_closed(&stream_closed) => {
                call.release_slot();
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
            event = run.next() => event.map_err(|error| failed(error, id))?,
        };
        let Some(event) = event else {
            return Err(ended_early(id));
        };
        progress.update(&event);
        match event {
            // An accepted prompt is not sent again, so its memory is released.
            Event::Answer(_) => {
                charge.iter().for_each(Charge::release);
                may_abandon = true;
            }
            Event::Output { offset, bytes } => text.push(offset, &bytes),
            Event::Gap(missing) => text.gap(missing),
            // There is no receiver if the client cannot ask its user.
            Event::Question(question) => drop(questions.send(Change::Asked(question))),
            Event::QuestionClosed { question_id, .. } => {
                drop(questions.send(Change::Closed(question_id)));
            }
            Event::Terminal { update, verdict } => {
                drop(run);
                call.client.close().await;
                return Ok(results::ended(&text, &update.status, verdict));
            }
            _ => {}
        }
    }
}

/// Starts an execution of a prompt, and returns its status as soon as the bridge has accepted it.
/// It is the tool `start`.
///
/// # Errors
/// The bridge refuses the execution or is lost, or too many calls run already.
pub(crate) async fn start(slots: &Slots, mut execute: ExecuteParams) -> Result<Status, Failure> {
    let id = execute.ensure_id();
    let call = slots.call(Purpose::Request).await?;
    let mut run = call.client.execute(execute)?;
    let status = loop {
        match run.next().await {
            Ok(Some(Event::Answer(status))) => break status,
            Ok(Some(_)) => {}
            Ok(None) => return Err(ended_early(id)),
            Err(error) => return Err(failed(error, id)),
        }
    };
    drop(run);
    call.client.close().await;
    Ok(*status)
}

/// Cancels the execution of a call that its MCP client cancelled. It uses the call's own
/// connection, because before the acceptance the bridge accepts a cancel only from the session that
/// sent the `execute`. A failure is logged.
async fn cancel(call: Call, id: ExecutionId) {
    match call.client.control(id, Control::Cancel).await {
        Ok(_) => tracing::info!(
            execution = %id,
            "cancelled the execution, because its MCP client cancelled the call"
        ),
        Err(error) => {
            tracing::warn!(
                execution = %id,
                %error,
                "could not cancel the execution of a cancelled MCP call; the execution may continue"
            );
        }
    }
    call.client.close().await;
}

/// Returns the failure of a call that ended before its execution. It has the id of the execution,
/// which may continue.
fn ended_early(id: ExecutionId) -> Failure {
    Failure::cancelled().with("executionId", id.to_string())
}

/// Converts an error of the bridge client to the failure of an MCP call, with the id of the
/// execution.
fn failed(error: client::Error, id: ExecutionId) -> Failure {
    Failure::from(error).with("executionId", id.to_string())
}

//! Reads the output of existing executions from the bridge, for the tools `wait` and `output`, for
//! resources, and for tasks.

use std::time::Duration;

use client::{AttachParams, Event, OutputCheck, Run};
use protocol::rpc::OnSlow;
use protocol::{ExecutionId, Question, Status};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::failure::Failure;
use crate::progress::Progress;
use crate::questions::OpenQuestions;
use crate::slots::{Call, Purpose, Slots};
use crate::text::Text;

/// The time since the begin of [`wait`] after which it returns while a question is open. So a
/// program that repeats the call without an answer does not repeat it too often.
const OPEN_QUESTION_WAIT: Duration = Duration::from_secs(5);

/// Waits for output of an execution, and returns it with the present status and the open questions.
/// It stops when the execution ends, `time` is over, one result is full, or a question is open and
/// 5 s have passed since the call began. The output begins at `offset`, or, with `None`, at the
/// oldest byte that is kept.
///
/// When `stream_closed` is cancelled, the call no longer counts against the limit on concurrent
/// calls. Dropping the future only stops the messages; the execution continues.
///
/// # Errors
/// The bridge refuses to send the output or is lost, or too many calls run already.
pub(crate) async fn wait(
    slots: &Slots,
    id: ExecutionId,
    offset: Option<u64>,
    time: Duration,
    mut progress: Progress,
    stream_closed: CancellationToken,
) -> Result<(Text, Status, Vec<Question>), Failure> {
    let started = Instant::now();
    let mut end = started + time;
    let mut questions = OpenQuestions::default();
    let mut call = slots.call(Purpose::View).await?;
    let mut run = attach(&call, id, offset);
    let mut text = Text::new(offset.unwrap_or(0), slots.settings().text_bytes);
    let mut terminal = None;
    while !text.is_full() {
        let event = tokio::select! {
            event = run.next() => event?,
            () = call.stream_closed(&stream_closed) => {
                call.release_slot();
                continue;
            }
            () = progress.due() => {
                progress.send().await;
                continue;
            }
            () = tokio::time::sleep_until(end) => break,
        };
        let Some(event) = event else { break };
        progress.update(&event);
        if questions.event(&event) {
            end = end.min(started + OPEN_QUESTION_WAIT);
        }
        if let Some((status, _)) = collect(event, &mut text) {
            terminal = Some(status);
            break;
        }
    }
    drop(run);
    let (text, status) = finish(call, id, text, terminal).await?;
    let questions = questions.of(&status);
    Ok((text, status, questions))
}

/// Returns the output of an execution that exists now, at most `max` bytes, with the present
/// status. Does not wait for more output. The output begins at `offset`, or, with `None`, at the
/// oldest byte that is kept.
///
/// # Errors
/// As [`wait`].
pub(crate) async fn output(
    slots: &Slots,
    id: ExecutionId,
    offset: Option<u64>,
    max: usize,
) -> Result<(Text, Status), Failure> {
    let call = slots.call(Purpose::View).await?;
    let mut run = attach(&call, id, offset);
    let mut text = Text::new(offset.unwrap_or(0), max);
    let (mut available, mut terminal) = (None, None);
    while !text.is_full() && available.is_none_or(|bytes| text.next() < bytes) {
        let Some(event) = run.next().await? else {
            break;
        };
        if let Event::Answer(status) = &event {
            available = Some(status.output_bytes);
        }
        if let Some((status, _)) = collect(event, &mut text) {
            terminal = Some(status);
        }
    }
    drop(run);
    finish(call, id, text, terminal).await
}

/// Returns the output and status of an ended execution, and whether the output is complete. The
/// tool `execute` would have returned the same.
///
/// # Errors
/// As [`wait`].
pub(crate) async fn ended(
    slots: &Slots,
    id: ExecutionId,
) -> Result<(Text, Status, OutputCheck), Failure> {
    let call = slots.call(Purpose::View).await?;
    let mut run = attach(&call, id, None);
    let mut text = Text::new(0, slots.settings().text_bytes);
    while let Some(event) = run.next().await? {
        if let Some((status, verdict)) = collect(event, &mut text) {
            drop(run);
            call.client.close().await;
            return Ok((text, status, verdict));
        }
    }
    Err(client::Error::Closed.into())
}

fn attach(call: &Call, id: ExecutionId, offset: Option<u64>) -> Run {
    call.client.attach(AttachParams {
        execution_id: id,
        offset,
        on_slow: OnSlow::Wait,
    })
}

/// Adds the output or the gap in an event to the text. Returns the final status if the event is the
/// end of the execution, and `None` for every other event.
fn collect(event: Event, text: &mut Text) -> Option<(Status, OutputCheck)> {
    match event {
        Event::Output { offset, bytes } => text.push(offset, &bytes),
        Event::Gap(missing) => text.gap(missing),
        Event::Terminal { update, verdict } => return Some((update.status, verdict)),
        _ => {}
    }
    None
}

/// Returns the output and status of a call, and closes its connection to the bridge. If the
/// execution has not ended (`terminal` is `None`), requests its present status first.
async fn finish(
    call: Call,
    id: ExecutionId,
    text: Text,
    terminal: Option<Status>,
) -> Result<(Text, Status), Failure> {
    let status = match terminal {
        Some(status) => status,
        None => call.client.status(id).await?,
    };
    call.client.close().await;
    Ok((text, status))
}

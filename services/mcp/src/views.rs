//! Reads the output of existing executions, for the tools `wait` and `output`, resources and tasks.

use std::time::Duration;

use client::{AttachParams, Event, Run, Verdict};
use protocol::rpc::OnSlow;
use protocol::{ExecutionId, Status};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::failure::Failure;
use crate::progress::Progress;
use crate::slots::{Call, Purpose, Slots};
use crate::text::Text;

/// Collects output from an offset, or from the oldest kept byte, until the execution ends, `time`
/// is over, or one result is full. Returns the output and the present status.
///
/// When `stream_closed` is cancelled, the call no longer counts against the limit on concurrent
/// calls. Dropping the future only detaches; the execution continues.
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
) -> Result<(Text, Status), Failure> {
    let end = Instant::now() + time;
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
        if let Some((status, _)) = collect(event, &mut text) {
            terminal = Some(status);
            break;
        }
    }
    drop(run);
    finish(call, id, text, terminal).await
}

/// Collects the output that exists now, at most `max` bytes from an offset, or from the oldest kept
/// byte. Returns the output and the present status, without waiting for more output.
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

/// Collects the output of an ended execution. Returns what `execute` would have returned: the
/// output, the status, and whether the output is complete.
///
/// # Errors
/// As [`wait`].
pub(crate) async fn ended(
    slots: &Slots,
    id: ExecutionId,
) -> Result<(Text, Status, Verdict), Failure> {
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

/// Adds the output or the gap of an event to the text. Returns the status if the event is the end
/// of the execution; otherwise None.
fn collect(event: Event, text: &mut Text) -> Option<(Status, Verdict)> {
    match event {
        Event::Output { offset, bytes } => text.push(offset, &bytes),
        Event::Gap(missing) => text.gap(missing),
        Event::Terminal { update, verdict } => return Some((update.status, verdict)),
        _ => {}
    }
    None
}

/// Closes the connection of a call, and returns its result. Requests the status first if the
/// execution has not ended.
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

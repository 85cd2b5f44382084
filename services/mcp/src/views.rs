//! Looks at executions that exist.

use std::time::Duration;

use client::{AttachParams, Event, Run, Verdict};
use protocol::rpc::OnSlow;
use protocol::{ExecutionId, Status};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::failure::Failure;
use crate::places::{Call, Places, Purpose};
use crate::progress::Progress;
use crate::text::Text;

/// Collects output from an offset on until the execution ends, the time is over, or one result is
/// full; then the output and the present status. `lost` says that the response stream is lost.
/// Dropping the future only detaches.
///
/// # Errors
/// The bridge refuses the view or is lost, or no place is free.
pub(crate) async fn wait(
    places: &Places,
    id: ExecutionId,
    offset: Option<u64>,
    time: Duration,
    mut progress: Progress,
    lost: CancellationToken,
) -> Result<(Text, Status), Failure> {
    let end = Instant::now() + time;
    let mut call = places.call(Purpose::View).await?;
    let mut run = attach(&call, id, offset);
    let mut text = Text::new(offset.unwrap_or(0), places.settings().text_bytes);
    let mut terminal = None;
    while !text.is_full() {
        let event = tokio::select! {
            event = run.next() => event?,
            () = call.lost(&lost) => {
                call.give_back();
                continue;
            }
            () = progress.due() => {
                progress.send().await;
                continue;
            }
            () = tokio::time::sleep_until(end) => break,
        };
        let Some(event) = event else { break };
        progress.note(&event);
        if let Some((status, _)) = take(event, &mut text) {
            terminal = Some(status);
            break;
        }
    }
    drop(run);
    finish(call, id, text, terminal).await
}

/// Collects the output that is there already, from an offset on, at most `most` bytes. Without an
/// offset it begins with the first byte that is kept.
///
/// # Errors
/// As [`wait`].
pub(crate) async fn output(
    places: &Places,
    id: ExecutionId,
    offset: Option<u64>,
    most: usize,
) -> Result<(Text, Status), Failure> {
    let call = places.call(Purpose::View).await?;
    let mut run = attach(&call, id, offset);
    let mut text = Text::new(offset.unwrap_or(0), most);
    let (mut available, mut terminal) = (None, None);
    while !text.is_full() && available.is_none_or(|bytes| text.next() < bytes) {
        let Some(event) = run.next().await? else {
            break;
        };
        if let Event::Answer(status) = &event {
            available = Some(status.output_bytes);
        }
        if let Some((status, _)) = take(event, &mut text) {
            terminal = Some(status);
        }
    }
    drop(run);
    finish(call, id, text, terminal).await
}

/// Reads an execution that has ended, as `execute` would have returned it.
///
/// # Errors
/// As [`wait`].
pub(crate) async fn ended(
    places: &Places,
    id: ExecutionId,
) -> Result<(Text, Status, Verdict), Failure> {
    let call = places.call(Purpose::View).await?;
    let mut run = attach(&call, id, None);
    let mut text = Text::new(0, places.settings().text_bytes);
    while let Some(event) = run.next().await? {
        if let Some((status, verdict)) = take(event, &mut text) {
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

/// Takes output; the terminal status, if this is it.
fn take(event: Event, text: &mut Text) -> Option<(Status, Verdict)> {
    match event {
        Event::Output { offset, bytes } => text.push(offset, &bytes),
        Event::Gap(gone) => text.gap(gone),
        Event::Terminal { update, verdict } => return Some((update.status, verdict)),
        _ => {}
    }
    None
}

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

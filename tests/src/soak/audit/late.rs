//! A client that attaches long after the end of an execution.

use std::panic::AssertUnwindSafe;

use futures::FutureExt;

use crate::{
    harness::Stack,
    soak::{execution::Execution, isolation::Exempt, panic_message, world::World},
    ws,
};

/// Runs [`late_viewer`] and turns a panic of its client into a violation.
pub(super) async fn seen(
    world: &World,
    stack: &Stack,
    execution: &Execution,
) -> Result<(), String> {
    let viewer = AssertUnwindSafe(late_viewer(world, stack, execution));
    viewer.catch_unwind().await.unwrap_or_else(|panic| {
        Err(format!(
            "{}: {}",
            execution.id,
            panic_message(panic.as_ref())
        ))
    })
}

/// Checks that a client that attaches long after the end receives all output, or a gap and the
/// rest.
async fn late_viewer(world: &World, stack: &Stack, execution: &Execution) -> Result<(), String> {
    let owner = world.owner(execution);
    let options = ws::Options {
        token: owner.token.clone(),
        record: true,
        ..ws::Options::default()
    };
    let mut client = ws::Client::connect_with(stack.ws_addr(), options).await;
    client
        .attach(&execution.id, None)
        .await
        .map_err(|error| format!("{}: {error}", execution.id))?;
    let (output, end) = client.wait_terminal(&execution.id).await;
    let from = client.gaps(&execution.id).last().map_or(0, |gap| gap.1);
    execution.content(from, &output)?;
    world.judge(execution, &end, true)?;
    for message in client.recorded() {
        if let ws::Recorded::Received(text) = message {
            world.check_isolation(owner, &text, Exempt::default())?;
        }
    }
    client.finish().await;
    Ok(())
}

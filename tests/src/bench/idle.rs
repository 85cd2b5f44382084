//! The cost of an idle session.

use std::time::Duration;

use super::{floor::megabytes, report::Report, wire::Wire};
use crate::harness::Stack;

/// The time for allocations to settle.
const SETTLE: Duration = Duration::from_millis(500);

/// Resident memory of the bridge for each idle session.
pub(super) async fn sessions(
    report: &mut Report,
    stack: &Stack,
    count: usize,
) -> anyhow::Result<()> {
    // The first sessions cause the one-time allocations.
    let mut open = Vec::with_capacity(count + 20);
    for _ in 0..20 {
        open.push(Wire::open(stack.ws_addr(), true).await?);
    }
    tokio::time::sleep(SETTLE).await;
    let before = stack.bridge.resident_bytes();
    for _ in 0..count {
        open.push(Wire::open(stack.ws_addr(), true).await?);
    }
    tokio::time::sleep(SETTLE).await;
    let grown = stack.bridge.resident_bytes().saturating_sub(before);
    let each = grown / u64::try_from(count.max(1)).unwrap_or(1);
    let name = format!("memory of an idle client, {count} of them");
    report.cost(
        &name,
        megabytes(each) * 1e6 / 1024.0,
        "KiB",
        Some(16.0),
        None,
    );
    Ok(())
}

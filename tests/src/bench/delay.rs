//! The delay of each line, from the moment before the CLI writes it until the client has parsed it.

use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;

use super::{
    cli::now,
    floor::{self, milliseconds},
    report::{Report, percentile},
    wire::{Came, Wire, content},
};
use crate::harness::Stack;

/// The rate of one session in lines a second, which is that of a fast model.
const RATE: u64 = 50;
/// The warm-up, so the start of many processes is not measured.
const WARM: u64 = 25;

/// Measures p50 and p99 with this number of sessions.
pub(super) async fn lines(
    report: &mut Report,
    stack: &Stack,
    sessions: usize,
    time: Duration,
) -> anyhow::Result<()> {
    let mut all = JoinSet::new();
    for _ in 0..sessions {
        let mut wire = Wire::open(stack.ws_addr(), true).await?;
        let prompt = format!("{RATE} {}", time.as_secs().max(1) + 1);
        wire.execute(&prompt, json!({"model": "bench-stamps"}))
            .await?;
        all.spawn(async move {
            let mut delays = Vec::new();
            loop {
                match wire.next().await? {
                    Came::Output { text, .. } => {
                        let at = now();
                        let content = content(&text);
                        let stamps = content
                            .split_whitespace()
                            .filter_map(|word| word.parse::<u64>().ok());
                        delays.extend(stamps.map(|stamp| milliseconds(at.saturating_sub(stamp))));
                    }
                    Came::End(end) => {
                        anyhow::ensure!(end.state == "completed", "it ended {}", end.state);
                        return Ok(
                            delays.split_off(delays.len().min(usize::try_from(WARM).unwrap_or(0)))
                        );
                    }
                }
            }
        });
    }
    let mut delays: Vec<f64> = Vec::new();
    while let Some(done) = all.join_next().await {
        delays.extend(done??);
    }
    let name = |what: &str| format!("delay of a line, {sessions} sessions at {RATE}/s, {what}");
    let target = (sessions == 10).then_some(5.0);
    report.cost(&name("p50"), percentile(&mut delays, 0.5), "ms", None, None);
    report.cost(
        &name("p99"),
        percentile(&mut delays, 0.99),
        "ms",
        target,
        report.value(floor::DELAY_99),
    );
    Ok(())
}

//! Attempts against one operator, and executions that the operator allows.

use std::time::Duration;

use futures::StreamExt;

use super::attempt::Attempt;
use super::place::Place;
use crate::pause::World;

/// How many executions run at the same time: more would only wait for the two cores of a runner.
const AT_ONCE: usize = 4;
/// The maximum time of one execution.
const PATIENCE: Duration = Duration::from_secs(60);

/// The operator's settings, and attempts to pass them.
pub(super) struct Table {
    /// The variables of claude-api.
    pub(super) operator: Vec<(&'static str, String)>,
    /// Executions within the ceiling. Each must leave its trace, which shows that a trace is seen.
    pub(super) controls: Vec<(Attempt, &'static str)>,
    /// Executions that must leave no trace.
    pub(super) attempts: Vec<Attempt>,
}

/// Returns the variables of an operator who allows no tool unasked.
pub(super) fn operator(more: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
    let none = [("CLAUDE_API_ALLOWED_TOOLS", "")];
    let all = none.iter().chain(more);
    all.map(|(name, value)| (*name, (*value).to_owned()))
        .collect()
}

impl Table {
    /// Runs all executions of the table, each in a workspace of its own.
    pub(super) async fn hold(self) {
        let Self {
            operator,
            controls,
            attempts,
        } = self;
        let operator: Vec<_> = operator
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let world = World::new(&operator).await;
        let (place_in, http) = (&world, &world.stack.http());
        let controls = controls
            .into_iter()
            .map(|(control, trace)| (control, Some(trace)));
        let all = controls.chain(attempts.into_iter().map(|attempt| (attempt, None)));
        let runs = all
            .enumerate()
            .map(|(number, (attempt, expected))| async move {
                let name = attempt.name;
                let run = attempt.run(http, Place::make(place_in, number));
                let traces = match tokio::time::timeout(PATIENCE, run).await {
                    Ok(Ok(traces)) => traces,
                    Ok(Err(mistake)) => return Some(mistake),
                    Err(_) => return Some(format!("{name}: did not end within {PATIENCE:?}")),
                };
                let is_good = match expected {
                    Some(trace) => traces.contains(&trace),
                    None => traces.is_empty(),
                };
                (!is_good).then(|| format!("{name}: {traces:?}, expected {expected:?}"))
            });
        let wrong: Vec<_> = futures::stream::iter(runs)
            .buffer_unordered(AT_ONCE)
            .filter_map(|wrong| async { wrong })
            .collect()
            .await;
        let settings = world.path("home/.claude/settings.json");
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert!(!settings.exists(), "an execution wrote the user's settings");
        world.end();
    }
}

//! Budgets: the cost that a principal may cause on one day, and that one execution may cause.

use std::sync::Arc;

use protocol::{Problem, ProblemType, Status};

use super::Service;
use crate::access::Caller;
use crate::access::spending::next_day;

impl Service {
    /// Returns the budget of a new execution, in US dollars: the one that the client asks for, or
    /// else the most that its token permits. The budget is never more than the rest of the
    /// principal's budget of the day. `None` means no limit.
    ///
    /// Without the service `credentials`, the cost of an execution is known when it ends. So
    /// executions that run at the same time can together exceed the day's budget. Each can exceed
    /// it by what was left when it was accepted. With that service, see [`Service::watch_budgets`].
    ///
    /// # Errors
    /// 403 `forbidden` if the client asks for more than its token permits; 403 `budget-spent`, with
    /// `resetsAt`, if nothing is left of the day.
    pub(super) fn permitted_budget(
        &self,
        caller: &Caller,
        asked: Option<f64>,
    ) -> Result<Option<f64>, Problem> {
        let Some(row) = caller.row() else {
            return Ok(asked);
        };
        let most = row.token.max_budget_usd;
        if let (Some(asked), Some(most)) = (asked, most)
            && asked > most
        {
            return Err(Problem::new(
                ProblemType::Forbidden,
                format!("maxBudgetUsd is {asked}, but this token permits at most {most}"),
            ));
        }
        let budget = asked.or(most);
        let left = self.budget_left(&row.token.principal)?;
        Ok(match (budget, left) {
            (Some(budget), Some(left)) => Some(budget.min(left)),
            (budget, left) => budget.or(left),
        })
    }

    /// Returns the rest of a principal's budget of the day, in US dollars. `None` if it has no such
    /// budget.
    ///
    /// # Errors
    /// 403 `budget-spent`, with `resetsAt`, if nothing is left.
    pub(super) fn budget_left(&self, principal: &str) -> Result<Option<f64>, Problem> {
        let access = &self.engine.access;
        let limits = access.table().map(|table| table.limits_of(principal));
        let Some(budget) = limits.and_then(|limits| limits.budget_usd_per_day) else {
            return Ok(None);
        };
        let now = access.clock.now();
        let spent = access.spending.spent(principal, now);
        if spent < budget {
            return Ok(Some(budget - spent));
        }
        let resets_at = next_day(now);
        Err(Problem::new(
            ProblemType::BudgetSpent,
            format!(
                "the principal {principal:?} has spent its budget of {budget} USD for this day \
                 (UTC); try again at {resets_at}, or ask the operator to raise budgetUsdPerDay"
            ),
        )
        .with("resetsAt", resets_at.to_string()))
    }

    /// Exhausts the grants of each principal whose running executions have used up the rest of its
    /// budget of the day. Their CLIs then get 402 for their next requests. Checks this after each
    /// answer of the API that `credentials` reports. Never returns; returns immediately without
    /// that service.
    pub(crate) async fn watch_budgets(self: Arc<Self>) {
        let Some(credentials) = &self.engine.credentials else {
            return;
        };
        let mut changes = credentials.cost_changes();
        while changes.changed().await.is_ok() {
            for (principal, running) in credentials.costs() {
                if self.is_budget_spent(&principal, &running) {
                    tracing::info!(
                        principal,
                        "a principal has used up its budget of the day; its executions get no \
                         further answers of the model"
                    );
                    credentials.exhaust(&principal);
                }
            }
        }
    }

    /// Returns whether a principal has used up its budget of the day, with the costs of its running
    /// executions.
    fn is_budget_spent(&self, principal: &str, running: &[(String, f64)]) -> bool {
        let access = &self.engine.access;
        let limits = access.table().map(|table| table.limits_of(principal));
        let Some(budget) = limits.and_then(|limits| limits.budget_usd_per_day) else {
            return false;
        };
        let now = access.clock.now();
        access.spending.spent_with(principal, running, now) >= budget
    }

    /// Adds the cost of an execution that ends to its principal's day, before the end is recorded.
    /// Does nothing for an execution without a principal or a known cost. A failed write is logged.
    /// Blocks on the disk.
    pub(super) fn count_cost(&self, status: &Status) {
        let (Some(principal), Some(usd)) = (&status.principal, status.cost_usd) else {
            return;
        };
        let access = &self.engine.access;
        let now = access.clock.now();
        let id = status.execution_id;
        if let Err(error) = access.spending.add(principal, id, usd, now) {
            tracing::error!(
                execution = %id,
                %error,
                "could not write the cost of an execution to disk; a restart forgets it, and the \
                 budget of its principal with it"
            );
        }
    }
}

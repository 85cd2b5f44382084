//! How the reports about the CLI's requests change the status: its cost, and warnings about the way
//! to the API.

use serde_json::json;

use super::Machine;
use crate::credentials::Charges;

/// The code of the warning that the service `credentials` was away during the execution.
const CREDENTIALS_RESTARTED: &str = "credentials_restarted";

impl Machine {
    /// Takes over the charges of the CLI's grant. Has no effect if they are unchanged.
    pub(crate) fn charged(&mut self, charges: &Charges) {
        let restarts = charges.restarts;
        let restarted = restarts > self.charges.restarts;
        self.charges = *charges;
        self.update_cost();
        if restarted {
            self.credentials_restarted(restarts);
        }
    }

    /// Sets the cost in the status to the larger of the two counts: that of the CLI, and that of
    /// the answers which `credentials` forwarded. The CLI counts nothing before its first result,
    /// and nothing that a tool asked with the same grant.
    pub(super) fn update_cost(&mut self) {
        let counts = [self.cli_cost_usd, self.charges.cost_usd];
        let cost = counts.into_iter().flatten().reduce(f64::max);
        self.changed |= self.status.cost_usd != cost;
        self.status.cost_usd = cost;
    }

    /// Returns when the usage limit is reset, in Unix seconds. The CLI knows it for a login only;
    /// else the API's last answer says it. `None` if neither does.
    pub(crate) fn resets_at(&self) -> Option<i64> {
        let reported = || {
            let seconds = self.charges.resets_at_ms?.div_ceil(1000);
            i64::try_from(seconds).ok()
        };
        self.resets_at.or_else(reported)
    }

    /// Returns whether a budget for which `credentials` refuses further requests is used up.
    pub(crate) fn budget_is_spent(&self) -> bool {
        self.charges.is_exhausted
    }

    /// Adds the warning that the connection of `credentials` was lost. A later call only updates
    /// the number, because the list of warnings is short.
    fn credentials_restarted(&mut self, restarts: u64) {
        let data = json!({ "restarts": restarts });
        let mut warnings = self.status.warnings.iter_mut();
        if let Some(warning) = warnings.find(|warning| warning.code == CREDENTIALS_RESTARTED) {
            warning.data = data;
            self.changed = true;
            return;
        }
        self.warn(
            CREDENTIALS_RESTARTED,
            "the service credentials restarted or lost its connection: requests to the model were \
             cut or delayed, and the CLI repeated them"
                .to_owned(),
            data,
        );
    }
}

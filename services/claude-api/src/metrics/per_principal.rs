//! The counters with the name of a principal as a label. The operator turns them on with
//! `--metrics-per-principal`.

use std::collections::HashSet;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::{Registry, Unit};
use protocol::{State, Status};

use super::usage::{TOKENS, positive_cost, token_count};

/// The label value for executions without a principal. No principal has this name, because a name
/// has no underscore.
const NOBODY: &str = "_none";
/// The label value for principals beyond [`NAMES`].
const OTHERS: &str = "_other";
/// The maximum number of principals with series of their own since the start of the service. The
/// names come from the operator's token file alone. The limit keeps a file that changes all the
/// time from filling the memory; further principals count as `_other`.
const NAMES: usize = 1000;

/// The label of the cost of a principal.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PrincipalLabel {
    principal: String,
}

/// The labels of the ended executions of a principal.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PrincipalEndLabels {
    principal: String,
    state: &'static str,
}

/// The labels of the model tokens of a principal.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PrincipalTokenLabels {
    principal: String,
    kind: &'static str,
}

/// Counters by principal. The series of a principal begin with its first accepted execution.
#[derive(Debug)]
pub(super) struct PerPrincipal {
    ended: Family<PrincipalEndLabels, Counter>,
    tokens: Family<PrincipalTokenLabels, Counter>,
    cost: Family<PrincipalLabel, Counter<f64, AtomicU64>>,
    /// The principals that have series. A lock, because a name is looked up and added in one step;
    /// no await happens inside.
    names: Mutex<HashSet<String>>,
}

impl PerPrincipal {
    /// Registers the counters, without any series.
    pub(super) fn register(registry: &mut Registry) -> Self {
        let (ended, tokens, cost) = (Family::default(), Family::default(), Family::default());
        registry.register(
            "principal_executions_ended",
            "Executions that ended, by principal and state",
            ended.clone(),
        );
        registry.register(
            "principal_tokens",
            "Tokens of ended executions, by principal, from the results of the CLI",
            tokens.clone(),
        );
        registry.register_with_unit(
            "principal_cost",
            "Cost of ended executions in US dollars, by principal, from the results of the CLI",
            Unit::Other("usd".to_owned()),
            cost.clone(),
        );
        Self {
            ended,
            tokens,
            cost,
            names: Mutex::default(),
        }
    }

    /// Creates the series of a principal with the value 0, unless they exist.
    pub(super) fn accepted(&self, principal: Option<&str>) {
        let principal = self.label(principal);
        for state in State::ALL.into_iter().filter(|state| state.is_terminal()) {
            let labels = PrincipalEndLabels {
                principal: principal.clone(),
                state: state.as_str(),
            };
            drop(self.ended.get_or_create(&labels));
        }
        for (kind, _) in TOKENS {
            let principal = principal.clone();
            let labels = PrincipalTokenLabels { principal, kind };
            drop(self.tokens.get_or_create(&labels));
        }
        drop(self.cost.get_or_create(&PrincipalLabel { principal }));
    }

    /// Counts an ended execution of a principal, with its tokens and its cost.
    pub(super) fn ended(&self, status: &Status) {
        let principal = self.label(status.principal.as_deref());
        let labels = PrincipalEndLabels {
            principal: principal.clone(),
            state: status.state.as_str(),
        };
        self.ended.get_or_create(&labels).inc();
        for (kind, member) in TOKENS {
            if let Some(count) = token_count(status, member) {
                let principal = principal.clone();
                let labels = PrincipalTokenLabels { principal, kind };
                self.tokens.get_or_create(&labels).inc_by(count);
            }
        }
        if let Some(cost) = positive_cost(status) {
            let labels = PrincipalLabel { principal };
            self.cost.get_or_create(&labels).inc_by(cost);
        }
    }

    /// Returns the label value of a principal.
    fn label(&self, principal: Option<&str>) -> String {
        let Some(name) = principal else {
            return NOBODY.to_owned();
        };
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if names.contains(name) || names.len() < NAMES {
            names.insert(name.to_owned());
            return name.to_owned();
        }
        OTHERS.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn principals_beyond_the_limit_share_one_label_value() {
        let counters = PerPrincipal::register(&mut Registry::default());
        for number in 0..NAMES {
            let name = format!("p{number}");
            assert_eq!(counters.label(Some(&name)), name);
        }
        assert_eq!(counters.label(Some("one-more")), OTHERS);
        assert_eq!(counters.label(Some("p0")), "p0");
        assert_eq!(counters.label(None), NOBODY);
    }
}

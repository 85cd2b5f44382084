//! The label types of the metrics. Every value comes from a fixed list, except the names of
//! principals ([`super::per_principal`]).

use prometheus_client::encoding::EncodeLabelSet;
use protocol::webhook::{WebhookEvent, WebhookOutcome};
use protocol::{ProblemType, Reason, State};

/// The value of the label `reason` for an end without a reason, because a label cannot be missing.
const NO_REASON: &str = "none";
/// The labels `state` and `reason` of the counter of ended executions.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct EndLabels {
    state: &'static str,
    reason: &'static str,
}

impl EndLabels {
    /// Returns the labels for an end; a missing reason becomes `none`.
    pub(super) fn new(state: State, reason: Option<Reason>) -> Self {
        Self {
            state: state.as_str(),
            reason: reason.map_or(NO_REASON, Reason::as_str),
        }
    }
}

/// The label `state` of a gauge: the state of executions, or of budgets.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct StateLabel {
    pub(super) state: &'static str,
}

/// The label `kind` of the counter of model tokens, such as `input`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct KindLabel {
    pub(super) kind: &'static str,
}

/// The label `track` of the counter of dropped bytes, `output` or `events`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct TrackLabel {
    pub(super) track: &'static str,
}

/// The label `reason` of a refused HTTP request, of an obstacle or of a warning.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ReasonLabel {
    reason: String,
}

impl ReasonLabel {
    /// Returns the label for a code, with `_` for `-`, as the bridge spells its reasons:
    /// `no_room` for `no-room`.
    pub(super) fn new(code: &str) -> Self {
        Self {
            reason: code.replace('-', "_"),
        }
    }

    /// Returns the label for a problem type: `queue_full` for `queue-full`.
    pub(super) fn problem(kind: ProblemType) -> Self {
        Self::new(kind.as_str())
    }
}

/// The labels `event` and `result` of the counter of attempts to deliver webhooks.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct WebhookLabels {
    event: &'static str,
    result: &'static str,
}

impl WebhookLabels {
    /// Returns the labels for the result of an attempt.
    pub(super) fn new(event: WebhookEvent, outcome: WebhookOutcome) -> Self {
        Self {
            event: event.as_str(),
            result: outcome.as_str(),
        }
    }
}

//! The counters of questions: how many were asked, and how many were closed by each cause.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use protocol::question::ClosedBy;

/// All causes for which a question is closed.
pub(super) const CAUSES: [ClosedBy; 4] = [
    ClosedBy::Answer,
    ClosedBy::Timeout,
    ClosedBy::End,
    ClosedBy::Withdrawn,
];

/// The label `cause` of the counter of closed questions.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CauseLabel {
    cause: &'static str,
}

/// The counters of questions. Clones share the same numbers.
#[derive(Debug, Clone, Default)]
pub(crate) struct QuestionCounters {
    asked: Counter,
    closed: Family<CauseLabel, Counter>,
}

impl QuestionCounters {
    /// Creates the counters and registers them. Every series has the value 0.
    pub(super) fn register(registry: &mut Registry) -> Self {
        let counters = Self::default();
        for cause in CAUSES {
            drop(counters.closed.get_or_create(&label(cause)));
        }
        registry.register(
            "questions_asked",
            "Questions of executions to a person",
            counters.asked.clone(),
        );
        registry.register(
            "questions_closed",
            "Questions that were closed, by cause",
            counters.closed.clone(),
        );
        counters
    }

    /// Counts a question that was asked.
    pub(crate) fn asked(&self) {
        self.asked.inc();
    }

    /// Counts questions that were closed for this cause.
    pub(crate) fn closed(&self, cause: ClosedBy, count: u64) {
        self.closed.get_or_create(&label(cause)).inc_by(count);
    }
}

fn label(cause: ClosedBy) -> CauseLabel {
    CauseLabel {
        cause: cause.as_str(),
    }
}

//! The numbers of exported and dropped spans.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// The label of a dropped span.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

/// Counts the spans of one service. Clones share the numbers. The series of both reasons exist from
/// the start, with the value 0.
#[derive(Debug, Clone)]
pub struct Counters {
    dropped: Family<ReasonLabel, Counter>,
    /// Spans that the receiver has accepted.
    pub(crate) exported: Counter,
    /// Spans that found the queue full.
    pub(crate) queue_full: Counter,
    /// Spans that could not be sent, or that the receiver refused.
    pub(crate) export_failed: Counter,
}

impl Default for Counters {
    fn default() -> Self {
        let dropped = Family::<ReasonLabel, Counter>::default();
        let counter = |reason| dropped.get_or_create(&ReasonLabel { reason }).clone();
        Self {
            exported: Counter::default(),
            queue_full: counter("queue_full"),
            export_failed: counter("export_failed"),
            dropped,
        }
    }
}

impl Counters {
    /// Adds the counters to the page `/metrics` of a service, as `spans_exported` and
    /// `spans_dropped` with the label `reason`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "spans_exported",
            "Spans that the receiver of traces accepted",
            self.exported.clone(),
        );
        registry.register(
            "spans_dropped",
            "Spans that were not exported, by reason",
            self.dropped.clone(),
        );
    }

    /// Returns the number of dropped spans, for any reason.
    pub(crate) fn dropped(&self) -> u64 {
        self.queue_full.get() + self.export_failed.get()
    }
}

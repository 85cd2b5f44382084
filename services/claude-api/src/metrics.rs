//! The metrics of `/metrics`: counters since the start of the service, and gauges of its present
//! state.
//!
//! - A counter is a relaxed atomic. The data path adds to a counter once for each chunk of output
//!   ([`OutputCounters`]). All other counts happen when an execution starts or ends, or at a rare
//!   event.
//! - State that the service keeps elsewhere is not duplicated here: [`Gauges`] carries it at a
//!   scrape.
//! - Label values come from enumerations only, which bounds the number of series. An id, a lane or
//!   a workspace is never a label. Every series exists from the start, with the value 0.

mod definitions;

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, prometheus_text, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use protocol::{Exposition, ProblemType, Reason, State, Status};
use serde_json::Value;

/// The value of the label `reason` for a state without a reason.
const NO_REASON: &str = "none";
/// The kinds of tokens that are counted: the value of the label `kind`, and the name of the count
/// in the object `usage` of a status, which has the CLI's own names.
const TOKENS: [(&str, &str); 4] = [
    ("input", "input_tokens"),
    ("output", "output_tokens"),
    ("cache_read", "cache_read_input_tokens"),
    ("cache_creation", "cache_creation_input_tokens"),
];

/// The labels of the counter of ended executions.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndLabels {
    state: &'static str,
    reason: &'static str,
}

impl EndLabels {
    fn new(state: State, reason: Option<Reason>) -> Self {
        Self {
            state: state.as_str(),
            reason: reason.map_or(NO_REASON, Reason::as_str),
        }
    }
}

/// The label of the gauge of executions that have not ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabel {
    state: &'static str,
}

/// The label of the counter of tokens.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

/// The label of the counter of dropped bytes: `output` or `events`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TrackLabel {
    track: &'static str,
}

/// The label of the counter of refused requests: the type of the problem.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusalLabel {
    reason: String,
}

impl RefusalLabel {
    /// Returns the label of a problem type, spelled like the reasons of the bridge.
    fn new(kind: ProblemType) -> Self {
        Self {
            reason: kind.as_str().replace('-', "_"),
        }
    }
}

/// The metrics of one service, which `/metrics` shows. Counting is cheap; a scrape holds no lock
/// for longer than the read of one number.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    executions: Family<StateLabel, Gauge>,
    viewers: Gauge,
    spool_bytes: Gauge,
    ended: Family<EndLabels, Counter>,
    refused: Family<RefusalLabel, Counter>,
    tokens: Family<KindLabel, Counter>,
    cost: Counter<f64, AtomicU64>,
    queue: Histogram,
    first_byte: Histogram,
    first_text: Histogram,
    duration: Histogram,
    /// Accepted executions, continuations included.
    pub(crate) accepted: Counter,
    /// The times that an execution made no progress for `stalledMs`.
    pub(crate) stalls: Counter,
    /// Requests to the model's API that the CLI repeated.
    pub(crate) api_retries: Counter,
    /// Answers that began again after they were cut.
    pub(crate) restarts: Counter,
    /// Events of the CLI that could not be read.
    pub(crate) events_lost: Counter,
    /// The bytes of output and events that were produced or dropped.
    pub(crate) output: OutputCounters,
}

/// The counters of the data path, which carries output from the CLI to the disk. Clones share the
/// same numbers.
#[derive(Debug, Clone, Default)]
pub(crate) struct OutputCounters {
    /// Bytes of output that executions produced, dropped bytes included.
    pub(crate) produced: Counter,
    /// Bytes of output that could not be written.
    pub(crate) dropped_output: Counter,
    /// Bytes of raw events that could not be written to a full disk.
    pub(crate) dropped_events: Counter,
}

/// The values of the gauges at a scrape, which describe the executions that have not ended and the
/// disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Gauges {
    /// Executions that wait in the queue.
    pub(crate) queued: i64,
    /// Executions that run.
    pub(crate) running: i64,
    /// Executions that are paused.
    pub(crate) paused: i64,
    /// Open HTTP streams of output or statuses of these executions.
    pub(crate) viewers: i64,
    /// Bytes of all executions on disk, as last measured.
    pub(crate) spool_bytes: u64,
}

impl Metrics {
    /// Adds the time from the acceptance of an execution to its start to the histogram of waiting
    /// times. Does nothing if `status` has no start.
    pub(crate) fn started(&self, status: &Status) {
        if let Some(started) = status.started_at {
            let waited = started.duration_since(status.created_at);
            self.queue.observe(waited.as_secs_f64().max(0.0));
        }
    }

    /// Adds the running time until the first byte of an execution's output to its histogram.
    pub(crate) fn first_byte(&self, after: Duration) {
        self.first_byte.observe(after.as_secs_f64());
    }

    /// Adds the running time until the first text of the model in an execution to its histogram.
    pub(crate) fn first_text(&self, after: Duration) {
        self.first_text.observe(after.as_secs_f64());
    }

    /// Counts an ended execution: its state and reason, its running time, its tokens and its cost.
    pub(crate) fn ended(&self, status: &Status) {
        let labels = EndLabels::new(status.state, status.reason);
        self.ended.get_or_create(&labels).inc();
        if let Some(ms) = status.duration_ms.filter(|_| status.started_at.is_some()) {
            self.duration
                .observe(Duration::from_millis(ms).as_secs_f64());
        }
        for (kind, member) in TOKENS {
            let count = status.usage.as_ref().and_then(|usage| usage.get(member));
            if let Some(count) = count.and_then(Value::as_u64) {
                self.tokens.get_or_create(&KindLabel { kind }).inc_by(count);
            }
        }
        // Only positive costs: a counter never decreases.
        if let Some(cost) = status
            .cost_usd
            .filter(|cost| cost.is_finite() && *cost > 0.0)
        {
            self.cost.inc_by(cost);
        }
    }

    /// Counts a refused request by the type of its problem.
    pub(crate) fn refused(&self, kind: ProblemType) {
        // `not-ready` is an answer of the health page, which refuses nothing.
        if kind != ProblemType::NotReady {
            let label = RefusalLabel::new(kind);
            self.refused.get_or_create(&label).inc();
        }
    }

    /// Returns the text of the page `/metrics` in `format`, with these values of the gauges.
    pub(crate) fn page(&self, gauges: Gauges, format: Exposition) -> String {
        let Gauges {
            queued,
            running,
            paused,
            viewers,
            spool_bytes,
        } = gauges;
        for (state, count) in [
            (State::Queued, queued),
            (State::Running, running),
            (State::Paused, paused),
        ] {
            let state = state.as_str();
            self.executions
                .get_or_create(&StateLabel { state })
                .set(count);
        }
        self.viewers.set(viewers);
        self.spool_bytes
            .set(i64::try_from(spool_bytes).unwrap_or(i64::MAX));
        let mut page = String::new();
        let encoded = match format {
            Exposition::OpenMetrics => text::encode(&mut page, &self.registry),
            Exposition::Text => prometheus_text::encode(&mut page, &self.registry),
        };
        if let Err(error) = encoded {
            tracing::error!(%error, "could not encode all metrics; the answer is incomplete");
        }
        page
    }
}

#[cfg(test)]
mod tests;

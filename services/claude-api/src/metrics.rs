//! The Prometheus metrics of the page `/metrics`: counters since the start of the service, and
//! gauges of its present state.
//!
//! - A counter is a relaxed atomic. The path of the output adds to a counter once for each chunk
//!   ([`OutputCounters`]). All other counts happen when an execution starts or ends, or at a rare
//!   event.
//! - State that the service keeps elsewhere is not duplicated here: [`Gauges`] carries it when the
//!   page is read.
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
use protocol::webhook::{WebhookEvent, WebhookOutcome};
use protocol::{Exposition, ProblemType, Reason, State, Status};
use serde_json::Value;

/// The value of the label `reason` for an end without a reason, because a label cannot be missing.
const NO_REASON: &str = "none";
/// The kinds of model tokens that are counted. Each pair is a value of the label `kind`, and the
/// name of that count in the object `usage` of a status, as the CLI spells it.
const TOKENS: [(&str, &str); 4] = [
    ("input", "input_tokens"),
    ("output", "output_tokens"),
    ("cache_read", "cache_read_input_tokens"),
    ("cache_creation", "cache_creation_input_tokens"),
];

/// The labels `state` and `reason` of the counter of ended executions.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndLabels {
    state: &'static str,
    reason: &'static str,
}

impl EndLabels {
    /// Returns the labels for an end; a missing reason becomes `none`.
    fn new(state: State, reason: Option<Reason>) -> Self {
        Self {
            state: state.as_str(),
            reason: reason.map_or(NO_REASON, Reason::as_str),
        }
    }
}

/// The label `state` of the gauge of executions that have not ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabel {
    state: &'static str,
}

/// The label `kind` of the counter of model tokens, such as `input`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

/// The label `track` of the counter of dropped bytes, `output` or `events`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TrackLabel {
    track: &'static str,
}

/// The label `reason` of the counter of refused HTTP requests: the type of the problem in the
/// answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusalLabel {
    reason: String,
}

impl RefusalLabel {
    /// Returns the label for a problem type, with `_` for `-`, as the bridge spells its reasons:
    /// `queue_full` for `queue-full`.
    fn new(kind: ProblemType) -> Self {
        Self {
            reason: kind.as_str().replace('-', "_"),
        }
    }
}

/// The labels `event` and `result` of the counter of tries to deliver webhooks.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WebhookLabels {
    event: &'static str,
    result: &'static str,
}

impl WebhookLabels {
    /// Returns the labels for a result.
    fn new(event: WebhookEvent, outcome: WebhookOutcome) -> Self {
        Self {
            event: event.as_str(),
            result: outcome.as_str(),
        }
    }
}

/// The metrics of one service, which the page `/metrics` shows. Counting costs little more than an
/// atomic addition. Reading the page holds no lock for longer than the read of one number.
#[derive(Debug)]
pub(crate) struct Metrics {
    /// The Prometheus client's list of all metrics, with their names and help texts.
    registry: Registry,
    /// The number of executions that have not ended, by state.
    executions: Family<StateLabel, Gauge>,
    /// The number of open HTTP streams of these executions.
    viewers: Gauge,
    /// The size of all executions on disk, in bytes.
    spool_bytes: Gauge,
    /// Counts the ended executions, by state and reason.
    ended: Family<EndLabels, Counter>,
    /// Counts the refused HTTP requests, by the type of the problem.
    refused: Family<RefusalLabel, Counter>,
    /// Counts the model tokens of ended executions, by kind.
    tokens: Family<KindLabel, Counter>,
    /// The cost of ended executions, in US dollars.
    cost: Counter<f64, AtomicU64>,
    /// The times from acceptance to start, in seconds.
    queue: Histogram,
    /// The running times until the first byte of output, in seconds.
    first_byte: Histogram,
    /// The running times until the first text of the model, in seconds.
    first_text: Histogram,
    /// The running times of ended executions, without pauses, in seconds.
    duration: Histogram,
    /// Counts the accepted executions, including continuations.
    pub(crate) accepted: Counter,
    /// Counts how often an execution made no progress for `stalledMs`.
    pub(crate) stalls: Counter,
    /// Counts the requests to the model's API that the CLI repeated after an error.
    pub(crate) api_retries: Counter,
    /// Counts the answers of the model that were cut off and started again.
    pub(crate) restarts: Counter,
    /// Counts the events (JSON lines on the CLI's stdout) that could not be read.
    pub(crate) events_lost: Counter,
    /// Counts the bytes of output and events that were produced or dropped.
    pub(crate) output: OutputCounters,
    /// Counts the tries to deliver webhooks, by event and result.
    webhooks: Family<WebhookLabels, Counter>,
    /// The number of webhook events that are to be delivered.
    webhooks_pending: Gauge,
}

/// The counters of bytes on the way from the CLI's stdout to the disk. Clones share the same
/// numbers.
#[derive(Debug, Clone, Default)]
pub(crate) struct OutputCounters {
    /// Counts the bytes of output that executions produced, including dropped ones.
    pub(crate) produced: Counter,
    /// Counts the bytes of output that could not be written to disk.
    pub(crate) dropped_output: Counter,
    /// Counts the bytes of raw events (the CLI's stdout) that could not be written, because the
    /// disk was full.
    pub(crate) dropped_events: Counter,
}

/// The values of the gauges at the moment when a monitoring system reads `/metrics`. They describe
/// the executions that have not ended, and the disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Gauges {
    /// The number of executions that wait in the queue.
    pub(crate) queued: i64,
    /// The number of executions that run.
    pub(crate) running: i64,
    /// The number of executions that are paused.
    pub(crate) paused: i64,
    /// The number of open HTTP streams of output or statuses of these executions.
    pub(crate) viewers: i64,
    /// The size of all executions on disk in bytes, as last measured; it is measured every minute.
    pub(crate) spool_bytes: u64,
    /// The number of webhook events that are to be delivered.
    pub(crate) webhooks_pending: i64,
}

impl Metrics {
    /// Records how long an execution waited from its acceptance to its start. Does nothing if
    /// `status` has no start time.
    pub(crate) fn started(&self, status: &Status) {
        if let Some(started) = status.started_at {
            let waited = started.duration_since(status.created_at);
            self.queue.observe(waited.as_secs_f64().max(0.0));
        }
    }

    /// Records the running time of an execution until the first byte of its output.
    pub(crate) fn first_byte(&self, after: Duration) {
        self.first_byte.observe(after.as_secs_f64());
    }

    /// Records the running time of an execution until the first text of the model.
    pub(crate) fn first_text(&self, after: Duration) {
        self.first_text.observe(after.as_secs_f64());
    }

    /// Counts an ended execution by state and reason, and adds its running time, its tokens and its
    /// cost. Values that the CLI did not report are left out.
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

    /// Counts the result of a try to deliver a webhook.
    pub(crate) fn webhook(&self, event: WebhookEvent, outcome: WebhookOutcome) {
        let labels = WebhookLabels::new(event, outcome);
        self.webhooks.get_or_create(&labels).inc();
    }

    /// Counts an HTTP request that was refused, by the type of the problem in the answer.
    /// `not-ready` is not counted: it is the regular answer of a health page.
    pub(crate) fn refused(&self, kind: ProblemType) {
        // `not-ready` is an answer of the health page, which refuses nothing.
        if kind != ProblemType::NotReady {
            let label = RefusalLabel::new(kind);
            self.refused.get_or_create(&label).inc();
        }
    }

    /// Returns the text of the page `/metrics` in `format`, with the given values of the gauges. If
    /// a metric cannot be encoded, the error is logged and the page is incomplete.
    pub(crate) fn page(&self, gauges: Gauges, format: Exposition) -> String {
        let Gauges {
            queued,
            running,
            paused,
            viewers,
            spool_bytes,
            webhooks_pending,
        } = gauges;
        self.webhooks_pending.set(webhooks_pending);
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

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
//! - The counters by principal ([`per_principal`]) are an exception: the operator turns them on
//!   with `--metrics-per-principal`, and their labels have the names of principals.

mod definitions;
mod gauges;
mod labels;
mod model_requests;
mod per_principal;
mod questions;
mod usage;

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::{prometheus_text, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use protocol::webhook::{WebhookEvent, WebhookOutcome};
use protocol::{Exposition, ProblemType, Status};

pub(crate) use gauges::Gauges;
use gauges::StateGauges;
use labels::{EndLabels, KindLabel, ReasonLabel, WebhookLabels};
pub(crate) use model_requests::ModelRequests;
use per_principal::PerPrincipal;
pub(crate) use questions::QuestionCounters;
use usage::{TOKENS, positive_cost, token_count};

/// The metrics of one service, which the page `/metrics` shows. Counting costs little more than an
/// atomic addition. Reading the page holds no lock for longer than the read of one number.
#[derive(Debug)]
pub(crate) struct Metrics {
    /// The Prometheus client's list of all metrics, with their names and help texts.
    registry: Registry,
    /// The gauges, which are set each time the page is read.
    gauges: StateGauges,
    /// Counts the accepted executions, including continuations.
    accepted: Counter,
    /// Counts the ended executions, by state and reason.
    ended: Family<EndLabels, Counter>,
    /// Counts the refused HTTP requests, by the type of the problem.
    refused: Family<ReasonLabel, Counter>,
    /// Counts the model tokens of ended executions, by kind.
    tokens: Family<KindLabel, Counter>,
    /// The cost of ended executions, in US dollars.
    cost: Counter<f64, AtomicU64>,
    /// The same counts by principal; `None` unless the operator turns them on.
    per_principal: Option<PerPrincipal>,
    /// The times from acceptance to start, in seconds.
    queue: Histogram,
    /// The running times until the first byte of output, in seconds.
    first_byte: Histogram,
    /// The running times until the first text of the model, in seconds.
    first_text: Histogram,
    /// The running times of ended executions, without pauses, in seconds.
    duration: Histogram,
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
    /// The requests to the model's API, as the service `credentials` reports them.
    pub(crate) model_requests: ModelRequests,
    /// Counts the questions to a person.
    pub(crate) questions: QuestionCounters,
    /// Counts the spans that were exported or dropped.
    pub(crate) spans: telemetry::Counters,
    /// Counts the attempts to deliver webhooks, by event and result.
    webhooks: Family<WebhookLabels, Counter>,
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

impl Metrics {
    /// Counts an accepted execution of a principal; a continuation by a policy is one, too.
    pub(crate) fn accepted(&self, principal: Option<&str>) {
        self.accepted.inc();
        if let Some(per_principal) = &self.per_principal {
            per_principal.accepted(principal);
        }
    }

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
            if let Some(count) = token_count(status, member) {
                self.tokens.get_or_create(&KindLabel { kind }).inc_by(count);
            }
        }
        if let Some(cost) = positive_cost(status) {
            self.cost.inc_by(cost);
        }
        if let Some(per_principal) = &self.per_principal {
            per_principal.ended(status);
        }
    }

    /// Counts the result of an attempt to deliver a webhook.
    pub(crate) fn webhook(&self, event: WebhookEvent, outcome: WebhookOutcome) {
        let labels = WebhookLabels::new(event, outcome);
        self.webhooks.get_or_create(&labels).inc();
    }

    /// Counts an HTTP request that was refused, by the type of the problem in the answer.
    /// `not-ready` is not counted: it is the regular answer of a health page.
    pub(crate) fn refused(&self, kind: ProblemType) {
        if kind != ProblemType::NotReady {
            let label = ReasonLabel::problem(kind);
            self.refused.get_or_create(&label).inc();
        }
    }

    /// Returns the text of the page `/metrics` in `format`, with the given values of the gauges. If
    /// a metric cannot be encoded, the error is logged and the page is incomplete.
    pub(crate) fn page(&self, gauges: &Gauges, format: Exposition) -> String {
        self.gauges.set(gauges);
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

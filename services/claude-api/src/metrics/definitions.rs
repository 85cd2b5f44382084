//! The names, help texts and histogram buckets of all metrics. The encoder adds the unit and
//! `_total` to a name, and the period to a help text.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use protocol::webhook::{WebhookEvent, WebhookOutcome};
use protocol::{Limits, ProblemType, Reason, State};

use super::gauges::StateGauges;
use super::labels::{EndLabels, KindLabel, ReasonLabel, TrackLabel, WebhookLabels};
use super::per_principal::PerPrincipal;
use super::usage::TOKENS;
use super::{Metrics, ModelRequests, OutputCounters, QuestionCounters};

/// All pairs of state and reason with which an execution can end. Each is a series from the start
/// of the service, so that a rate can be computed for its first occurrence.
pub(super) const ENDS: [(State, Option<Reason>); 19] = [
    (State::Completed, None),
    (State::Completed, Some(Reason::Lingered)),
    (State::Failed, Some(Reason::SpawnFailed)),
    (State::Failed, Some(Reason::HookRefused)),
    (State::Failed, Some(Reason::AuthFailed)),
    (State::Failed, Some(Reason::UsageLimit)),
    (State::Failed, Some(Reason::PromptTooLong)),
    (State::Failed, Some(Reason::KilledBySignal)),
    (State::Failed, Some(Reason::MaxTurns)),
    (State::Failed, Some(Reason::MaxBudget)),
    (State::Failed, Some(Reason::CliError)),
    (State::Failed, Some(Reason::NonzeroExit)),
    (State::Failed, Some(Reason::NoResult)),
    (State::Cancelled, None),
    (State::TimedOut, Some(Reason::IdleTimeout)),
    (State::TimedOut, Some(Reason::Deadline)),
    (State::Interrupted, Some(Reason::RunnerDied)),
    (State::Interrupted, Some(Reason::ServiceStopped)),
    (State::Interrupted, Some(Reason::Lost)),
];

/// The upper bounds of the histogram buckets for the time in the queue, in seconds. Most executions
/// start immediately; a full queue delays them for minutes, a usage limit for hours.
const QUEUE_SECONDS: [f64; 11] = [
    0.01, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0,
];
/// The upper bounds of the histogram buckets for the times until the first byte and the first text,
/// in seconds. The CLI needs about a second to start, and a model needs seconds to answer.
const FIRST_SECONDS: [f64; 11] = [
    0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 60.0, 120.0, 300.0,
];
/// The upper bounds of the histogram buckets for running times, in seconds. They range from a short
/// answer to hours of work with tools.
const DURATION_SECONDS: [f64; 12] = [
    1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 1800.0, 3600.0, 14_400.0,
];

impl Metrics {
    /// Creates and registers all metrics of a service, each with the value 0. `limits` are the
    /// service's limits, some of which are gauges. If `is_per_principal`, executions, tokens and
    /// cost are also counted by principal.
    pub(crate) fn new(limits: &Limits, is_per_principal: bool) -> Self {
        let mut registry = Registry::with_prefix("claude_api");
        let gauges = StateGauges::register(&mut registry, limits);
        let per_principal = is_per_principal.then(|| PerPrincipal::register(&mut registry));
        let [queue, first_byte, first_text, duration] = histograms(&mut registry);
        let output = output(&mut registry);
        let webhooks = webhooks(&mut registry);
        let ended = Family::<EndLabels, Counter>::default();
        for (state, reason) in ENDS {
            drop(ended.get_or_create(&EndLabels::new(state, reason)));
        }
        registry.register(
            "executions_ended",
            "Executions that ended, by state and reason",
            ended.clone(),
        );
        let refused = Family::<ReasonLabel, Counter>::default();
        for kind in ProblemType::ALL {
            if *kind != ProblemType::NotReady {
                drop(refused.get_or_create(&ReasonLabel::problem(*kind)));
            }
        }
        registry.register(
            "requests_refused",
            "Requests that were refused, by the type of the problem, with _ for -",
            refused.clone(),
        );
        let tokens = Family::<KindLabel, Counter>::default();
        for (kind, _) in TOKENS {
            drop(tokens.get_or_create(&KindLabel { kind }));
        }
        registry.register(
            "tokens",
            "Tokens of ended executions, from the results of the CLI",
            tokens.clone(),
        );
        let cost = Counter::default();
        registry.register_with_unit(
            "cost",
            "Cost of ended executions in US dollars, from the results of the CLI",
            Unit::Other("usd".to_owned()),
            cost.clone(),
        );
        let mut counter = |name: &str, help: &str| {
            let counter = Counter::default();
            registry.register(name, help, counter.clone());
            counter
        };
        let accepted = counter("executions_accepted", "Executions that were accepted");
        let stalls = counter(
            "stalls",
            "Times that an execution made no progress for the time CLAUDE_API_STALLED_MS",
        );
        let api_retries = counter(
            "model_retries",
            "Requests to the API of the model that the CLI repeated",
        );
        let restarts = counter(
            "answer_restarts",
            "Answers of the model that were cut and began again",
        );
        let events_lost = counter("events_lost", "Events of the CLI that could not be read");
        let model_requests = ModelRequests::register(&mut registry);
        let questions = QuestionCounters::register(&mut registry);
        let spans = telemetry::Counters::default();
        spans.register(&mut registry);
        Self {
            registry,
            spans,
            gauges,
            accepted,
            ended,
            refused,
            tokens,
            cost,
            per_principal,
            queue,
            first_byte,
            first_text,
            duration,
            stalls,
            api_retries,
            restarts,
            events_lost,
            output,
            model_requests,
            questions,
            webhooks,
        }
    }
}

/// Registers the counter of attempts to deliver webhooks.
fn webhooks(registry: &mut Registry) -> Family<WebhookLabels, Counter> {
    let attempts = Family::<WebhookLabels, Counter>::default();
    for event in WebhookEvent::ALL {
        for outcome in WebhookOutcome::ALL {
            drop(attempts.get_or_create(&WebhookLabels::new(event, outcome)));
        }
    }
    registry.register(
        "webhook_deliveries",
        "Attempts to deliver webhooks, by event and result",
        attempts.clone(),
    );
    attempts
}

/// Registers the histograms of times in the life of an execution: wait in the queue, first byte,
/// first text and running time.
fn histograms(registry: &mut Registry) -> [Histogram; 4] {
    let mut histogram = |name: &str, help: &str, buckets: &[f64]| {
        let histogram = Histogram::new(buckets.iter().copied());
        registry.register_with_unit(name, help, Unit::Seconds, histogram.clone());
        histogram
    };
    [
        histogram(
            "execution_queue",
            "Time from the acceptance of an execution to its start",
            &QUEUE_SECONDS,
        ),
        histogram(
            "execution_first_byte",
            "Running time of an execution until the first byte of its output",
            &FIRST_SECONDS,
        ),
        histogram(
            "execution_first_token",
            "Running time of an execution until the first text of the model",
            &FIRST_SECONDS,
        ),
        histogram(
            "execution_duration",
            "Running time of ended executions, without pauses",
            &DURATION_SECONDS,
        ),
    ]
}

/// Registers the counters of bytes of output and events, produced or dropped.
fn output(registry: &mut Registry) -> OutputCounters {
    let produced = Counter::default();
    registry.register_with_unit(
        "output",
        "Bytes of output that executions produced",
        Unit::Bytes,
        produced.clone(),
    );
    let dropped = Family::<TrackLabel, Counter>::default();
    let track = |track| dropped.get_or_create(&TrackLabel { track }).clone();
    let counters = OutputCounters {
        produced,
        dropped_output: track("output"),
        dropped_events: track("events"),
    };
    registry.register_with_unit(
        "dropped",
        "Bytes of output that could not be written, and of events that a full disk did not take",
        Unit::Bytes,
        dropped.clone(),
    );
    counters
}

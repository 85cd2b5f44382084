//! The names and the help texts of all Prometheus metrics of the bridge. The encoder adds the unit
//! and `_total` to a name.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use protocol::ProblemType;

use super::{Metrics, OTHER, ReasonLabel, Retries};

/// The reasons for which the bridge itself refuses a request, as label values of the counter of
/// refused requests. Refusals of claude-api are counted by the type of its problem. Refusals of the
/// MCP server have the reasons [`mcp::REASONS`] and `mcp_reasons::REASONS`. The end of an
/// execution is not a refusal: claude-api counts it, by a [`protocol::Reason`].
pub(super) const REASONS: [&str; 23] = [
    "batch_too_long",
    "binary_frame",
    "cancelled",
    "claude_api_unreachable",
    "connections",
    "empty_batch",
    "frames_per_second",
    "head_ms",
    "inbound_bytes",
    "invalid_handshake",
    "invalid_params",
    "invalid_request",
    "keep_alive_ms",
    "no_live_execution",
    "not_accepted",
    "parse_error",
    "sessions_per_principal",
    "too_many_lists",
    "too_many_sessions",
    "too_many_unanswered",
    "too_many_views",
    "unknown_method",
    OTHER,
];

impl Metrics {
    /// Creates and registers all metrics of a bridge, each with the value 0. `retries` has the
    /// counters that the client for claude-api increments, and `spans` those of the export of
    /// traces.
    #[must_use]
    pub fn new(retries: &Retries, spans: &telemetry::Counters) -> Self {
        let mut registry = Registry::with_prefix("bridge");
        start_time(&mut registry);
        let reasons = Family::<ReasonLabel, Counter>::default();
        registry.register(
            "requests_refused",
            "Requests that were refused, by the reason of the error",
            reasons.clone(),
        );
        registry.register(
            "retries",
            "Requests to claude-api that were repeated after a failure, by kind",
            retries.family.clone(),
        );
        spans.register(&mut registry);
        let mut gauge = |name: &str, help: &str| {
            let gauge = Gauge::default();
            registry.register(name, help, gauge.clone());
            gauge
        };
        let sessions = gauge("sessions", "Open sessions");
        let session_limit = gauge("sessions_limit", "The most sessions that may be open");
        let viewers = gauge(
            "viewers",
            "Pairs of an open session and an execution that it views",
        );
        let mut gauge = |name: &str, help: &str| {
            let gauge = Gauge::default();
            registry.register_with_unit(name, help, Unit::Bytes, gauge.clone());
            gauge
        };
        let inbound = gauge(
            "inbound",
            "Bytes of large messages and of executes that claude-api has not accepted yet",
        );
        let outbound = gauge(
            "outbound",
            "Bytes that clients have not read, beyond the floor of each session",
        );
        let inbound_limit = gauge("inbound_limit", "The limit of bridge_inbound_bytes");
        let outbound_limit = gauge("outbound_limit", "The limit of bridge_outbound_bytes");
        let mut counter = |name: &str, help: &str| {
            let counter = Counter::default();
            registry.register(name, help, counter.clone());
            counter
        };
        let sessions_opened = counter("sessions_opened", "Sessions that were opened");
        let sessions_refused = counter(
            "sessions_refused",
            "Sessions that were refused, because there were too many",
        );
        let messages_in = counter("messages_received", "WebSocket messages received");
        let messages_out = counter("messages_sent", "WebSocket messages sent");
        let gaps_sent = counter(
            "gaps_sent",
            "Gaps in the output that were announced to clients",
        );
        let executes = counter("executes", "Executes that claude-api accepted");
        let executes_refused = counter(
            "executes_refused",
            "Executes that were sent to claude-api and not accepted",
        );
        let mut counter = |name: &str, help: &str| {
            let counter = Counter::default();
            registry.register_with_unit(name, help, Unit::Bytes, counter.clone());
            counter
        };
        let bytes_in = counter("received", "Bytes of WebSocket messages received");
        let bytes_out = counter("sent", "Bytes of WebSocket messages sent");
        let skipped_bytes = counter(
            "skipped",
            "Bytes of output dropped for slow viewers with onSlow skip",
        );
        Self {
            registry,
            sessions,
            session_limit,
            inbound,
            outbound,
            inbound_limit,
            outbound_limit,
            refused: refused(&reasons),
            viewers,
            sessions_opened,
            sessions_refused,
            messages_in,
            messages_out,
            bytes_in,
            bytes_out,
            gaps_sent,
            skipped_bytes,
            executes,
            executes_refused,
        }
    }
}

/// Registers the start time of the bridge, whose value never changes.
fn start_time(registry: &mut Registry) {
    let start = Gauge::<f64, AtomicU64>::default();
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
    start.set(since_1970.unwrap_or_default().as_secs_f64());
    registry.register_with_unit(
        "start_time",
        "Start of the bridge, as the time since the beginning of 1970 in UTC",
        Unit::Seconds,
        start,
    );
}

/// Creates a counter for each known reason of a refusal. With the value 0 it appears in `/metrics`
/// from the start.
fn refused(family: &Family<ReasonLabel, Counter>) -> BTreeMap<String, Counter> {
    // The readiness page has this type, but it refuses no request.
    let problems = ProblemType::ALL
        .iter()
        .filter(|kind| **kind != ProblemType::NotReady);
    let problems = problems.map(|kind| kind.as_str().replace('-', "_"));
    let own_reasons = REASONS.iter().chain(&mcp::REASONS);
    let own_reasons = own_reasons.chain(&super::mcp_reasons::REASONS);
    let reasons = own_reasons.map(|reason| (*reason).to_owned());
    let counter = |reason: String| {
        let label = ReasonLabel {
            reason: reason.clone(),
        };
        (reason, family.get_or_create(&label).clone())
    };
    reasons.chain(problems).map(counter).collect()
}

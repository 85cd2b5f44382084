//! The numbers that the page `/metrics` shows to Prometheus: counters since the start of the
//! bridge, and the state at the time of the scrape.
//!
//! - A counter is a relaxed atomic.
//! - Some numbers are kept by other modules. They are not counted again here: [`Snapshot`] carries
//!   their values at a scrape.
//! - Labels have only values of fixed lists, so the number of series is bounded. An id is never a
//!   label. Every series exists from the start, with the value 0.

pub(crate) mod mcp_reasons;
mod registry;

use std::collections::BTreeMap;

use prometheus_client::encoding::{EncodeLabelSet, prometheus_text, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use protocol::Exposition;

/// The label value for a reason that is on no list. It keeps the number of series bounded.
const OTHER: &str = "other";

/// The label of a counter of repeated requests: the kind of request, such as `execute`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabel {
    request: &'static str,
}

/// The label of a counter of refused requests: the `reason` of the error, such as `parse_error`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: String,
}

/// The Prometheus metrics of one bridge, which `/metrics` shows. Other modules increment the public
/// counters directly.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    sessions: Gauge,
    session_limit: Gauge,
    inbound: Gauge,
    outbound: Gauge,
    inbound_limit: Gauge,
    outbound_limit: Gauge,
    /// Counts refused requests by the `reason` of their error. Every known reason has a counter.
    refused: BTreeMap<String, Counter>,
    /// The number of views that are open now. An execution that two sessions view counts twice.
    pub viewers: Gauge,
    /// WebSocket sessions opened since the start of the bridge.
    pub sessions_opened: Counter,
    /// WebSocket sessions that were refused with the JSON-RPC error -32001 (`TOO_MANY_SESSIONS`).
    /// Refusals with HTTP 503 are not counted here.
    pub sessions_refused: Counter,
    /// WebSocket messages received from clients.
    pub messages_in: Counter,
    /// WebSocket messages sent to clients.
    pub messages_out: Counter,
    /// Bytes of the WebSocket messages received from clients.
    pub bytes_in: Counter,
    /// Bytes of the WebSocket messages sent to clients.
    pub bytes_out: Counter,
    /// Gap messages sent. A gap message tells a client that it will not receive some bytes of
    /// output.
    pub gaps_sent: Counter,
    /// Bytes of output that were dropped because a client with `onSlow: skip` read too slowly.
    pub skipped_bytes: Counter,
    /// Executes that claude-api has accepted.
    pub executes: Counter,
    /// Executes that failed: claude-api refused them, or the bridge gave them up before claude-api
    /// accepted them.
    pub executes_refused: Counter,
}

/// The numbers for `/metrics` that other modules keep, read at the time of a scrape.
#[derive(Debug, Clone, Copy)]
pub struct Snapshot {
    /// WebSocket sessions that are open now.
    pub sessions: u64,
    /// The most sessions that may be open: the setting `sessions`.
    pub session_limit: u64,
    /// Bytes in use by incoming messages and by executes and inputs without an answer, of
    /// `inboundBytes`.
    pub inbound_bytes: u64,
    /// Bytes of unread answers and output, beyond the part that is reserved for each session.
    pub outbound_bytes: u64,
    /// The most bytes that `inbound_bytes` may reach: the setting `inboundBytes`.
    pub inbound_limit_bytes: u64,
    /// The most bytes that `outbound_bytes` should reach: the part of `outboundBytes` that all
    /// sessions share.
    pub outbound_limit_bytes: u64,
}

impl Metrics {
    /// Counts a refused request. `reason` is the `reason` in the `data` of its JSON-RPC error, or
    /// the type of its HTTP problem. A reason that is on no list counts as `other`.
    pub fn refused(&self, reason: &str) {
        let counter = self.refused.get(&*reason.replace('-', "_"));
        if let Some(counter) = counter.or_else(|| self.refused.get(OTHER)) {
            counter.inc();
        }
    }

    /// Returns the text of the page `/metrics` in the given format. If the encoding fails, the
    /// failure is logged and the text is incomplete.
    #[must_use]
    pub fn page(&self, snapshot: Snapshot, format: Exposition) -> String {
        let Snapshot {
            sessions,
            session_limit,
            inbound_bytes,
            outbound_bytes,
            inbound_limit_bytes,
            outbound_limit_bytes,
        } = snapshot;
        for (gauge, value) in [
            (&self.sessions, sessions),
            (&self.session_limit, session_limit),
            (&self.inbound, inbound_bytes),
            (&self.outbound, outbound_bytes),
            (&self.inbound_limit, inbound_limit_bytes),
            (&self.outbound_limit, outbound_limit_bytes),
        ] {
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        }
        let mut page = String::new();
        let encoded = match format {
            Exposition::OpenMetrics => text::encode(&mut page, &self.registry),
            Exposition::Text => prometheus_text::encode(&mut page, &self.registry),
        };
        if let Err(error) = encoded {
            tracing::error!(%error, "could not encode the metrics; the page is incomplete");
        }
        page
    }
}

/// Counts the requests that the bridge sent to claude-api again after a failure, by the kind of
/// request. Clones share the same counters.
#[derive(Debug, Clone)]
pub struct Retries {
    family: Family<RequestLabel, Counter>,
    /// Repeated PUT requests for executes that claude-api had not accepted yet.
    pub execute: Counter,
    /// Repeated short calls for which a client waits: pause, resume, cancel, input, status, list
    /// and events.
    pub call: Counter,
    /// Repeated cancels for which no client waits, because its session has ended or already has an
    /// answer.
    pub cancel: Counter,
    /// Reconnects of streams that carry the output of an execution.
    pub output: Counter,
    /// Reconnects of streams that carry the statuses of an execution.
    pub follow: Counter,
}

impl Default for Retries {
    fn default() -> Self {
        let family = Family::<RequestLabel, Counter>::default();
        let counter = |request| family.get_or_create(&RequestLabel { request }).clone();
        Self {
            execute: counter("execute"),
            call: counter("call"),
            cancel: counter("cancel"),
            output: counter("output"),
            follow: counter("follow"),
            family,
        }
    }
}

#[cfg(test)]
mod tests;

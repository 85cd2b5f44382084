//! The numbers of `/metrics`: counters since the start of the bridge, and the state at the scrape.
//!
//! - A counter is a relaxed atomic.
//! - A number that another module counts is not counted again: [`Snapshot`] carries the number at a
//!   scrape.
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

/// The label for an unknown reason.
const OTHER: &str = "other";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabel {
    request: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: String,
}

/// All of the bridge's numbers.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    sessions: Gauge,
    inbound: Gauge,
    outbound: Gauge,
    inbound_limit: Gauge,
    outbound_limit: Gauge,
    /// Refused requests by the reason of the error.
    refused: BTreeMap<String, Counter>,
    /// Pairs of an open session and an execution that it views.
    pub viewers: Gauge,
    /// Sessions that were opened.
    pub sessions_opened: Counter,
    /// Sessions that were refused, because there were too many.
    pub sessions_refused: Counter,
    /// WebSocket messages received.
    pub messages_in: Counter,
    /// WebSocket messages sent.
    pub messages_out: Counter,
    /// Bytes of the messages received.
    pub bytes_in: Counter,
    /// Bytes of the messages sent.
    pub bytes_out: Counter,
    /// Gaps announced to clients.
    pub gaps_sent: Counter,
    /// Bytes of output that were dropped for slow viewers that skip.
    pub skipped_bytes: Counter,
    /// Executes that claude-api accepted.
    pub executes: Counter,
    /// Executes that were refused.
    pub executes_refused: Counter,
}

/// The state at the time of a scrape.
#[derive(Debug, Clone, Copy)]
pub struct Snapshot {
    /// Open sessions.
    pub sessions: u64,
    /// Used bytes of the inbound budget.
    pub inbound_bytes: u64,
    /// Used bytes of the outbound budget, beyond the floor of each session.
    pub outbound_bytes: u64,
    /// The inbound budget, in bytes.
    pub inbound_limit_bytes: u64,
    /// The common part of the outbound budget, in bytes.
    pub outbound_limit_bytes: u64,
}

impl Metrics {
    /// Counts a refused request by the reason of its error, or by the type of its problem.
    pub fn refused(&self, reason: &str) {
        let counter = self.refused.get(&*reason.replace('-', "_"));
        if let Some(counter) = counter.or_else(|| self.refused.get(OTHER)) {
            counter.inc();
        }
    }

    /// Returns the page of all metrics.
    #[must_use]
    pub fn page(&self, snapshot: Snapshot, format: Exposition) -> String {
        let Snapshot {
            sessions,
            inbound_bytes,
            outbound_bytes,
            inbound_limit_bytes,
            outbound_limit_bytes,
        } = snapshot;
        for (gauge, value) in [
            (&self.sessions, sessions),
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
            tracing::error!(%error, "could not encode the metrics");
        }
        page
    }
}

/// The repeated requests to claude-api. Clones count in the same numbers.
#[derive(Debug, Clone)]
pub struct Retries {
    family: Family<RequestLabel, Counter>,
    /// Acceptances of executes.
    pub execute: Counter,
    /// Controls, inputs, statuses, lists and events that a client waits for.
    pub call: Counter,
    /// Cancels that no client waits for.
    pub cancel: Counter,
    /// Streams of output.
    pub output: Counter,
    /// Streams of statuses.
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

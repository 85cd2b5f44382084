//! The numbers that `/metrics` shows: counters since the start of the bridge, and the state at the
//! time of the scrape.
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

/// The label for a reason that is on no list. It keeps the number of series bounded.
const OTHER: &str = "other";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabel {
    request: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: String,
}

/// The counters of one bridge, and the registry that encodes them for `/metrics`.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    sessions: Gauge,
    inbound: Gauge,
    outbound: Gauge,
    inbound_limit: Gauge,
    outbound_limit: Gauge,
    /// Refused requests, counted by the `reason` of the error.
    refused: BTreeMap<String, Counter>,
    /// The number of executions that all open sessions view now. An execution counts once for each
    /// session.
    pub viewers: Gauge,
    /// WebSocket sessions opened since the start of the bridge.
    pub sessions_opened: Counter,
    /// Sessions over the limit that were refused over WebSocket, with -32001. Refusals with 503 are
    /// not counted here.
    pub sessions_refused: Counter,
    /// WebSocket messages received.
    pub messages_in: Counter,
    /// WebSocket messages sent.
    pub messages_out: Counter,
    /// Bytes of the messages received.
    pub bytes_in: Counter,
    /// Bytes of the messages sent.
    pub bytes_out: Counter,
    /// Gap messages sent. A gap tells a client that some bytes of output are missing.
    pub gaps_sent: Counter,
    /// Bytes of output dropped because a client with `onSlow: skip` did not keep up.
    pub skipped_bytes: Counter,
    /// Executes that claude-api has accepted.
    pub executes: Counter,
    /// Executes that claude-api refused, or that were given up before it accepted them.
    pub executes_refused: Counter,
}

/// The numbers that other modules keep, read at the time of a scrape.
#[derive(Debug, Clone, Copy)]
pub struct Snapshot {
    /// Open WebSocket sessions.
    pub sessions: u64,
    /// The bytes of `inboundBytes` in use.
    pub inbound_bytes: u64,
    /// The bytes of `outboundBytes` in use, beyond the floor that is reserved for each session.
    pub outbound_bytes: u64,
    /// The setting `inboundBytes`.
    pub inbound_limit_bytes: u64,
    /// The part of `outboundBytes` that all sessions share, beyond their floors.
    pub outbound_limit_bytes: u64,
}

impl Metrics {
    /// Counts a refused request. `reason`: the `reason` of its error, or the type of its problem.
    /// An unknown one counts as `other`.
    pub fn refused(&self, reason: &str) {
        let counter = self.refused.get(&*reason.replace('-', "_"));
        if let Some(counter) = counter.or_else(|| self.refused.get(OTHER)) {
            counter.inc();
        }
    }

    /// Returns the text of `/metrics` in this format. If the encoding fails, the failure is logged
    /// and the text is incomplete.
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
            tracing::error!(%error, "could not encode the metrics; the page is incomplete");
        }
        page
    }
}

/// The numbers of requests that the bridge repeated to claude-api, by the kind of request. Clones
/// count in the same numbers.
#[derive(Debug, Clone)]
pub struct Retries {
    family: Family<RequestLabel, Counter>,
    /// Repeated PUTs of executes that claude-api had not accepted.
    pub execute: Counter,
    /// Repeated short calls: controls, inputs, statuses, lists and events, for which a client
    /// waits.
    pub call: Counter,
    /// Repeated cancels that no client waits for, because its session has ended or has its answer.
    pub cancel: Counter,
    /// Reconnects of streams of output.
    pub output: Counter,
    /// Reconnects of streams of statuses.
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

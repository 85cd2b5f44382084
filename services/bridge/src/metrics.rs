//! Counters and gauges, as Prometheus text.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows, or a gauge.
#[derive(Debug, Default)]
pub struct Number(AtomicU64);

impl Number {
    /// Adds.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// Takes away (gauges).
    pub fn take(&self, count: u64) {
        self.0.fetch_sub(count, Ordering::Relaxed);
    }

    /// Sets (gauges that are counted elsewhere).
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The value now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// All of the bridge's numbers.
#[derive(Debug, Default)]
#[allow(missing_docs, reason = "the help texts below say it")]
pub struct Metrics {
    pub sessions: Number,
    pub viewers: Number,
    pub sessions_opened: Number,
    pub sessions_refused: Number,
    pub messages_in: Number,
    pub messages_out: Number,
    pub bytes_in: Number,
    pub bytes_out: Number,
    pub skipped_bytes: Number,
    pub executes: Number,
    pub executes_refused: Number,
    pub inbound_bytes: Number,
    pub outbound_bytes: Number,
}

impl Metrics {
    /// The page.
    #[must_use]
    pub fn page(&self) -> String {
        let rows = [
            ("sessions", "gauge", "open sessions", &self.sessions),
            ("viewers", "gauge", "views of executions", &self.viewers),
            (
                "inbound_bytes",
                "gauge",
                "bytes of large messages and of executes that claude-api has not accepted yet",
                &self.inbound_bytes,
            ),
            (
                "outbound_bytes",
                "gauge",
                "bytes on their way to clients, beyond what each session has for itself",
                &self.outbound_bytes,
            ),
            (
                "sessions_opened_total",
                "counter",
                "sessions opened",
                &self.sessions_opened,
            ),
            (
                "sessions_refused_total",
                "counter",
                "sessions refused, there were too many",
                &self.sessions_refused,
            ),
            (
                "messages_received_total",
                "counter",
                "WebSocket messages received",
                &self.messages_in,
            ),
            (
                "messages_sent_total",
                "counter",
                "WebSocket messages sent",
                &self.messages_out,
            ),
            (
                "received_bytes_total",
                "counter",
                "bytes of messages received",
                &self.bytes_in,
            ),
            (
                "sent_bytes_total",
                "counter",
                "bytes of messages sent",
                &self.bytes_out,
            ),
            (
                "skipped_bytes_total",
                "counter",
                "output dropped for slow viewers that skip",
                &self.skipped_bytes,
            ),
            (
                "executes_total",
                "counter",
                "executes accepted by claude-api",
                &self.executes,
            ),
            (
                "executes_refused_total",
                "counter",
                "executes refused",
                &self.executes_refused,
            ),
        ];
        let mut page = String::new();
        for (name, kind, help, number) in rows {
            let value = number.get();
            // Writing to a String cannot fail.
            let _ = writeln!(
                page,
                "# HELP cc_bridge_{name} {help}\n# TYPE cc_bridge_{name} {kind}\ncc_bridge_{name} {value}"
            );
        }
        page
    }
}

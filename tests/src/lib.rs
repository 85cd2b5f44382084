//! The library of cc-bridge's test suites. `README.md` beside this crate says how to use each part.
//!
//! * [`composed`]: the containers of the composed stack, and the cases that run on them.
//! * [`credentials`]: a stand-in for the service `credentials`.
//! * [`described`]: real messages against the documents that the services publish.
//! * [`exposition`]: pages of `/metrics`, and the rules for them.
//! * [`faults`]: a TCP proxy that injects faults.
//! * [`harness`]: both services as processes, with their directories and logs.
//! * [`http`]: a client of claude-api.
//! * [`mod@bench`]: measurements of both hops (bin `bench`).
//! * [`model`]: the scripted model, a server that speaks the Messages API (bin `scripted-model`).
//! * [`otlp`]: a receiver of spans, as an OpenTelemetry Collector is one.
//! * [`promql`]: the names in the queries of the dashboard and the alerts.
//! * [`raw_http`]: requests, byte for byte, that no client would send.
//! * [`soak`]: both services under random faults (bin `soak`).
//! * [`stand_in`]: the stand-in for the Claude CLI (bin `stand-in-claude`).
//! * [`tls`]: an authority, which signs the certificates of test servers.
//! * [`webhooks`]: a receiver of webhooks.
//! * [`ws`]: a strict WebSocket client, which checks every message against the protocol.

pub mod bench;
pub mod composed;
pub mod credentials;
pub mod described;
pub mod exposition;
pub mod faults;
pub mod harness;
pub mod http;
pub mod model;
pub mod otlp;
pub mod promql;
pub mod raw_http;
pub mod soak;
pub mod stand_in;
pub mod tls;
pub mod webhooks;
pub mod ws;

/// Formats bytes as lower-case hex digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

//! The limits of cc-bridge that clients can read, with their default values (docs/protocol.md,
//! "Limits").

use serde::{Deserialize, Serialize};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;

/// The largest `ifUnviewedForMs` of a cancel over HTTP, in milliseconds: a day.
pub const UNVIEWED_MS_MAX: u64 = 24 * 3600 * 1000;
/// The longest value of the request header `viewer` that is used, in bytes; a longer one is
/// ignored. A bridge sends the id of its session, a UUID of 36 bytes.
pub const VIEWER_BYTES: usize = 64;

/// The limits that the services enforce, such as sizes, timeouts and queue lengths.
/// `GET /v1/limits` and the bridge's greeting `connected` send them.
///
/// A field whose name ends in `_bytes` is in bytes, in `_ms` in milliseconds; the others are
/// counts. For a limit in lines, 0 means no limit. `boxed` is true if claude-api runs in a
/// container of its own and refuses requests from the processes in it, which the model started.
/// `tokens` is true if claude-api serves only clients with a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(
    missing_docs,
    reason = "docs/protocol.md, \"Limits\", describes each limit"
)]
pub struct Limits {
    pub boxed: bool,
    pub tokens: bool,
    pub running_executions: u64,
    pub simultaneous_starts: u64,
    pub waiting_executions: u64,
    pub queued: u64,
    pub queued_per_lane: u64,
    pub queued_per_principal: u64,
    pub sessions: u64,
    pub sessions_per_principal: u64,
    pub connections_per_peer: u64,
    pub frames_per_second: u64,
    pub frames_burst: u64,
    pub prompt_bytes: u64,
    pub system_prompt_bytes: u64,
    pub message_bytes: u64,
    pub inbound_bytes: u64,
    pub outbound_bytes: u64,
    pub batch: u64,
    pub status_bytes: u64,
    pub heartbeat_ms: u64,
    pub ping_ms: u64,
    pub drain_ms: u64,
    pub linger_ms: u64,
    pub kill_ms: u64,
    pub stalled_ms: u64,
    pub idle_timeout_ms: u64,
    pub kept_bytes: u64,
    pub kept_lines: u64,
    pub events_bytes: u64,
    pub retention_ms: u64,
    pub retention_bytes: u64,
    pub skip_bytes: u64,
    pub skip_lines: u64,
    pub shutdown_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
        Self {
            boxed: false,
            tokens: false,
            running_executions: 8,
            simultaneous_starts: 2 * cores,
            waiting_executions: 16,
            queued: 1000,
            queued_per_lane: 32,
            queued_per_principal: 250,
            sessions: 1000,
            sessions_per_principal: 250,
            connections_per_peer: 256,
            frames_per_second: 200,
            frames_burst: 1000,
            prompt_bytes: 4 * MIB,
            system_prompt_bytes: 64 * KIB,
            message_bytes: 13 * MIB,
            inbound_bytes: 256 * MIB,
            outbound_bytes: 256 * MIB,
            batch: 50,
            status_bytes: 64 * KIB,
            heartbeat_ms: 15_000,
            ping_ms: 20_000,
            drain_ms: 2_000,
            linger_ms: 5_000,
            kill_ms: 3_000,
            stalled_ms: 120_000,
            idle_timeout_ms: 900_000,
            kept_bytes: GIB,
            kept_lines: 0,
            events_bytes: 4 * GIB,
            retention_ms: 7 * 24 * 3600 * 1000,
            retention_bytes: 10 * GIB,
            skip_bytes: MIB,
            skip_lines: 0,
            shutdown_ms: 10_000,
        }
    }
}

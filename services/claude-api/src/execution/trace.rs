//! The span of an execution, from its acceptance to its end.
//!
//! The span is made at the end, from the terminal status. Until then there is only its context: its
//! ids are computed from the execution's id and from the parent on disk. So the span needs no state
//! in memory, and it is the same one after a restart of the service.

use std::time::SystemTime;

use jiff::Timestamp;
use protocol::{ExecutionId, Reason, State, Status, TraceContext};
use ring::digest::{SHA256, digest};
use serde_json::Value;
use telemetry::{Kind, Tracer};

use crate::registry::record::Accepted;

/// The counts of model tokens in a span. Each pair is an attribute of OpenTelemetry's conventions
/// for generative AI, and the name of that count in the object `usage` of a status.
const TOKENS: [(&str, &str); 4] = [
    ("gen_ai.usage.input_tokens", "input_tokens"),
    ("gen_ai.usage.output_tokens", "output_tokens"),
    (
        "gen_ai.usage.cache_read.input_tokens",
        "cache_read_input_tokens",
    ),
    (
        "gen_ai.usage.cache_creation.input_tokens",
        "cache_creation_input_tokens",
    ),
];

/// Returns the context of an execution's span, which the CLI gets as its parent. `parent` is the
/// one in the stored request. `None` if there is no trace. A service that exports no spans returns
/// `parent`.
pub(crate) fn context(
    tracer: &Tracer,
    id: ExecutionId,
    parent: Option<&TraceContext>,
) -> Option<TraceContext> {
    if !tracer.is_on() {
        return parent.cloned();
    }
    // A hash, because clients choose ids, and ids may have equal ends.
    let hash = digest(&SHA256, format!("ccb span of {id}").as_bytes());
    let (mut trace_id, mut span_id) = ([0; 16], [0; 8]);
    trace_id.copy_from_slice(&hash.as_ref()[..16]);
    span_id.copy_from_slice(&hash.as_ref()[16..24]);
    tracer.context(trace_id, span_id, parent)
}

/// Exports the span of an ended execution. Does nothing if no spans are exported, or the trace is
/// not recorded. `first_output` is the time of the first byte of output, if it is known.
///
/// The span holds no text of the client or of the model: only ids, times, counts, and words of
/// docs/protocol.md.
pub(crate) fn export(
    tracer: &Tracer,
    accepted: &Accepted,
    status: &Status,
    first_output: Option<Timestamp>,
) {
    let id = status.execution_id;
    let parent = accepted.trace.as_ref();
    let Some(own) = context(tracer, id, parent).filter(|_| tracer.is_on()) else {
        return;
    };
    let mut span = tracer.span_with(Kind::Internal, parent, own, || "execution".to_owned());
    if !span.is_recorded() {
        return;
    }
    span.set("ccb.execution.id", id.to_string());
    span.set("ccb.execution.state", status.state.as_str());
    if let Some(reason) = status.reason {
        span.set("ccb.execution.reason", reason.as_str());
    }
    if let Some(code) = status.exit_code {
        span.set("ccb.execution.exit_code", i64::from(code));
    }
    if let Some(old) = status.continues {
        span.set("ccb.execution.continues", old.to_string());
        // A continuation by policy has the parent of the old execution.
        if let Some(old) = context(tracer, old, parent).filter(|_| is_by_policy(accepted)) {
            span.link(&old);
        }
    }
    for (attribute, member) in TOKENS {
        let count = status.usage.as_ref().and_then(|usage| usage.get(member));
        if let Some(count) = count.and_then(Value::as_i64) {
            span.set(attribute, count);
        }
    }
    if let Some(cost) = status.cost_usd {
        span.set("ccb.execution.cost_usd", cost);
    }
    if !matches!(status.state, State::Completed | State::Cancelled) {
        span.fail(status.reason.map_or("failed", Reason::as_str));
    }
    let created = SystemTime::from(status.created_at);
    span.began_at(created);
    span.event("accepted", created);
    if status.started_at != Some(status.created_at) {
        span.event("queued", created);
    }
    for (event, at) in [
        ("started", status.started_at),
        ("first_output", first_output),
    ] {
        if let Some(at) = at {
            span.event(event, at.into());
        }
    }
    let ended = status
        .ended_at
        .map_or_else(SystemTime::now, SystemTime::from);
    span.event("ended", ended);
    span.end_at(ended);
}

/// Returns whether a policy created the execution, which continues another one.
fn is_by_policy(accepted: &Accepted) -> bool {
    accepted.chain.interruptions > 0 || accepted.chain.limits > 0
}

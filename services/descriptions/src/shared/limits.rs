//! The limits that clients can read (docs/protocol.md, "Limits").

use protocol::Limits;
use serde_json::{Value, json};

use crate::schema::{Object, count, flag, with_default};

/// The limit whose default depends on the machine.
const OF_THE_MACHINE: &str = "simultaneousStarts";

/// Returns the limits of claude-api, each with its meaning (docs/protocol.md, "Limits").
#[must_use]
#[rustfmt::skip]
pub fn texts() -> &'static [(&'static str, &'static str)] {
    &[
        (
            "boxed",
            "whether `claude-api` runs in a container whose addresses may not use the services",
        ),
        ("tokens", "whether clients need a token"),
        (
            "runningExecutions",
            "executions that run at the same time; more, until some have ended, when a person has \
             answered several",
        ),
        ("simultaneousStarts", "CLIs that start at the same time"),
        (
            "waitingExecutions",
            "executions that wait for a person and do not count as running. A further one keeps \
             its place among the running ones. Each keeps its CLI in memory",
        ),
        ("queued", "executions that wait, burned ids included"),
        ("queuedPerLane", "executions that wait in one lane"),
        (
            "queuedPerPrincipal",
            "executions of one principal that wait, ids that it burned included",
        ),
        ("sessions", "WebSocket sessions at the same time"),
        (
            "sessionsPerPrincipal",
            "WebSocket sessions of the tokens of one principal at the same time; its shares have \
             half as many of their own",
        ),
        ("connectionsPerPeer", "open connections of one peer, to each service"),
        (
            "framesPerSecond",
            "frames of one session in a second, pings included; the bridge reads more of them \
             later",
        ),
        ("framesBurst", "frames of one session at once, after a quiet time"),
        ("promptBytes", "longest prompt, and longest message of input"),
        ("systemPromptBytes", "longest system prompt"),
        ("messageBytes", "longest message of a client"),
        ("inboundBytes", "memory for messages that are being received; of each service"),
        ("outboundBytes", "memory for messages that clients have not read"),
        ("batch", "requests in a batch"),
        ("statusBytes", "longest status object"),
        ("heartbeatMs", "time after which an unchanged status is sent again"),
        ("pingMs", "time between WebSocket pings"),
        ("drainMs", "time for output after the CLI's end"),
        ("lingerMs", "time for the CLI to exit after its last result"),
        ("killMs", "time between TERM and KILL"),
        ("stalledMs", "time without progress before `stalled`"),
        ("idleTimeoutMs", "time without progress before the end"),
        ("keptBytes", "output kept of one execution"),
        ("keptLines", "lines of output kept of one execution; 0 is no limit"),
        ("eventsBytes", "events kept of one execution"),
        ("retentionMs", "how long ended executions are kept"),
        ("retentionBytes", "total size of the ended executions that are kept"),
        ("skipBytes", "unsent output before a viewer with `skip` drops the oldest"),
        ("skipLines", "the same in lines; 0 is no limit"),
        ("shutdownMs", "how long a stop may take"),
    ]
}

/// Returns the schema of the limits.
pub(crate) fn limits() -> Value {
    let text = "The limits in force. Names that end in `Ms` are milliseconds, in `Bytes` bytes. \
        Each default is that of the service's setting.";
    limits_fields(Object::new(text)).build()
}

/// Adds the limits of claude-api, with their defaults.
pub(crate) fn limits_fields(object: Object) -> Object {
    let defaults = serde_json::to_value(Limits::default()).unwrap_or_default();
    texts().iter().fold(object, |object, (name, text)| {
        let default = defaults.get(*name).cloned().unwrap_or(json!(null));
        let schema = match default {
            Value::Bool(_) => flag(text),
            _ => count(text),
        };
        let schema = match *name {
            OF_THE_MACHINE => schema,
            _ => with_default(schema, default),
        };
        object.field(name, schema)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::fields;
    use crate::shared::tests::assert_fields;

    #[test]
    fn every_limit_is_described_with_its_default() {
        assert_fields(&limits(), fields::<Limits>());
        assert_eq!(limits()["properties"]["queued"]["default"], 1000);
        assert_eq!(limits()["properties"]["tokens"]["default"], false);
    }
}

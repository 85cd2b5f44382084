//! The status object, which describes an execution now or at its end. All its fields are always
//! present in JSON, and an unknown value is null.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::question::OpenQuestion;
use crate::webhook::WebhookStatus;
use crate::{ExecutionId, Reason, State};

/// The maximum number of permission denials in a status. A permission denial is a tool call that
/// the CLI refused.
pub const MAX_DENIALS: usize = 50;
/// The maximum number of warnings in a status. If there are more, the last one counts the warnings
/// that are not listed.
pub const MAX_WARNINGS: usize = 64;
/// The maximum size of `stderrTail` in a status, in bytes. It is the end of what the CLI wrote to
/// stderr.
pub const STDERR_TAIL_BYTES: usize = 16 * 1024;

/// The size up to which a shortened status keeps all of the client's metadata, in bytes of JSON.
const METADATA_BYTES: usize = 4 * 1024;

/// The answer to a cancel of an id that claude-api does not know. Such a cancel burns the id, so
/// that an execution with it is refused for an hour. Otherwise a delayed request could start the
/// execution after its cancel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Burned {
    /// The id that was cancelled.
    pub execution_id: ExecutionId,
    /// Always `cancelled`.
    pub state: State,
    /// Always true. It distinguishes this answer from a status object, which has no such member.
    pub burned: bool,
}

impl Burned {
    /// Creates the answer to a cancel of this id, which claude-api does not know.
    #[must_use]
    pub fn new(execution_id: ExecutionId) -> Self {
        Self {
            execution_id,
            state: State::Cancelled,
            burned: true,
        }
    }
}

/// The error that ended a failed execution, with a code for programs and a message for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorInfo {
    /// The kind of the error, as a name for programs. A name keeps its meaning in later versions.
    pub code: String,
    /// What was wrong and what to do, for people.
    pub message: String,
}

/// An incident that did not end the execution, such as a retry, as the status lists it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Warning {
    /// The number of the warning within its execution. The first one has 1.
    pub seq: u64,
    /// The time of the incident.
    pub at: Timestamp,
    /// The kind of the incident, as a name for programs. A name keeps its meaning in later
    /// versions.
    pub code: String,
    /// A description of the incident, for people.
    pub message: String,
    /// Details for programs, an object whose members depend on `code`. Null if there are none.
    pub data: Value,
}

/// The status object of an execution, which both services send to clients (docs/protocol.md,
/// "Status object").
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(
    missing_docs,
    reason = "docs/protocol.md, \"Status object\", describes each field"
)]
pub struct Status {
    pub execution_id: ExecutionId,
    pub state: State,
    pub reason: Option<Reason>,
    pub error: Option<ErrorInfo>,
    pub exit_code: Option<i32>,
    pub output_bytes: u64,
    pub kept_from: u64,
    pub crc32: Option<String>,
    pub sha256: Option<String>,
    pub created_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    pub duration_ms: Option<u64>,
    pub queue_position: Option<u64>,
    pub activity: Option<String>,
    pub stalled: bool,
    pub principal: Option<String>,
    pub workspace: String,
    pub lane: Option<String>,
    pub conversation: Option<String>,
    pub continues: Option<ExecutionId>,
    pub continued_by: Option<ExecutionId>,
    pub not_before: Option<Timestamp>,
    pub model: Option<String>,
    pub usage: Option<Value>,
    pub cost_usd: Option<f64>,
    #[serde(default)]
    pub structured_output: Option<Value>,
    pub permission_denials: Vec<Value>,
    #[serde(default)]
    pub questions: Vec<OpenQuestion>,
    #[serde(default)]
    pub questions_open: u64,
    pub restarts: u64,
    pub noise_lines: u64,
    pub warnings: Vec<Warning>,
    pub stderr_tail: String,
    pub metadata: BTreeMap<String, String>,
    pub webhook: Option<WebhookStatus>,
}

impl Status {
    /// Creates the status of an execution that was just accepted and waits in the queue.
    #[must_use]
    pub fn queued(execution_id: ExecutionId, created_at: Timestamp, workspace: String) -> Self {
        Self {
            execution_id,
            state: State::Queued,
            reason: None,
            error: None,
            exit_code: None,
            output_bytes: 0,
            kept_from: 0,
            crc32: None,
            sha256: None,
            created_at,
            started_at: None,
            ended_at: None,
            duration_ms: None,
            queue_position: None,
            activity: None,
            stalled: false,
            principal: None,
            workspace,
            lane: None,
            conversation: None,
            continues: None,
            continued_by: None,
            not_before: None,
            model: None,
            usage: None,
            cost_usd: None,
            structured_output: None,
            permission_denials: Vec::new(),
            questions: Vec::new(),
            questions_open: 0,
            restarts: 0,
            noise_lines: 0,
            warnings: Vec::new(),
            stderr_tail: String::new(),
            metadata: BTreeMap::new(),
            webhook: None,
        }
    }

    /// Adds a warning to the status, with the next number. If the status already has
    /// [`MAX_WARNINGS`] warnings, the last one becomes a count of the warnings that are not listed.
    pub fn warn(&mut self, at: Timestamp, code: &str, message: String, data: Value) {
        let seq = self.warnings.last().map_or(0, |w| w.seq) + 1;
        if self.warnings.len() >= MAX_WARNINGS {
            if let Some(last) = self.warnings.last_mut() {
                let more = last.data.get("more").and_then(Value::as_u64).unwrap_or(0) + 1;
                *last = Warning {
                    seq,
                    at,
                    code: "more_warnings".to_owned(),
                    message: format!("{more} more warnings are not listed"),
                    data: serde_json::json!({ "more": more, "last": code }),
                };
            }
            return;
        }
        self.warnings.push(Warning {
            seq,
            at,
            code: code.to_owned(),
            message,
            data,
        });
    }

    /// Serializes the status as one line of JSON, and shortens it to at most `limit` bytes if that
    /// is possible.
    ///
    /// Long texts and lists are shortened step by step until the status fits. The state, the reason
    /// and the numbers are never cut, so with a very small `limit` the result may be longer.
    #[must_use]
    pub fn to_json(&self, limit: usize) -> Vec<u8> {
        let encode = |status: &Self| crate::json::to_vec(status).unwrap_or_default();
        let json = encode(self);
        if json.len() <= limit {
            return json;
        }
        let mut cut = self.clone();
        let mut share = 16 * 1024;
        loop {
            cut.shorten(share);
            let json = encode(&cut);
            if json.len() <= limit || share == 0 {
                return json;
            }
            share /= 2;
        }
    }

    /// Shortens each field that can grow (stderr, lists, messages, names, usage, structured output,
    /// metadata) to about
    /// `share` bytes of JSON, so that the whole status fits into one message.
    fn shorten(&mut self, share: usize) {
        let mut cut = self.stderr_tail.len().saturating_sub(share / 2);
        while !self.stderr_tail.is_char_boundary(cut) {
            cut += 1;
        }
        self.stderr_tail.drain(..cut);
        keep_within(&mut self.permission_denials, share);
        keep_within(&mut self.questions, share);
        keep_within(&mut self.warnings, share);
        if let Some(error) = &mut self.error {
            let mut end = error.message.len().min(share.max(256));
            while !error.message.is_char_boundary(end) {
                end -= 1;
            }
            error.message.truncate(end);
        }
        for name in [&mut self.model, &mut self.activity, &mut self.lane] {
            if let Some(name) = name
                && json_bytes(name) > share.max(256)
            {
                *name = name.chars().take(64).collect();
            }
        }
        for value in [&mut self.usage, &mut self.structured_output] {
            if value
                .as_ref()
                .is_some_and(|value| json_bytes(value) > share)
            {
                *value = None;
            }
        }
        // The 4 KiB of the metadata may be 24 KiB of JSON.
        let mut used = 0;
        self.metadata.retain(|name, value| {
            used += json_bytes(name) + json_bytes(value) + 2;
            used <= share.max(METADATA_BYTES)
        });
    }
}

fn json_bytes(value: &impl Serialize) -> usize {
    crate::json::to_vec(value).map_or(usize::MAX / 4, |json| json.len())
}

/// Removes items from the end until the JSON of the list fits into `share` bytes.
fn keep_within<T: Serialize>(items: &mut Vec<T>, share: usize) {
    let mut used = 0;
    let fits = |item: &T| {
        used += json_bytes(item) + 1;
        used <= share
    };
    let keep = items.iter().map(fits).take_while(|fit| *fit).count();
    items.truncate(keep);
}

/// One page of the list of executions, as `GET /v1/executions` over HTTP and `list` over WebSocket
/// return it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Page {
    /// The statuses of the executions, newest first.
    pub executions: Vec<Status>,
    /// The value of `before` that requests the next page. `None` (null in JSON) if this page is the
    /// last.
    pub next: Option<ExecutionId>,
}

impl Page {
    /// The number of executions on a page if the request does not set `limit`.
    pub const DEFAULT_LIMIT: u64 = 50;
    /// The largest `limit` of a request, in executions per page. The smallest is 1.
    pub const MAX_LIMIT: u64 = 1000;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> Status {
        Status::queued(
            ExecutionId::random(),
            Timestamp::UNIX_EPOCH,
            "default".into(),
        )
    }

    #[test]
    fn a_status_has_all_fields() {
        let json = serde_json::to_value(status()).unwrap();
        let names = "executionId state reason error exitCode outputBytes keptFrom crc32 sha256 \
            createdAt startedAt endedAt durationMs queuePosition activity stalled principal \
            workspace lane conversation continues continuedBy notBefore model usage costUsd \
            structuredOutput permissionDenials questions questionsOpen restarts noiseLines warnings \
            stderrTail metadata webhook";
        let mut expected: Vec<_> = names.split_whitespace().collect();
        expected.sort_unstable();
        let mut present: Vec<_> = json
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        present.sort_unstable();
        assert_eq!(present, expected);
        assert_eq!(json["createdAt"], "1970-01-01T00:00:00Z");
    }

    #[test]
    fn a_status_with_large_fields_is_cut_to_its_limit() {
        let mut big = status();
        big.stderr_tail = "\u{1}".repeat(STDERR_TAIL_BYTES);
        big.permission_denials =
            vec![serde_json::json!({"tool_input": "x".repeat(9000)}); MAX_DENIALS];
        for n in 0..200 {
            big.warn(
                Timestamp::UNIX_EPOCH,
                "w",
                format!("{n}{}", "y".repeat(900)),
                Value::Null,
            );
        }
        big.usage = Some(serde_json::json!({"x": "z".repeat(40_000)}));
        assert_eq!(big.warnings.len(), MAX_WARNINGS);
        assert_eq!(big.warnings[MAX_WARNINGS - 1].seq, 200);
        assert_eq!(big.warnings[MAX_WARNINGS - 1].data["more"], 136);
        let json = big.to_json(64 * 1024);
        assert!(json.len() <= 64 * 1024, "{}", json.len());
        let back: Status = serde_json::from_slice(&json).unwrap();
        assert_eq!(back.execution_id, big.execution_id);
    }
}

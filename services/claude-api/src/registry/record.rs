//! The records of an execution on disk: the accepted request, and each status.

use protocol::{Body, ExecutionId, Status};
use serde::{Deserialize, Serialize};

use crate::config::Permissions;
use crate::times::now;

/// An accepted request, with the operator's defaults of that moment. Later changes of the settings
/// do not affect an accepted execution.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Accepted {
    /// The body that the client sent.
    pub body: Body,
    /// The permissions of the CLI's tools, resolved from the body and the operator's settings.
    pub permissions: Permissions,
    /// The id of the conversation: from the body, or the execution's own id.
    pub conversation: String,
    /// The time without progress after which the execution is ended, in milliseconds.
    pub idle_timeout_ms: u64,
    /// The counters that a policy's continuation inherits; zero for a client's execution.
    #[serde(default)]
    pub chain: Chain,
}

/// Counts that a continuation inherits from the execution that it continues by policy: after too
/// many interruptions there is no further continuation, and the waits after usage limits grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Chain {
    /// The number of interruptions in a row.
    pub interruptions: u32,
    /// The number of usage limits in a row.
    pub limits: u32,
}

/// The identity of a CLI's process, valid even if the pid is used again. After a kill of the
/// service, the next start finds and kills the CLI and its children by it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CliProcess {
    /// The pid of the process.
    pub pid: u32,
    /// The start time of the process, in clock ticks since boot (proc_pid_stat(5)).
    pub start_ticks: u64,
    /// The id of the boot in which pid and start time are valid.
    pub boot_id: String,
}

/// A status as it is stored in the spool, with the identity of the CLI's process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The status as clients see it.
    pub status: Status,
    /// The CLI's process; `None` until it has started.
    pub cli: Option<CliProcess>,
}

impl Record {
    /// Encodes a record as JSON, in which the status has at most `limit` bytes.
    #[must_use]
    pub fn encode(status: &Status, cli: Option<&CliProcess>, limit: usize) -> Vec<u8> {
        let mut json = br#"{"cli":"#.to_vec();
        json.extend(serde_json::to_vec(&cli).unwrap_or_else(|_| b"null".to_vec()));
        json.extend_from_slice(br#","status":"#);
        json.extend(status.to_json(limit));
        json.push(b'}');
        json
    }

    /// Decodes a record.
    ///
    /// # Errors
    /// The JSON was not written by [`Record::encode`].
    pub fn decode(json: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(json)
    }
}

/// Returns the first status of an execution: queued, with the facts from its accepted request.
pub(crate) fn first_status(id: ExecutionId, accepted: &Accepted) -> Status {
    let Accepted {
        body, conversation, ..
    } = accepted;
    let mut status = Status::queued(id, now(), body.workspace.clone());
    status.lane.clone_from(&body.lane);
    status.conversation = Some(conversation.clone());
    status.continues = body.continues;
    status.model.clone_from(&body.model);
    status.metadata.clone_from(&body.metadata);
    status
}

/// Changes a queued status to running since `at`.
pub(crate) fn begin(status: &mut Status, at: jiff::Timestamp) {
    status.state = protocol::State::Running;
    status.started_at = Some(at);
    status.activity = Some(renderer::Activity::Starting.to_string());
    status.queue_position = None;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_decodes_to_what_was_encoded() {
        let status = Status::queued(
            protocol::ExecutionId::random(),
            jiff::Timestamp::UNIX_EPOCH,
            "default".into(),
        );
        let cli = CliProcess {
            pid: 7,
            start_ticks: 8,
            boot_id: "b".into(),
        };
        for cli in [None, Some(cli)] {
            let json = Record::encode(&status, cli.as_ref(), 65_536);
            let decoded = Record::decode(&json).unwrap();
            assert_eq!(
                decoded,
                Record {
                    status: status.clone(),
                    cli
                }
            );
        }
    }
}

//! The parts of an execution on disk besides its output.

use protocol::{Body, ExecutionId, Status};
use serde::{Deserialize, Serialize};

use crate::config::Permissions;
use crate::times::now;

/// What was accepted, with the operator's defaults of that moment: later changes of the settings change no accepted execution.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Accepted {
    /// What the client sent.
    pub body: Body,
    /// What the CLI's tools may do.
    pub permissions: Permissions,
    /// The conversation: the body's, or the execution's own id.
    pub conversation: String,
    /// Milliseconds without progress after which it is ended.
    pub idle_timeout_ms: u64,
    /// What it inherits, where a policy made it.
    #[serde(default)]
    pub chain: Chain,
}

/// What one execution inherits of those before it in its chain of continuations by policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Chain {
    /// Interruptions in a row.
    pub interruptions: u32,
    /// Usage limits in a row.
    pub limits: u32,
}

/// The CLI's process, for the next start's sweep after a kill of the service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CliProcess {
    /// Its pid.
    pub pid: u32,
    /// Its start time, in clock ticks since boot (proc_pid_stat(5)).
    pub start_ticks: u64,
    /// The boot in which that holds.
    pub boot_id: String,
}

/// What a status slot of the spool holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The status as clients see it.
    pub status: Status,
    /// The CLI's process, once there is one.
    pub cli: Option<CliProcess>,
}

impl Record {
    /// As JSON; the status in it has at most `limit` bytes.
    #[must_use]
    pub fn encode(status: &Status, cli: Option<&CliProcess>, limit: usize) -> Vec<u8> {
        let mut json = br#"{"cli":"#.to_vec();
        json.extend(serde_json::to_vec(&cli).unwrap_or_else(|_| b"null".to_vec()));
        json.extend_from_slice(br#","status":"#);
        json.extend(status.to_json(limit));
        json.push(b'}');
        json
    }

    /// Reads one back.
    ///
    /// # Errors
    /// It is not what [`Record::encode`] wrote.
    pub fn decode(json: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(json)
    }
}

/// The status of an execution that was just accepted.
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

/// Marks the status as running since `at`.
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
    fn round_trip() {
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
            let back = Record::decode(&json).unwrap();
            assert_eq!(
                back,
                Record {
                    status: status.clone(),
                    cli
                }
            );
        }
    }
}

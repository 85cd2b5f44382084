//! The two JSON records of an execution on disk: the accepted request, and its newest status.

use protocol::webhook::WebhookStatus;
use protocol::{Body, ExecutionId, Status, TraceContext};
use serde::{Deserialize, Serialize};
use spool::Owner;

use crate::config::Permissions;
use crate::times::now;

/// The request of an accepted execution as stored on disk, with the operator's settings at the time
/// of acceptance. Later changes of the settings do not affect the execution.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Accepted {
    /// The principal to whom the execution belongs. `None` if the service had no token file when it
    /// was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
    /// The JSON body of the client's request, with the prompt. A continuation by request has the
    /// workspace of the execution that it continues.
    pub body: Body,
    /// The permissions of the CLI's tools in this execution, resolved from the body and the
    /// operator's settings.
    pub permissions: Permissions,
    /// The id of the conversation, which is the CLI's memory of earlier prompts. It is taken from
    /// the body or from the continued execution; otherwise it is the execution's own id.
    pub conversation: String,
    /// The conversation that the CLI copies at its start, if the execution forks one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forked_from: Option<String>,
    /// How long the execution may make no progress before it is ended, in milliseconds.
    pub idle_timeout_ms: u64,
    /// The counters that a continuation by policy inherits. All are zero in an execution that a
    /// client requested.
    #[serde(default)]
    pub chain: Chain,
    /// The span that is the parent of the execution's own: the one of the request, or the client's.
    /// A continuation by policy has the parent of the execution that it continues. `None` if there
    /// is no trace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<TraceContext>,
}

impl Accepted {
    /// Returns the owner of the execution, as the spool stores it.
    #[must_use]
    pub fn owner(&self) -> Owner {
        self.principal.as_deref().map_or(Owner::NONE, Owner::of)
    }
}

/// How often a policy has continued an execution in a row. A continuation inherits these counts.
/// After too many interruptions there is no further continuation, and the waits after usage limits
/// grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Chain {
    /// The number of consecutive executions that were interrupted.
    pub interruptions: u32,
    /// The number of consecutive executions that ended at a usage limit of the model.
    pub limits: u32,
}

/// The identity of a CLI's process, which stays unique even if the kernel uses the pid again. If
/// the service is killed, its next start uses this to find and kill the CLI and its child
/// processes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CliProcess {
    /// The process id (pid).
    pub pid: u32,
    /// When the process started, in clock ticks since boot (proc_pid_stat(5)). It distinguishes the
    /// process from a later one with the same pid.
    pub start_ticks: u64,
    /// The kernel's id of the boot in which `pid` and `start_ticks` are valid. After a reboot, the
    /// process does not exist any more.
    pub boot_id: String,
}

/// A status of an execution as stored on disk, with the identity of the CLI's process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The status of the execution, as clients see it.
    pub status: Status,
    /// The process of the CLI; `None` if it has not started.
    pub cli: Option<CliProcess>,
}

impl Record {
    /// Encodes a record as JSON. `limit` is the maximum size of the status in it, in bytes; a
    /// longer status is shortened.
    #[must_use]
    pub fn encode(status: &Status, cli: Option<&CliProcess>, limit: usize) -> Vec<u8> {
        let mut json = br#"{"cli":"#.to_vec();
        json.extend(serde_json::to_vec(&cli).unwrap_or_else(|_| b"null".to_vec()));
        json.extend_from_slice(br#","status":"#);
        json.extend(status.to_json(limit));
        json.push(b'}');
        json
    }

    /// Decodes a record from its JSON on disk.
    ///
    /// # Errors
    /// The text is malformed: it is not a record that [`Record::encode`] wrote.
    pub fn decode(json: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(json)
    }
}

/// Returns the first status of a newly accepted execution: `queued` since now, with the lane,
/// model, workspace, metadata and webhook of its request.
pub(crate) fn first_status(id: ExecutionId, accepted: &Accepted) -> Status {
    let Accepted {
        principal,
        body,
        conversation,
        ..
    } = accepted;
    let mut status = Status::queued(id, now(), body.workspace.clone());
    status.principal.clone_from(principal);
    status.lane.clone_from(&body.lane);
    status.conversation = Some(conversation.clone());
    status.continues = body.continues;
    status.model.clone_from(&body.model);
    status.metadata.clone_from(&body.metadata);
    status.webhook = body.webhook.as_ref().map(WebhookStatus::new);
    status
}

/// Changes the status of a queued execution to `running`, started at the time `at`.
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

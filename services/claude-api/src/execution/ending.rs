//! The end of an execution: the verdict. The caller records it.

use std::time::Instant;

use protocol::trailers::crc32_text;
use protocol::{ErrorInfo, Reason, State, Status};
use runner::Unkillable;
use serde_json::json;
use spool::Marks;

use super::machine::Machine;
use super::owner::Owner;
use super::policy::{EndContext, was_asked};
use super::verdict::{EndedBy, Exit, Facts, verdict};
use crate::conversations::transcript_bytes;
use crate::hooks::Failure;
use crate::times::millis;

/// Up to this length the SHA-256 is part of the terminal status; longer outputs get it later, off the data path.
const DIGEST_AT_ONCE_BYTES: u64 = 1024 * 1024;
/// The SHA-256 of an empty output.
pub(crate) const EMPTY_SHA256: &str =
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// An end that is to be recorded.
pub(crate) struct Ended {
    pub(crate) status: Status,
    /// What the policies that may follow must know; none if none may, because it never began.
    pub(crate) context: Option<EndContext>,
    /// Whether the output is still to be hashed.
    pub(crate) digest_is_due: bool,
}

/// What the run left.
pub(super) struct End {
    pub(super) machine: Machine,
    pub(super) marks: Marks,
    pub(super) runner_failure: Option<String>,
    pub(super) unkillable: Vec<Unkillable>,
}

/// Ends an execution that was cancelled in the queue, and never had a process.
pub(super) fn cancelled_in_queue(owner: &mut Owner, mut status: Status) -> Ended {
    let exit = Exit::NotStarted("it was cancelled in the queue".to_owned());
    apply_without_result(&mut status, owner.times.now(), EndedBy::Cancel, &exit);
    status.output_bytes = 0;
    status.crc32 = Some(crc32_text(0));
    status.sha256 = Some(EMPTY_SHA256.to_owned());
    Ended {
        status,
        context: None,
        digest_is_due: false,
    }
}

/// No process came to be, as `why` says, or because that was asked.
pub(super) fn failed_to_start(
    owner: &mut Owner,
    mut status: Status,
    by: EndedBy,
    why: &str,
) -> Ended {
    let exit = Exit::NotStarted(why.to_owned());
    apply_without_result(&mut status, owner.times.now(), by, &exit);
    if by == EndedBy::Itself {
        owner.engine.readiness.spawn_failed();
    }
    without_output(status)
}

/// Ends an execution whose required hook before it failed. No CLI was started.
pub(super) fn refused(owner: &mut Owner, mut status: Status, failure: Failure) -> Ended {
    let exit = Exit::NotStarted("its required hook failed".to_owned());
    apply_without_result(&mut status, owner.times.now(), EndedBy::Hook, &exit);
    status.error = Some(ErrorInfo {
        code: "hook_refused".to_owned(),
        message: failure.message,
    });
    status.stderr_tail = failure.stderr;
    without_output(status)
}

/// The end of an execution that began and had no CLI.
fn without_output(mut status: Status) -> Ended {
    status.crc32 = Some(crc32_text(0));
    status.sha256 = Some(EMPTY_SHA256.to_owned());
    status.duration_ms.get_or_insert(0);
    let context = EndContext {
        asked: false,
        resets_at: None,
    };
    Ended {
        status,
        context: Some(context),
        digest_is_due: false,
    }
}

/// The tree is gone and the output drained.
pub(super) async fn ended(owner: &mut Owner, end: End) -> Ended {
    let End {
        mut machine,
        marks,
        runner_failure,
        unkillable,
    } = end;
    if !unkillable.is_empty() {
        let list: Vec<_> = unkillable
            .iter()
            .map(|u| json!({ "pid": u.pid, "command": u.command, "state": u.state.to_string() }))
            .collect();
        // Only an uninterruptible wait (state D) is caused by the kernel.
        let why = if unkillable.iter().all(|u| u.state == 'D') {
            "the kernel holds them"
        } else {
            "they belong to another user, or keep starting new processes"
        };
        machine.warn(
            "process_left",
            format!("{} processes outlived SIGKILL: {why}", list.len()),
            json!({ "processes": list }),
        );
        owner.engine.sweep_on();
    }
    let resets_at = machine.resets_at();
    let running = machine.running(Instant::now());
    let stderr = machine.stderr_tail();
    let answered = machine.has_answered();
    let (mut status, outcome, gone) = machine.into_end();
    let asked = was_asked(&status);
    let at = owner.times.now();
    let facts = Facts {
        ended_by: gone.ended_by,
        exit: &gone.exit,
        outcome: outcome.as_ref(),
        answered,
        stderr: &stderr,
    };
    apply(&mut status, at, &facts);
    if status.reason == Some(Reason::RunnerDied) {
        let how = runner_failure.unwrap_or_default();
        status.error = Some(ErrorInfo {
            code: "runner_died".to_owned(),
            message: format!("the runner of the execution died: {how}"),
        });
    }
    status.stderr_tail = stderr;
    status.duration_ms = Some(millis(running));
    status.output_bytes = marks.len;
    status.kept_from = marks.kept_from;
    status.crc32 = Some(crc32_text(marks.crc32));
    if status.reason == Some(Reason::UsageLimit)
        && let Some(resets) = resets_at
    {
        let resets = jiff::Timestamp::from_second(resets).ok();
        let resets = resets.map(|t| t.to_string());
        status.warn(
            at,
            "usage_limit",
            "the usage limit is reached".to_owned(),
            json!({ "resetsAt": resets }),
        );
    }
    if status.state == State::Completed && marks.len == 0 {
        status.warn(
            at,
            "empty_answer",
            "the CLI reported success without any text".to_owned(),
            serde_json::Value::Null,
        );
    }
    if status.state == State::Completed {
        warn_of_transcript(owner, &mut status).await;
    }
    let readiness = &owner.engine.readiness;
    match status.reason {
        Some(Reason::AuthFailed) => readiness.credential_refused(owner.credential.clone()),
        Some(Reason::SpawnFailed) => readiness.spawn_failed(),
        _ if status.state == State::Completed => readiness.credential_worked(),
        _ => {}
    }
    let mut later = marks.kept_from == 0;
    if later && marks.len <= DIGEST_AT_ONCE_BYTES {
        status.sha256 = spool::sha256(&owner.entry).await.map(hex);
        later = false;
    }
    Ended {
        status,
        context: Some(EndContext { asked, resets_at }),
        digest_is_due: later,
    }
}

/// Warns when the CLI's transcript did not grow: the CLI does not report a full disk.
async fn warn_of_transcript(owner: &Owner, status: &mut Status) {
    let config_dir = owner.engine.environment.config_dir();
    let conversation = owner.accepted.conversation.clone();
    let shown = config_dir.display().to_string();
    let look = move || transcript_bytes(&config_dir, &conversation);
    let written = spool::blocking::run(look).await;
    if written.is_ok_and(|written| written <= owner.transcript_bytes) {
        status.warn(
            owner.times.now(),
            "transcript_missing",
            format!(
                "the CLI wrote no whole transcript below {shown}, so the conversation cannot be \
                 continued from here; see that its disk has room"
            ),
            serde_json::Value::Null,
        );
    }
}

/// Turns an end into that of a cancel which came before it was recorded.
pub(crate) fn cancelled(status: &mut Status, at: jiff::Timestamp) {
    let exit = Exit::reaped(status.exit_code, None);
    apply_without_result(status, at, EndedBy::Cancel, &exit);
    status.continued_by = None;
}

/// The verdict on an execution whose CLI brought no result.
fn apply_without_result(status: &mut Status, at: jiff::Timestamp, ended_by: EndedBy, exit: &Exit) {
    let facts = Facts {
        ended_by,
        exit,
        outcome: None,
        answered: false,
        stderr: "",
    };
    apply(status, at, &facts);
}

fn apply(status: &mut Status, at: jiff::Timestamp, facts: &Facts<'_>) {
    let verdict = verdict(facts);
    status.state = verdict.state;
    status.reason = verdict.reason;
    status.exit_code = verdict.exit_code;
    status.error = verdict.error;
    status.ended_at = Some(at);
    status.activity = None;
    status.stalled = false;
    status.queue_position = None;
}

/// A SHA-256 as statuses have it.
pub(crate) fn hex(digest: [u8; 32]) -> String {
    digest.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests;

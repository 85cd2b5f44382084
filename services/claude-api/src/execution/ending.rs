//! Makes the terminal status of an execution: state, reason, exit code, error, checksums and
//! warnings. The caller writes the status to disk.

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

/// The maximum length in bytes of an output whose SHA-256 is computed before the terminal status is
/// written. Hashing a longer output would delay the terminal status, so that digest is added
/// afterwards.
const DIGEST_IN_STATUS_BYTES: u64 = 1024 * 1024;
/// The SHA-256 of zero bytes, as 64 hexadecimal digits. It is the digest of an execution without
/// output.
pub(crate) const EMPTY_SHA256: &str =
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// The result of an execution that has ended, before it is written to disk: the terminal status,
/// and the facts for the work that follows the end.
pub(crate) struct Ended {
    /// The terminal status, without the SHA-256 of a long output (see `digest_is_due`).
    pub(crate) status: Status,
    /// The facts for the policies `onInterrupt` and `onUsageLimit`, which may start a continuation.
    /// `None` if the execution was cancelled in the queue and never began, so that no policy
    /// applies.
    pub(crate) context: Option<EndContext>,
    /// Whether the SHA-256 of the output must still be computed, after the terminal status is
    /// written.
    pub(crate) digest_is_due: bool,
}

/// A run of the CLI that is over: no process of its tree is left except for those in `unkillable`,
/// and all of its output is in the spool.
pub(super) struct FinishedRun {
    /// The state machine of the run, with the last status, the CLI's result and the cause of the
    /// end.
    pub(super) machine: Machine,
    /// The final length, oldest kept byte and CRC-32 of the output.
    pub(super) marks: Marks,
    /// The reason in words why the runner (the process that started the CLI) died; `None` if it did
    /// not die.
    pub(super) runner_failure: Option<String>,
    /// The processes of the tree that still exist after SIGKILL, usually because of an
    /// uninterruptible wait in the kernel. Usually empty.
    pub(super) unkillable: Vec<Unkillable>,
}

/// Makes the terminal status `cancelled` of an execution that was cancelled while it was queued. No
/// process was started, so the output is empty and no policy applies.
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

/// Makes the terminal status of an execution that began, but whose CLI was never started.
/// `ended_by` is the cause: a cancel, a stop or a deadline, or `Itself` for a start that failed
/// with `reason`. A failed start also requests a new check of the CLI for `/health/ready`.
pub(super) fn failed_to_start(
    owner: &mut Owner,
    mut status: Status,
    ended_by: EndedBy,
    reason: &str,
) -> Ended {
    let exit = Exit::NotStarted(reason.to_owned());
    apply_without_result(&mut status, owner.times.now(), ended_by, &exit);
    if ended_by == EndedBy::Itself {
        owner.engine.readiness.spawn_failed();
    }
    without_output(status)
}

/// Makes the terminal status `failed` with the reason `hook_refused`, for an execution whose
/// required before hook (a program of the operator) failed. No CLI was started. The status gets the
/// hook's message and the tail of its stderr.
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

/// Completes the status of an execution that began, but whose CLI was never started. Adds the
/// CRC-32 and the SHA-256 of an empty output, and a duration of 0 if none is set.
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

/// Makes the terminal status of a finished run: applies the verdict, and adds the length and the
/// checksums of the output. Warns of processes that outlived SIGKILL, of an empty answer and of a
/// missing transcript. Also reports to readiness whether the credential and the CLI worked.
pub(super) async fn ended(owner: &mut Owner, finished: FinishedRun) -> Ended {
    let FinishedRun {
        mut machine,
        marks,
        runner_failure,
        unkillable,
    } = finished;
    if !unkillable.is_empty() {
        let list: Vec<_> = unkillable
            .iter()
            .map(|u| json!({ "pid": u.pid, "command": u.command, "state": u.state.to_string() }))
            .collect();
        // Only an uninterruptible wait (state D) is caused by the kernel.
        let reason = if unkillable.iter().all(|u| u.state == 'D') {
            "the kernel holds them"
        } else {
            "they belong to another user, or keep starting new processes"
        };
        machine.warn(
            "process_left",
            format!("{} processes outlived SIGKILL: {reason}", list.len()),
            json!({ "processes": list }),
        );
        owner.engine.start_sweeping();
    }
    if let Some(questions) = &owner.questions {
        questions.end(owner.times.now()).await;
    }
    let running = machine.running_time(Instant::now());
    let is_granted = owner.held.is_some();
    if let Some(held) = owner.held.take() {
        // No process is left that could use the grant.
        let charges = held.end(machine.may_have_open_request()).await;
        machine.charged(&charges);
    }
    let resets_at = machine.resets_at();
    let budget_spent = machine.budget_is_spent();
    let stderr = machine.stderr_tail();
    let answered = machine.has_answered();
    let (mut status, outcome, end) = machine.into_end();
    let asked = was_asked(&status);
    let at = owner.times.now();
    let facts = Facts {
        ended_by: end.ended_by,
        exit: &end.exit,
        outcome: outcome.as_ref(),
        answered,
        budget_spent,
        stderr: &stderr,
    };
    apply_verdict(&mut status, at, &facts);
    if status.reason == Some(Reason::RunnerDied) {
        let reason = runner_failure.unwrap_or_default();
        status.error = Some(ErrorInfo {
            code: "runner_died".to_owned(),
            message: format!("the runner of the execution died: {reason}"),
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
        Some(Reason::SpawnFailed) => readiness.spawn_failed(),
        // The reports of `credentials` say whether the API accepts the credential.
        _ if is_granted => {}
        Some(Reason::AuthFailed) => readiness.credential_refused(owner.credential.clone()),
        _ if status.state == State::Completed => readiness.credential_worked(),
        _ => {}
    }
    // An output whose beginning was freed cannot be hashed.
    let mut digest_is_due = marks.kept_from == 0;
    if digest_is_due && marks.len <= DIGEST_IN_STATUS_BYTES {
        status.sha256 = spool::sha256(&owner.entry).await.map(hex);
        digest_is_due = false;
    }
    Ended {
        status,
        context: Some(EndContext { asked, resets_at }),
        digest_is_due,
    }
}

/// Adds the warning `transcript_missing` to the status if the CLI's transcript did not grow during
/// the run, so that the conversation cannot be continued. The usual cause is a full disk, which the
/// CLI does not report. Reads the transcript's length on a blocking thread.
async fn warn_of_transcript(owner: &Owner, status: &mut Status) {
    let config_dir = owner.engine.environment.config_dir();
    let conversation = owner.accepted.conversation.clone();
    let shown = config_dir.display().to_string();
    let measure = move || transcript_bytes(&config_dir, &conversation);
    let written = spool::blocking::run(measure).await;
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

/// Changes a terminal status that is not on disk yet to `cancelled`, because a client's cancel was
/// accepted before the status was recorded. Removes a continuation from it.
pub(crate) fn cancelled(status: &mut Status, at: jiff::Timestamp) {
    let exit = Exit::reaped(status.exit_code, None);
    apply_without_result(status, at, EndedBy::Cancel, &exit);
    status.continued_by = None;
}

/// Applies the verdict to the status of an execution whose CLI reported no result.
fn apply_without_result(status: &mut Status, at: jiff::Timestamp, ended_by: EndedBy, exit: &Exit) {
    let facts = Facts {
        ended_by,
        exit,
        outcome: None,
        answered: false,
        budget_spent: false,
        stderr: "",
    };
    apply_verdict(status, at, &facts);
}

/// Decides the terminal state from `facts` and writes it into the status, with the time of the end.
/// Clears the fields that only a live execution has, such as the activity.
fn apply_verdict(status: &mut Status, at: jiff::Timestamp, facts: &Facts<'_>) {
    let verdict = verdict(facts);
    status.state = verdict.state;
    status.reason = verdict.reason;
    status.exit_code = verdict.exit_code;
    status.error = verdict.error;
    status.ended_at = Some(at);
    status.activity = None;
    status.stalled = false;
    status.queue_position = None;
    status.questions.clear();
    status.questions_open = 0;
}

/// Formats a SHA-256 digest as 64 lower-case hexadecimal digits, as a status contains it.
pub(crate) fn hex(digest: [u8; 32]) -> String {
    digest.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests;

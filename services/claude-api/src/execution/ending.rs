//! The end of an execution: the verdict, the terminal status on disk, then in everybody's sight.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use protocol::trailers::crc32_text;
use protocol::{ErrorInfo, ExecutionId, Reason, State, Status};
use runner::Unkillable;
use serde_json::json;
use spool::Marks;
use tokio::sync::Semaphore;

use super::accepted::Record;
use super::live::millis;
use super::machine::Machine;
use super::policy::{Before, was_asked};
use super::task::{Owner, blocking};
use super::verdict::{EndedBy, Facts, verdict};
use super::wish::EndWish;
use crate::conversations::transcript_bytes;
use crate::hooks::{Failure, run_after};
use crate::service::{Born, Service};

/// Up to this length the SHA-256 is part of the terminal status; longer outputs get it later, off the data path.
const DIGEST_AT_ONCE_BYTES: u64 = 1024 * 1024;
/// The SHA-256 of an empty output.
pub(crate) const EMPTY_SHA256: &str =
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
/// Larger outputs that are hashed at once: each takes a thread, a core and memory, and nobody waits for it.
static DIGESTS: Semaphore = Semaphore::const_new(1);
/// How often writing a terminal status is tried: a disk that fails for a moment must not turn an end into a lie.
const TRIES: u32 = 4;
/// How long until a disk that takes nothing is tried again.
const RETRY: Duration = Duration::from_secs(2);

/// What the run left.
pub(super) struct End {
    pub(super) machine: Machine,
    pub(super) marks: Marks,
    pub(super) spawn_failed: Option<String>,
    pub(super) runner_failure: Option<String>,
    pub(super) exit: (Option<i32>, Option<i32>),
    pub(super) unkillable: Vec<Unkillable>,
    pub(super) spawned: bool,
}

/// It never had a process: cancelled in the queue.
pub(super) async fn unstarted(owner: &mut Owner, mut status: Status, by: EndedBy) {
    let at = owner.times.now();
    apply(&mut status, at, by, None, (None, None), None, "");
    status.output_bytes = 0;
    status.crc32 = Some(crc32_text(0));
    status.sha256 = Some(EMPTY_SHA256.to_owned());
    close(owner, status, true, None).await;
}

/// No process came to be, as `why` says, or because that was asked.
pub(super) async fn failed_to_start(owner: &mut Owner, mut status: Status, by: EndedBy, why: &str) {
    let at = owner.times.now();
    apply(&mut status, at, by, None, (None, None), Some(why), "");
    if by == EndedBy::Itself {
        owner.service.engine.readiness.spawn_failed();
    }
    without_output(owner, status).await;
}

/// Ends an execution whose required hook before it failed. No CLI was started.
pub(super) async fn refused(owner: &mut Owner, mut status: Status, failure: Failure) {
    let at = owner.times.now();
    let by = EndedBy::Hook;
    apply(&mut status, at, by, None, (None, None), None, "");
    status.error = Some(ErrorInfo {
        code: "hook_refused".to_owned(),
        message: failure.message,
    });
    status.stderr_tail = failure.stderr;
    without_output(owner, status).await;
}

/// Records the end of an execution that began and had no CLI.
async fn without_output(owner: &mut Owner, mut status: Status) {
    status.crc32 = Some(crc32_text(0));
    status.sha256 = Some(EMPTY_SHA256.to_owned());
    status.duration_ms.get_or_insert(0);
    let before = Before {
        asked: false,
        resets_at: None,
    };
    let born = follow_end(owner, &mut status, before).await;
    close(owner, status, true, born).await;
}

/// The tree is gone and the output drained.
pub(super) async fn ended(owner: &mut Owner, end: End) {
    let End {
        mut machine,
        marks,
        spawn_failed,
        runner_failure,
        exit,
        unkillable,
        spawned,
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
        owner.service.engine.sweep_on();
    }
    let stderr = machine.stderr_tail();
    let resets_at = machine.resets_at();
    let running = machine.timers.running(Instant::now());
    let mut status = machine.status.clone();
    let asked = was_asked(&status);
    let spawn_failed = if spawned { None } else { spawn_failed };
    let at = owner.times.now();
    apply(
        &mut status,
        at,
        machine.by,
        machine
            .outcome()
            .map(|outcome| (outcome, machine.has_answered())),
        exit,
        spawn_failed.as_deref(),
        &stderr,
    );
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
        && let Some(resets) = machine.resets_at()
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
    let readiness = &owner.service.engine.readiness;
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
    let born = follow_end(owner, &mut status, Before { asked, resets_at }).await;
    close(owner, status, !later, born).await;
}

async fn follow_end(owner: &Owner, status: &mut Status, before: Before) -> Option<Born> {
    let Owner {
        service,
        accepted,
        entry,
        ..
    } = owner;
    service
        .follow_end(&accepted.body, entry, status, before)
        .await
}

/// Warns when the CLI's transcript did not grow: the CLI does not report a full disk.
async fn warn_of_transcript(owner: &Owner, status: &mut Status) {
    let config_dir = owner.service.engine.environment.config_dir();
    let conversation = owner.accepted.conversation.clone();
    let shown = config_dir.display().to_string();
    let look = move || transcript_bytes(&config_dir, &conversation);
    let written = tokio::task::spawn_blocking(look).await;
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

fn apply(
    status: &mut Status,
    at: jiff::Timestamp,
    by: EndedBy,
    outcome: Option<(&renderer::Outcome, bool)>,
    exit: (Option<i32>, Option<i32>),
    spawn_failed: Option<&str>,
    stderr: &str,
) {
    let verdict = verdict(&Facts {
        by,
        code: exit.0,
        signal: exit.1,
        spawn_failed,
        outcome: outcome.map(|(outcome, _)| outcome),
        answered: outcome.is_some_and(|(_, answered)| answered),
        stderr,
    });
    status.state = verdict.state;
    status.reason = verdict.reason;
    status.exit_code = verdict.exit_code;
    status.error = verdict.error;
    status.ended_at = Some(at);
    status.activity = None;
    status.stalled = false;
    status.queue_position = None;
}

/// Writes the terminal status, shows it, takes the execution off the live ones. `born` is what a policy made to follow it.
///
/// What the disk does not take is shown all the same, but stays live until the disk has it: whoever asks hears one end.
async fn close(owner: &mut Owner, mut status: Status, complete: bool, born: Option<Born>) {
    let service = Arc::clone(&owner.service);
    // A cancel during the steps above counts as before the end, and cancels a continuation as well.
    // A later cancel changes nothing and is answered with this end.
    let cancelled = owner.wishes.seal() == Some(EndWish::Cancel);
    if cancelled && status.state != State::Cancelled {
        let exit = (status.exit_code, None);
        let at = owner.times.now();
        apply(&mut status, at, EndedBy::Cancel, None, exit, None, "");
        status.continued_by = None;
    }
    match born {
        Some(born) if cancelled => service.withdraw(born).await,
        Some(born) => {
            service.raise(born);
        }
        None => {}
    }
    let recorded = record_end(owner, &status).await;
    // A stop that sees the end published waits for the hook that follows.
    let _hook_follows = service.background_token();
    owner.show(&status, Duration::ZERO, None);
    owner.wishes.answer_all();
    service.engine.metrics.ended(&status);
    log(&status, owner.prompt_bytes);
    if !recorded {
        let execution = status.execution_id;
        tracing::error!(%execution, "could not write the terminal status; retrying");
        while !record_end(owner, &status).await {
            tokio::select! {
                () = tokio::time::sleep(RETRY) => {}
                () = service.stopping() => return,
            }
        }
    }
    service.retire(status.execution_id);
    if !complete {
        digest_later(&service, status.execution_id);
    }
    run_after(&service, status);
}

/// Whether the disk has it.
async fn record_end(owner: &Owner, status: &Status) -> bool {
    let json = Record::encode(
        status,
        owner.cli.as_ref(),
        owner.service.engine.status_bytes(),
    );
    for attempt in 1..=TRIES {
        let (entry, json) = (owner.entry.clone(), json.clone());
        match blocking(move || entry.write_status(&json, true, true)).await {
            Ok(()) => return true,
            Err(error) if attempt == TRIES => {
                tracing::warn!(execution = %status.execution_id, %error, "the terminal status was not written");
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(10 << attempt)).await,
        }
    }
    false
}

/// The one wide event of an execution.
fn log(status: &Status, prompt_bytes: usize) {
    tracing::info!(
        execution = %status.execution_id,
        state = status.state.as_str(),
        reason = status.reason.map(Reason::as_str),
        exit_code = status.exit_code,
        prompt_bytes,
        output_bytes = status.output_bytes,
        duration_ms = status.duration_ms,
        queued_ms = status.started_at.map(|at| at.as_millisecond() - status.created_at.as_millisecond()),
        cost_usd = status.cost_usd,
        restarts = status.restarts,
        warnings = status.warnings.len(),
        lane = status.lane,
        workspace = status.workspace,
        "execution ended"
    );
}

/// Reads the output once more, beside everything else, and adds its SHA-256 to the status.
pub(crate) fn digest_later(service: &Arc<Service>, id: ExecutionId) {
    if !service.digesting.add(id) {
        return;
    }
    let service = Arc::clone(service);
    let background = Arc::clone(&service);
    background.background(async move {
        let place = tokio::select! {
            // Nobody waits for it: a stop does not either.
            biased;
            () = service.stopping() => return,
            place = DIGESTS.acquire() => place,
        };
        // Never closed.
        let Ok(_place) = place else { return };
        let made = tokio::select! {
            // A stop also drops the digest under way, after its current chunk.
            biased;
            () = service.stopping() => return,
            made = digest(&service, id) => made,
        };
        if let Err(error) = made {
            tracing::warn!(execution = %id, %error, "the SHA-256 was not recorded");
        }
        service.digesting.remove(id);
    });
}

/// Adds the SHA-256 to a terminal status, where all bytes are kept.
async fn digest(service: &Arc<Service>, id: ExecutionId) -> std::io::Result<()> {
    // The entry's files are open only during its turn.
    let opener = Arc::clone(service);
    let opened = blocking(move || {
        opener
            .engine
            .spool
            .get(id.uuid())
            .map_err(std::io::Error::other)
    });
    let Some(entry) = opened.await? else {
        return Ok(());
    };
    let Some(digest) = spool::sha256(&entry).await else {
        return Ok(());
    };
    let amending = Arc::clone(service);
    blocking(move || amending.amend(&entry, |status| status.sha256 = Some(hex(digest)))).await
}

/// The outputs that wait for their SHA-256 or are being hashed, each once.
///
/// - Taken when: an execution ends, always, at the cost of an id. A look at an old status takes a
///   place only while fewer than 64 are taken; otherwise the next look tries again. A place is
///   released when the digest is recorded or cannot be made.
/// - Who waits behind whom: outputs wait for one core, in order. No client waits for them.
/// - The other direction: a digest sends nothing.
#[derive(Debug, Default)]
pub(crate) struct Digesting(std::sync::Mutex<HashSet<ExecutionId>>);

impl Digesting {
    /// Places that looks at old statuses may fill.
    const LOOKS: usize = 64;

    /// Adds an output; false when it already waits.
    fn add(&self, id: ExecutionId) -> bool {
        self.ids().insert(id)
    }

    fn remove(&self, id: ExecutionId) {
        self.ids().remove(&id);
    }

    /// Whether a look at an old status may add its output.
    pub(crate) fn has_room(&self) -> bool {
        self.ids().len() < Self::LOOKS
    }

    fn ids(&self) -> std::sync::MutexGuard<'_, HashSet<ExecutionId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn hex(digest: [u8; 32]) -> String {
    digest.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests;

//! Continuations by policy. A client may request (`onInterrupt`, `onUsageLimit`) that an execution
//! that is interrupted, or that a usage limit ends, is continued automatically. The continuation is
//! a new execution with a new id in the same conversation. [`crate::execution::policy`] decides
//! whether to continue; this module creates the new execution.
//!
//! The order of the writes to disk survives a crash at any point:
//!
//! 1. The id of the continuation is written into the old execution's record. A restart then never
//!    creates a second continuation, even if the first has already ended.
//! 2. The continuation is created. From now on a crash does not lose it.
//! 3. The end of the old execution is recorded. [`Service::recover`] adds `continuedBy` to an end
//!    that was not written or that lacks it.
//!
//! The continuation enters the queue as the last of its lane: executions with the same lane, a name
//! in the body, run one at a time.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use protocol::{Body, ExecutionId, OnInterrupt, OnUsageLimit, PromptMode, Status};
use serde_json::json;

use super::{FoundExecution, Service};
use crate::cli::Conversation;
use crate::execution::policy::{ContinuationDecision, EndContext, decide};
use crate::execution::{Control, Live};
use crate::registry::record::{Accepted, first_status};
use crate::times::now;

/// The prompt that is sent to the model in a continuation whose conversation already contains the
/// original prompt.
const PROMPT: &str = "Continue where you left off.";

/// A new execution that a policy created to continue an ended one. It is on disk, but not in the
/// queue yet.
pub(crate) struct Continuation {
    /// The request of the new execution.
    accepted: Accepted,
    /// The files of the new execution on disk.
    entry: spool::Entry,
    /// The first status of the new execution.
    status: Status,
}

impl Service {
    /// Creates the execution that continues an ended one on disk, if a policy in its request asks
    /// for it (`onInterrupt`, `onUsageLimit`), and sets `continued_by` in `status`. Must run before
    /// the end is recorded, so a crash neither loses nor repeats a continuation.
    ///
    /// Returns `None` if there is no continuation. If a policy asked for one but it was given up or
    /// failed, `status` gets the warning `not_continued`. Blocks on the disk.
    pub(crate) fn create_continuation(
        &self,
        entry: &spool::Entry,
        status: &mut Status,
        context: EndContext,
    ) -> Option<Continuation> {
        // Read from the disk, because the owner does not hold the prompt.
        let accepted: Accepted = match entry.body().map(|json| serde_json::from_slice(&json)) {
            Ok(Ok(accepted)) => accepted,
            other => {
                let execution = status.execution_id;
                tracing::error!(
                    %execution,
                    ?other,
                    "could not read the request of an ended execution; no policy continues it"
                );
                return None;
            }
        };
        let wait =
            std::time::Duration::from_millis(self.engine.settings.args.input.usage_limit_wait_ms);
        let next = decide(
            status,
            &accepted.body,
            accepted.chain,
            context.resets_at,
            Timestamp::now(),
            wait,
        );
        let refused = match next {
            ContinuationDecision::None => return None,
            ContinuationDecision::GivenUp => "it was interrupted too often in a row".to_owned(),
            ContinuationDecision::Continue { not_before, chain } => {
                let left = match &accepted.principal {
                    None => Ok(None),
                    Some(principal) => self.budget_left(principal),
                };
                let left = match left {
                    Ok(left) => left,
                    Err(spent) => {
                        let text = format!("it is not continued: {}", spent.detail);
                        let at = status.ended_at.unwrap_or_else(now);
                        status.warn(at, "not_continued", text, serde_json::Value::Null);
                        return None;
                    }
                };
                let mut body = self.next_body(&accepted, status, context.asked);
                if let Some(left) = left {
                    let budget = body.max_budget_usd.unwrap_or(left);
                    body.max_budget_usd = Some(budget.min(left));
                }
                let next = Accepted {
                    body,
                    chain,
                    ..accepted
                };
                let first = next_status(&next, not_before);
                let subscription = self.subscribe_continuation(first.execution_id, &next);
                let continuation = self
                    .engine
                    .registry
                    .accept_continuation(entry, &next, &first);
                let continuation = continuation.map(|entry| Continuation {
                    accepted: next,
                    entry,
                    status: first,
                });
                match continuation {
                    Ok(continuation) => {
                        if let Some(subscription) = subscription {
                            subscription.keep();
                        }
                        copy_unviewed_cancel(entry, &continuation.entry);
                        status.continued_by = Some(continuation.status.execution_id);
                        tracing::info!(
                            execution = %status.execution_id,
                            continued_by = %continuation.status.execution_id,
                            not_before = not_before.map(|at| at.to_string()),
                            "created a continuation of the execution, as its policy asks"
                        );
                        return Some(continuation);
                    }
                    Err(error) => error.to_string(),
                }
            }
        };
        let text = format!("it is not continued: {refused}");
        let at = status.ended_at.unwrap_or_else(now);
        status.warn(at, "not_continued", text, serde_json::Value::Null);
        None
    }

    /// Returns the request body of the execution that continues the one with `status`. `asked` is
    /// whether the CLI had sent a request to the model. If it had, and left a transcript, the
    /// prompt is a request to continue; otherwise the original prompt is repeated, because the
    /// conversation does not contain it.
    fn next_body(&self, accepted: &Accepted, status: &Status, asked: bool) -> Body {
        let mut body = Body {
            conversation: None,
            continues: Some(status.execution_id),
            fork_conversation: false,
            ..accepted.body.clone()
        };
        let config_dir = self.engine.environment.config_dir();
        let kind = self
            .engine
            .conversations
            .settle(&accepted.conversation, &config_dir);
        if asked && kind == Conversation::Continued {
            body.prompt = PROMPT.to_owned();
            body.prompt_mode = PromptMode::Verbatim;
            (body.resume_at, body.resume_drops_turn) = (None, None);
        }
        body
    }

    /// Creates the continuation of an ended execution on a blocking thread
    /// ([`Service::create_continuation`]). Returns `None` immediately if `body` has no policy. The
    /// caller must queue or cancel the continuation before it records the end in `status`.
    pub(crate) async fn apply_policies(
        self: &Arc<Self>,
        body: &Body,
        entry: &spool::Entry,
        status: &mut Status,
        context: EndContext,
    ) -> Option<Continuation> {
        if body.on_interrupt == OnInterrupt::None && body.on_usage_limit == OnUsageLimit::None {
            return None;
        }
        let service = Arc::clone(self);
        let (entry, mut ended) = (entry.clone(), status.clone());
        let followed = spool::blocking::run(move || {
            let continuation = service.create_continuation(&entry, &mut ended, context);
            (continuation, ended)
        });
        match followed.await {
            Ok((continuation, ended)) => {
                *status = ended;
                continuation
            }
            Err(error) => {
                let data = json!({ "error": error.to_string() });
                let text = "it is not continued: see the log".to_owned();
                let at = status.ended_at.unwrap_or_else(now);
                status.warn(at, "not_continued", text, data);
                None
            }
        }
    }

    /// Cancels a policy's continuation before it runs, because a client cancelled the execution
    /// that it continues.
    ///
    /// The cancel of the old execution is written to disk first. Otherwise a restart between the
    /// two writes would report the old execution as interrupted and continued. A failed write is
    /// logged.
    pub(crate) async fn cancel_continuation(self: &Arc<Self>, continuation: Continuation) {
        if let Some(old) = continuation.status.continues {
            let service = Arc::clone(self);
            let noted = spool::blocking::run_io(move || {
                let found = service.engine.registry.find(old);
                let entry = found.map_err(std::io::Error::other)?.into_option();
                entry.map_or(Ok(()), |entry| entry.note_cancel())
            });
            if let Err(error) = noted.await {
                tracing::warn!(
                    execution = %old,
                    %error,
                    "could not write the cancel of an execution to disk; a restart before its end \
                     is recorded would report it as interrupted"
                );
            }
        }
        let live = self.enqueue(continuation);
        // Still queued: the execution that it continues holds the lane and the conversation.
        let _ = self
            .apply(&FoundExecution::Live(live), Control::Cancel)
            .await;
    }

    /// Puts a policy's continuation into the queue and starts the task that runs it. It waits there
    /// until the old execution has ended: one execution of a conversation runs at a time.
    pub(crate) fn enqueue(self: &Arc<Self>, continuation: Continuation) -> Live {
        let Continuation {
            accepted,
            entry,
            status,
        } = continuation;
        self.engine.metrics.accepted(status.principal.as_deref());
        self.restore(accepted, entry, status)
    }

    /// Makes an execution that is on disk live again, after a restart or as a continuation. It
    /// enters the queue, even beyond the queue's limits, and its owner, the task that runs it, is
    /// started. If a cancel for when nobody views the execution is on disk, it is scheduled again.
    pub(super) fn restore(
        self: &Arc<Self>,
        accepted: Accepted,
        entry: spool::Entry,
        status: Status,
    ) -> Live {
        let id = status.execution_id;
        let parked = status.not_before.is_some();
        let ticket = self.engine.registry.restore(id, &accepted, parked);
        let unviewed = entry.unviewed_cancel();
        let live = self.start_owner(accepted, entry, status, ticket);
        match unviewed {
            // No viewer was connected since this start, so the time starts from zero.
            Ok(Some(ms)) => self.cancel_unviewed(&live, Duration::from_millis(ms), None),
            Ok(None) => {}
            Err(error) => {
                let execution = live.id;
                tracing::error!(
                    %execution,
                    %error,
                    "could not read the scheduled cancel of an execution; it is not scheduled"
                );
            }
        }
        live
    }
}

/// Returns the first status of a policy's continuation, with a new random id. `not_before` is the
/// earliest time of its start, for example when a usage limit resets; `None` means immediately.
fn next_status(accepted: &Accepted, not_before: Option<Timestamp>) -> Status {
    let mut status = first_status(ExecutionId::random(), accepted);
    // Rounded to whole milliseconds, like all times of a status.
    status.not_before =
        not_before.map(|at| Timestamp::from_millisecond(at.as_millisecond()).unwrap_or(at));
    status
}

/// Copies a scheduled cancel from the old execution to its continuation. Such a cancel takes effect
/// when nobody has viewed the execution for a time. Does nothing if there is none. A failure is
/// logged. Blocks on the disk.
pub(super) fn copy_unviewed_cancel(old: &spool::Entry, new: &spool::Entry) {
    let inherited = old.unviewed_cancel().and_then(|ms| match ms {
        None => Ok(()),
        ms => new.set_unviewed_cancel(ms),
    });
    if let Err(error) = inherited {
        tracing::error!(
            execution = %new.id(),
            %error,
            "could not copy a scheduled cancel to a continuation, which may run although nobody \
             views it"
        );
    }
}

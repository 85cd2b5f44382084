//! Continuations by policy: a new execution resumes the conversation of one that was interrupted,
//! or that a usage limit ended, as [`crate::execution::policy`] decides. An id is never used again.
//!
//! The continuation is on disk before the end that it follows, so that no crash loses it.
//! [`Service::recover`] adds its name to an end that was not written or does not name it. Before
//! that, its id is noted in the old execution's record, so that a start never creates a second one,
//! even when the first has already ended. It is last in its lane.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use protocol::{Body, ExecutionId, OnInterrupt, OnUsageLimit, PromptMode, Status};
use serde_json::json;

use super::{Service, View};
use crate::cli::Conversation;
use crate::execution::policy::{EndContext, Follow, follow};
use crate::execution::{Control, Live};
use crate::registry::record::{Accepted, first_status};
use crate::times::now;

/// What the CLI is told when a policy continues its conversation.
const PROMPT: &str = "Continue where you left off.";

/// An execution that a policy made: on disk, not in the queue yet.
pub(crate) struct Continuation {
    accepted: Accepted,
    entry: spool::Entry,
    status: Status,
}

impl Service {
    /// Applies the policies to an end before it is recorded: creates the continuation and names it in
    /// `status`. Blocks on the disk.
    pub(crate) fn follow_up(
        &self,
        entry: &spool::Entry,
        status: &mut Status,
        context: EndContext,
    ) -> Option<Continuation> {
        // From the disk: its owner need not hold the prompt.
        let accepted: Accepted = match entry.body().map(|json| serde_json::from_slice(&json)) {
            Ok(Ok(accepted)) => accepted,
            other => {
                tracing::error!(execution = %status.execution_id, ?other, "its body cannot be read");
                return None;
            }
        };
        let wait =
            std::time::Duration::from_millis(self.engine.settings.args.input.usage_limit_wait_ms);
        let next = follow(
            status,
            &accepted.body,
            accepted.chain,
            context.resets_at,
            Timestamp::now(),
            wait,
        );
        let refused = match next {
            Follow::Nothing => return None,
            Follow::GivenUp => "it was interrupted too often in a row".to_owned(),
            Follow::New { not_before, chain } => {
                let body = self.next_body(&accepted, status, context.asked);
                let next = Accepted {
                    body,
                    chain,
                    ..accepted
                };
                let first = next_status(&next, not_before);
                let continuation = self.engine.registry.accept_next(entry, &next, &first);
                let continuation = continuation.map(|entry| Continuation {
                    accepted: next,
                    entry,
                    status: first,
                });
                match continuation {
                    Ok(continuation) => {
                        inherit_unviewed(entry, &continuation.entry);
                        status.continued_by = Some(continuation.status.execution_id);
                        tracing::info!(
                            execution = %status.execution_id,
                            continued_by = %continuation.status.execution_id,
                            not_before = not_before.map(|at| at.to_string()),
                            "continued by a policy"
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

    /// Returns the body of the continuation. It has the old prompt if the CLI never asked the model or
    /// left no transcript: nothing else has that prompt then.
    fn next_body(&self, accepted: &Accepted, status: &Status, asked: bool) -> Body {
        let mut body = Body {
            conversation: None,
            continues: Some(status.execution_id),
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
        }
        body
    }

    /// Runs [`Service::follow_up`] on a thread that may block. The caller queues or cancels the
    /// continuation before it records the end.
    pub(crate) async fn follow_end(
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
            let continuation = service.follow_up(&entry, &mut ended, context);
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

    /// Cancels a policy's continuation before it runs. First the cancel of the old execution is
    /// written to disk, then that of the continuation: otherwise the next start would report the
    /// old one as interrupted and continued. A failed write is logged.
    pub(crate) async fn cancel_continuation(self: &Arc<Self>, continuation: Continuation) {
        if let Some(old) = continuation.status.continues {
            let service = Arc::clone(self);
            let noted = spool::blocking::run_io(move || {
                let found = service.engine.registry.find(old);
                let entry = found.map_err(std::io::Error::other)?.found();
                entry.map_or(Ok(()), |entry| entry.note_cancel())
            });
            if let Err(error) = noted.await {
                tracing::warn!(execution = %old, %error, "could not record a cancel");
            }
        }
        let live = self.enqueue(continuation);
        // It waits for the lane and the conversation of the one that made it.
        let _ = self.control(&View::Live(live), Control::Cancel).await;
    }

    /// Puts one that a policy made into the queue. It starts once the old one has left it.
    pub(crate) fn enqueue(self: &Arc<Self>, continuation: Continuation) -> Live {
        let Continuation {
            accepted,
            entry,
            status,
        } = continuation;
        self.engine.metrics.accepted.inc();
        self.restore(accepted, entry, status)
    }

    /// Puts one that is on disk into the queue, whatever the limits say now.
    pub(super) fn restore(
        self: &Arc<Self>,
        accepted: Accepted,
        entry: spool::Entry,
        status: Status,
    ) -> Live {
        let id = status.execution_id;
        let parked = status.not_before.is_some();
        let ticket = self.engine.registry.restore(id, &accepted, parked);
        let unviewed = entry.unviewed_noted();
        let live = self.adopt(accepted, entry, status, ticket);
        match unviewed {
            // Nobody has viewed the execution since this start: the whole time begins again.
            Ok(Some(ms)) => self.cancel_unviewed(&live, Duration::from_millis(ms), None),
            Ok(None) => {}
            Err(error) => {
                tracing::error!(execution = %live.id, %error, "could not read the note of a cancel");
            }
        }
        live
    }
}

/// The first status of a policy's continuation.
fn next_status(accepted: &Accepted, not_before: Option<Timestamp>) -> Status {
    let mut status = first_status(ExecutionId::random(), accepted);
    // As statuses write times: whole milliseconds.
    status.not_before =
        not_before.map(|at| Timestamp::from_millisecond(at.as_millisecond()).unwrap_or(at));
    status
}

/// Copies the note of a cancel for when nobody views the execution to its continuation. Blocks on
/// the disk.
pub(super) fn inherit_unviewed(old: &spool::Entry, new: &spool::Entry) {
    let inherited = old.unviewed_noted().and_then(|ms| match ms {
        None => Ok(()),
        ms => new.note_unviewed(ms),
    });
    if let Err(error) = inherited {
        tracing::error!(execution = %new.id(), %error, "could not record a cancel");
    }
}

//! Acceptance of executions. A request is written to disk before it is answered, and each id is
//! accepted at most once, even if the client repeats or cuts its request.

use std::sync::Arc;

use protocol::{Body, ExecutionId, Problem, ProblemType};

use super::burn::burned;
use super::continue_by_request::ContinuedExecution;
use super::{FoundExecution, Service, deleted, problem, queue_full};
use crate::access::{Caller, Right};
use crate::cli::Conversation;
use crate::conversations::Note;
use crate::execution::live::Live;
use crate::registry::record::{Accepted, Chain};
use crate::registry::{Admitted, IdLock, Lookup, NotAccepted, RegistryError, Reservation};

/// The result of accepting an execution: the execution, and whether this request created it.
#[derive(Clone)]
pub(crate) struct Acceptance {
    /// The execution. It may have ended already if an earlier request created it.
    pub view: FoundExecution,
    /// True if this request created the execution. False if an earlier request with the same id and
    /// an equal body created it.
    pub created: bool,
}

impl Service {
    /// Accepts an execution: checks its body, writes it to disk, and puts it into the queue. If the
    /// id was accepted before with an equal body, returns that execution instead, so a client may
    /// safely retry.
    ///
    /// The work completes even if the caller is dropped: a partial acceptance would leave an id
    /// that is neither accepted nor free. `share` is the part of the memory budget for request
    /// bodies that `body` occupies; it is dropped when the body has left memory.
    ///
    /// # Errors
    /// All problems of a refused `PUT` (docs/protocol.md, "Problem types"), such as 409 `id-in-use`
    /// for another body and 503 `queue-full`.
    pub(crate) async fn accept(
        self: &Arc<Self>,
        caller: &Caller,
        id: ExecutionId,
        body: Body,
        share: impl Send + 'static,
    ) -> Result<Acceptance, Problem> {
        let (service, caller) = (Arc::clone(self), caller.clone());
        let work = tokio::spawn(async move {
            let _share = share;
            let id_lock = Arc::new(service.engine.registry.lock_id(id).await);
            service.accept_locked(&caller, &id_lock, body).await
        });
        work.await.unwrap_or_else(|error| {
            tracing::error!(
                %error,
                "could not accept an execution: its task panicked; answered with an error"
            );
            Err(Problem::new(
                ProblemType::Internal,
                "the acceptance failed; the log of claude-api says why",
            ))
        })
    }

    /// Does the work of [`Service::accept`] while `id_lock` excludes other requests with the same
    /// id.
    async fn accept_locked(
        self: &Arc<Self>,
        caller: &Caller,
        id_lock: &Arc<IdLock>,
        body: Body,
    ) -> Result<Acceptance, Problem> {
        // The body and the lock may have taken minutes.
        let caller = &self.recheck(caller, Right::Own).await?;
        let (id, digest) = (id_lock.id(), body.digest());
        match self.look_up(id).await? {
            Lookup::Found(view)
                if caller.sees(id, view.entry().owner())
                    && view.entry().body_digest() == digest =>
            {
                return Ok(Acceptance {
                    view,
                    created: false,
                });
            }
            Lookup::Deleted(owner) if caller.sees(id, owner) => return Err(deleted(id)),
            Lookup::Found(_) | Lookup::Deleted(_) => return Err(in_use(id)),
            Lookup::Unknown if self.engine.registry.is_burned(id, caller.owner()) => {
                return Err(burned(id));
            }
            Lookup::Unknown => {}
        }
        body.check(&self.engine.settings.limits)
            .map_err(|e| Problem::new(e.kind(), e.to_string()))?;
        let continued = self.find_continued(caller, &body).await?;
        let accepted = self.check(caller, id, body, continued.as_ref())?;
        if self.stopping.is_cancelled() {
            return Err(Problem::new(
                ProblemType::Stopping,
                "the service is stopping; try again in a moment",
            ));
        }
        let lane = accepted.body.lane.clone();
        let reservation = self
            .engine
            .registry
            .reserve(accepted.owner(), lane.as_deref())
            .map_err(|full| queue_full(&full, format!("{full}; try again when some have ended")))?;
        let live = self.create(id_lock, digest, accepted, reservation).await?;
        if let Some(old) = continued {
            self.record_continued_by(old, id).await;
        }
        Ok(Acceptance {
            view: FoundExecution::Live(live),
            created: true,
        })
    }

    /// Creates an execution on disk, in the slot of the queue that `reservation` holds, and starts
    /// the task that runs it.
    async fn create(
        self: &Arc<Self>,
        id_lock: &Arc<IdLock>,
        digest: [u8; 32],
        accepted: Accepted,
        reservation: Reservation,
    ) -> Result<Live, Problem> {
        let id = id_lock.id();
        // Dropping the subscription removes it again.
        let subscription = self.subscribe(id, &accepted)?;
        // Dropping the ticket releases its slot or its permit.
        let registry = &self.engine.registry;
        let Admitted { status, ticket } = registry.admit(id_lock, reservation, &accepted);
        let (engine, id_lock) = (Arc::clone(&self.engine), Arc::clone(id_lock));
        let (stored, first) = (accepted.clone(), status.clone());
        let created = spool::blocking::run(move || {
            let note = engine.conversations.add(
                &stored.conversation,
                &stored.body.workspace,
                stored.principal.as_deref(),
            );
            note.map_err(|source| {
                NotAccepted::Failed(RegistryError::Unwritable {
                    what: "the conversation",
                    source,
                })
            })?;
            if let Some(subscription) = &subscription {
                subscription.write().map_err(|source| {
                    NotAccepted::Failed(RegistryError::Unwritable {
                        what: "the webhook",
                        source,
                    })
                })?;
            }
            let entry = engine.registry.accept(&id_lock, &stored, digest, &first)?;
            if let Some(subscription) = subscription {
                subscription.keep();
            }
            Ok(entry)
        });
        let entry = match created.await {
            Ok(Ok(entry)) => entry,
            Ok(Err(NotAccepted::Exists)) => return Err(in_use(id)),
            Ok(Err(NotAccepted::Deleted)) => return Err(deleted(id)),
            Ok(Err(NotAccepted::Burned)) => return Err(burned(id)),
            Ok(Err(NotAccepted::Failed(failure))) => {
                if let RegistryError::Unwritable { what, source } = &failure {
                    self.engine
                        .readiness
                        .unwritable(&format!("{what}: {source}"));
                }
                return Err(problem(&failure));
            }
            Err(_) => return Err(Problem::new(ProblemType::Internal, "the acceptance failed")),
        };
        self.engine.metrics.accepted(status.principal.as_deref());
        Ok(self.start_owner(accepted, entry, status, ticket))
    }

    /// Checks a client's body against the operator's settings, and completes it to the request that
    /// is stored. Environment variables, permissions and conversation are checked; the operator's
    /// defaults are filled in. `continued` is the execution that the body continues, if any: its
    /// workspace is used, and its conversation unless the body names one. Fails with the problem
    /// for the client.
    fn check(
        &self,
        caller: &Caller,
        id: ExecutionId,
        mut body: Body,
        continued: Option<&ContinuedExecution>,
    ) -> Result<Accepted, Problem> {
        if let Some(old) = continued {
            body.workspace.clone_from(&old.workspace);
        }
        caller.check_workspace(&body.workspace)?;
        body.max_budget_usd = self.permitted_budget(caller, body.max_budget_usd)?;
        let limits = &self.engine.settings.limits;
        let refuse = |detail: String| Problem::new(ProblemType::NotAllowed, detail);
        if let Some(name) = body
            .env
            .keys()
            .find(|name| !self.engine.settings.args.allowed_env.contains(name))
        {
            return Err(refuse(format!(
                "env: {name} is not on the operator's list (--allowed-env); leave it out"
            )));
        }
        self.check_webhook(&body).map_err(refuse)?;
        let tools = &self.engine.settings.tools;
        let permissions = tools.resolve(&body).map_err(refuse)?;
        tools.restrict_cli_options(&mut body)?;
        let (mut conversation, principal) = self.conversation(caller, id, &body, continued)?;
        let mut forked_from = None;
        if body.fork_conversation {
            self.check_new_conversation(id)?;
            forked_from = Some(std::mem::replace(&mut conversation, id.to_string()));
        }
        let trace = body.trace();
        // Their lengths are not checked, and only the parsed trace is used.
        (body.traceparent, body.tracestate) = (None, None);
        let idle = body
            .idle_timeout_seconds
            .map(|s| (s * 1000.0).ceil() as u64);
        Ok(Accepted {
            principal,
            body,
            permissions,
            conversation,
            forked_from,
            idle_timeout_ms: idle.unwrap_or(limits.idle_timeout_ms),
            chain: Chain::default(),
            trace,
        })
    }
}

impl Service {
    /// Checks that no conversation has the id of a new execution. A conversation may outlive the
    /// execution that began it, and may belong to another principal.
    fn check_new_conversation(&self, id: ExecutionId) -> Result<(), Problem> {
        let (notes, id_text) = (&self.engine.conversations, id.to_string());
        let config_dir = self.engine.environment.config_dir();
        let is_known = notes.find(&id_text).is_some()
            || notes.kind(&id_text, &config_dir) != Conversation::New;
        if is_known { Err(in_use(id)) } else { Ok(()) }
    }

    /// Chooses the conversation of a new execution. It is the one that the body names, that of the
    /// continued execution, or a new one with the id of the execution. Also returns the principal
    /// that owns the new execution: the conversation's own, also if an admin continues it.
    ///
    /// Fails with the problem for the client if the conversation is unknown, or belongs to another
    /// workspace or principal.
    fn conversation(
        &self,
        caller: &Caller,
        id: ExecutionId,
        body: &Body,
        continued: Option<&ContinuedExecution>,
    ) -> Result<(String, Option<String>), Problem> {
        let notes = &self.engine.conversations;
        let is_visible =
            |note: &Note| caller.sees_all() || note.principal.as_deref() == caller.principal();
        let Some(conversation) = body.conversation else {
            if let Some(old) = continued {
                return Ok((old.conversation.clone(), old.principal.clone()));
            }
            let conversation = id.to_string();
            // The conversation may have outlived the execution that began it.
            return match notes.find(&conversation) {
                Some(note) if !is_visible(&note) => Err(in_use(id)),
                _ => Ok((conversation, caller.principal().map(str::to_owned))),
            };
        };
        let conversation = conversation.to_string();
        match notes.find(&conversation).filter(is_visible) {
            Some(note) if note.workspace == body.workspace => Ok((conversation, note.principal)),
            Some(note) => Err(Problem::new(
                ProblemType::OtherWorkspace,
                format!(
                    "conversation {conversation} belongs to workspace {:?}; name that workspace",
                    note.workspace
                ),
            )),
            None => Err(Problem::new(
                ProblemType::UnknownConversation,
                format!(
                    "there is no conversation {conversation}; use `conversation` from an earlier \
                     status"
                ),
            )),
        }
    }
}

/// Returns the problem 409 `id-in-use`, for an id that exists with another body.
fn in_use(id: ExecutionId) -> Problem {
    Problem::new(
        ProblemType::IdInUse,
        format!("execution {id} exists with another body; choose a new id for a new prompt"),
    )
}

#[cfg(test)]
mod tests {
    use axum::body::Body as HttpBody;
    use futures::FutureExt;
    use http::Request;
    use tower::ServiceExt;

    use super::*;
    use crate::service::testing::open_with;

    #[tokio::test]
    async fn a_body_counts_as_inbound_until_it_is_accepted_even_if_its_client_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let service = open_with(dir.path(), &["--inbound-bytes=524288"]);
        let id = ExecutionId::random();
        let locked = service.engine.registry.lock_id(id).await;
        // Most of the memory for small bodies.
        let prompt = format!(r#"{{"prompt":"{}"}}"#, "x".repeat(60 * 1024));
        let request = Request::put(format!("/v1/executions/{id}"))
            .header("host", "localhost")
            .body(HttpBody::from(prompt))
            .unwrap();
        let mut put = Box::pin(crate::http::router(Arc::clone(&service)).oneshot(request));
        assert!(futures::poll!(&mut put).is_pending(), "it waits for its id");
        let other = || {
            let body = HttpBody::from(vec![b'y'; 48 * 1024]);
            service.inbound.read(body, spool::Owner::NONE, 100_000, "")
        };
        assert!(other().now_or_never().is_none(), "the body is in memory");
        drop(put);
        assert!(
            other().now_or_never().is_none(),
            "the body is still being accepted"
        );
        drop(locked);
        assert!(other().await.is_ok());
        assert!(service.live(id).is_some());
    }
}

//! Acceptance: durable before it is answered, and at most once for an id, whatever is repeated or cut.

use std::sync::Arc;

use protocol::{Body, ExecutionId, Problem, ProblemType};
use spool::SpoolError;

use super::burn::burned;
use super::continuation::{Continued, first_status};
use super::{Service, View, deleted, spool_problem};
use crate::execution::live::Live;
use crate::registry::Place;
use crate::registry::record::Accepted;
use crate::registry::record::Chain;
use crate::registry::record::Record;
use crate::registry::record::begin;
use crate::times::Times;

/// How a repeated or a new execution was taken.
#[derive(Clone)]
pub struct Acceptance {
    /// The execution.
    pub view: View,
    /// Whether this call made it.
    pub created: bool,
}

impl Service {
    /// Accepts an execution, or finds the one that was accepted under this id with an equal body. Goes on to its end even if
    /// the caller goes away: a half-made acceptance would be neither there nor free to be made again. `share`, what the body
    /// counts for in memory, is dropped when nothing of the body is left there.
    ///
    /// # Errors
    /// Everything in contract section 2 that a `PUT` may be refused for.
    pub async fn accept(
        self: &Arc<Self>,
        id: ExecutionId,
        body: Body,
        share: impl Send + 'static,
    ) -> Result<Acceptance, Problem> {
        let service = Arc::clone(self);
        let work = tokio::spawn(async move {
            let _share = share;
            let _one = service.one_at_a_time(id).await;
            service.accept_alone(id, body).await
        });
        work.await.unwrap_or_else(|error| {
            tracing::error!(%error, "an acceptance failed");
            Err(Problem::new(
                ProblemType::Internal,
                "the acceptance failed; the log of claude-api says why",
            ))
        })
    }

    async fn accept_alone(
        self: &Arc<Self>,
        id: ExecutionId,
        body: Body,
    ) -> Result<Acceptance, Problem> {
        let digest = body.digest();
        match self.look_up(id).await {
            Ok(view) if view.entry().body_digest() == digest => {
                return Ok(Acceptance {
                    view,
                    created: false,
                });
            }
            Ok(_) => return Err(in_use(id)),
            Err(problem) if problem.kind == ProblemType::NotFound => {}
            Err(problem) => return Err(problem),
        }
        if self.burned.contains(id) {
            return Err(burned(id));
        }
        body.check(&self.engine.settings.limits)
            .map_err(|e| Problem::new(e.kind(), e.to_string()))?;
        let continued = self.continued(&body).await?;
        let accepted = self.check(id, body, continued.as_ref())?;
        if self.stopping.is_cancelled() {
            return Err(Problem::new(
                ProblemType::Stopping,
                "the service is stopping; try again in a moment",
            ));
        }
        let lane = accepted.body.lane.clone();
        let place = self.admission.reserve(lane.as_deref()).map_err(|full| {
            Problem::new(
                ProblemType::QueueFull,
                format!("{full}; try again when some have ended"),
            )
            .with("length", full.length())
        })?;
        let live = self.create(id, digest, accepted, place).await?;
        if let Some(old) = continued {
            self.note_continued(old, id).await;
        }
        Ok(Acceptance {
            view: View::Live(live),
            created: true,
        })
    }

    async fn create(
        self: &Arc<Self>,
        id: ExecutionId,
        digest: [u8; 32],
        accepted: Accepted,
        place: Place,
    ) -> Result<Live, Problem> {
        let mut status = first_status(id, &accepted);
        // Dropped with its ticket, a place or a permit is free again.
        let mut ticket = place.enter(id, &accepted.conversation);
        if ticket.may_run() {
            let at = Times::following(&status).now();
            begin(&mut status, at);
        }
        let record = Record::encode(&status, None, self.engine.status_bytes());
        let service = Arc::clone(self);
        let stored = accepted.clone();
        let created = tokio::task::spawn_blocking(move || {
            let json = serde_json::to_vec(&stored).map_err(|e| SpoolError::Unwritable {
                what: "the body",
                source: e.into(),
            })?;
            service
                .engine
                .conversations
                .add(&stored.conversation, &stored.body.workspace)
                .map_err(|source| SpoolError::Unwritable {
                    what: "the conversation",
                    source,
                })?;
            service
                .engine
                .spool
                .create(id.uuid(), &json, digest, &record)
        });
        let entry = match created.await {
            Ok(Ok(entry)) => entry,
            Ok(Err(SpoolError::Exists { .. })) => return Err(in_use(id)),
            Ok(Err(SpoolError::Deleted { .. })) => return Err(deleted(id)),
            Ok(Err(SpoolError::Burned)) => return Err(burned(id)),
            Ok(Err(error)) => {
                if let SpoolError::Unwritable { what, source } = &error {
                    self.engine
                        .readiness
                        .unwritable(&format!("{what}: {source}"));
                }
                return Err(spool_problem(&error));
            }
            Err(_) => return Err(Problem::new(ProblemType::Internal, "the acceptance failed")),
        };
        self.engine.metrics.accepted.inc();
        Ok(self.adopt(accepted, entry, status, ticket))
    }

    /// Checks the body against the limits and the operator's ceiling, and resolves the operator's defaults.
    fn check(
        &self,
        id: ExecutionId,
        mut body: Body,
        continued: Option<&Continued>,
    ) -> Result<Accepted, Problem> {
        if let Some(old) = continued {
            body.workspace.clone_from(&old.workspace);
        }
        let limits = &self.engine.settings.limits;
        let refuse = |what: String| Problem::new(ProblemType::NotAllowed, what);
        if let Some(name) = body
            .env
            .keys()
            .find(|name| !self.engine.settings.args.allowed_env.contains(name))
        {
            return Err(refuse(format!(
                "env: {name} is not on the operator's list (--allowed-env)"
            )));
        }
        let permissions = self.engine.settings.tools.resolve(&body).map_err(refuse)?;
        let conversation = match body.conversation {
            None => continued.map_or_else(|| id.to_string(), |old| old.conversation.clone()),
            Some(conversation) => {
                let conversation = conversation.to_string();
                match self.engine.conversations.workspace(&conversation) {
                    Some(workspace) if workspace == body.workspace => conversation,
                    Some(workspace) => {
                        return Err(Problem::new(
                            ProblemType::OtherWorkspace,
                            format!(
                                "conversation {conversation} belongs to workspace {workspace:?}; name that one"
                            ),
                        ));
                    }
                    None => {
                        return Err(Problem::new(
                            ProblemType::UnknownConversation,
                            format!(
                                "there is no conversation {conversation}; take `conversation` from an earlier status"
                            ),
                        ));
                    }
                }
            }
        };
        let idle = body
            .idle_timeout_seconds
            .map(|s| (s * 1000.0).ceil() as u64);
        Ok(Accepted {
            body,
            permissions,
            conversation,
            idle_timeout_ms: idle.unwrap_or(limits.idle_timeout_ms),
            chain: Chain::default(),
        })
    }
}

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
    async fn a_body_counts_as_inbound_until_it_is_accepted_though_its_client_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let service = open_with(dir.path(), &["--inbound-bytes=524288"]);
        let id = ExecutionId::random();
        let busy = service.one_at_a_time(id).await;
        // Most of the small bodies' share.
        let prompt = format!(r#"{{"prompt":"{}"}}"#, "x".repeat(60 * 1024));
        let request = Request::put(format!("/v1/executions/{id}"))
            .header("host", "localhost")
            .body(HttpBody::from(prompt))
            .unwrap();
        let mut put = Box::pin(crate::http::router(Arc::clone(&service)).oneshot(request));
        assert!(futures::poll!(&mut put).is_pending(), "it waits for its id");
        let other = || {
            let body = HttpBody::from(vec![b'y'; 48 * 1024]);
            service.inbound.read(body, 100_000, "")
        };
        assert!(other().now_or_never().is_none(), "the body is in memory");
        drop(put);
        assert!(
            other().now_or_never().is_none(),
            "it is accepted all the same"
        );
        drop(busy);
        assert!(other().await.is_ok());
        assert!(service.live(id).is_some());
    }
}

//! The HTTP side of contract section 2: an adapter, all decisions are the service's.

pub(crate) mod body;
mod executions;
mod follow;
mod health;
mod input;
mod output;
mod query;
mod reply;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use protocol::guard::Foreign;
use protocol::{Guard, Problem, ProblemType};

use crate::service::Service;
pub(crate) use reply::Reply;

/// What every handler sees.
pub(crate) type App = State<Arc<Service>>;

/// All routes, behind the Host and Origin check.
pub fn router(service: Arc<Service>) -> Router {
    let args = &service.settings.args;
    let own = ["claude-api".to_owned()];
    let guard = Guard::new(
        own.into_iter().chain(args.allowed_hosts.clone()),
        args.allowed_origins.clone(),
    );
    Router::new()
        .route(
            "/v1/executions",
            post(executions::create).get(executions::list),
        )
        .route(
            "/v1/executions/{id}",
            put(executions::accept)
                .get(executions::status)
                .delete(executions::delete),
        )
        .route("/v1/executions/{id}/output", get(output::output))
        .route("/v1/executions/{id}/events", get(output::events))
        .route("/v1/executions/{id}/input", post(input::input))
        .route("/v1/executions/{id}/pause", post(executions::pause))
        .route("/v1/executions/{id}/resume", post(executions::resume))
        .route("/v1/executions/{id}/cancel", post(executions::cancel))
        .route("/v1/limits", get(health::limits))
        .route("/health/live", get(health::live))
        .route("/health/startup", get(health::startup))
        .route("/health/ready", get(health::ready))
        .route("/health", get(health::ready))
        .method_not_allowed_fallback(|| async {
            Reply(Problem::new(
                ProblemType::MethodNotAllowed,
                "this path does not take this method",
            ))
        })
        .fallback(|| async {
            Reply(Problem::new(
                ProblemType::UnknownPath,
                "there is nothing here; executions are at /v1/executions, health at /health/ready",
            ))
        })
        .layer(from_fn_with_state(Arc::new(guard), check))
        .with_state(service)
}

/// Refuses foreign hosts and origins before anything else happens.
async fn check(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    match guard.check(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(foreign) => {
            let kind = match &foreign {
                Foreign::Host(_) => ProblemType::ForeignHost,
                Foreign::Origin(_) => ProblemType::ForeignOrigin,
            };
            Reply(Problem::new(kind, foreign.to_string())).into_response()
        }
    }
}

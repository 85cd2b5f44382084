//! The HTTP interface of claude-api (docs/protocol.md, "HTTP of claude-api"). This module parses
//! requests and writes responses; [`crate::service`] makes all decisions.

mod access;
pub(crate) mod boxed;
mod description;
pub(crate) mod events;
mod executions;
mod follow;
mod health;
mod input;
mod metrics;
pub(crate) mod output;
mod query;
mod questions;
mod refusals;
mod reply;
mod trace;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, Uri, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use protocol::guard::Foreign;
use protocol::trace_context::{TRACEPARENT, TRACESTATE};
use protocol::{Guard, Problem, ProblemType};
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::service::Service;
pub(crate) use output::is_stream;
pub(crate) use reply::Reply;
use reply::unknown_path;

/// How long a browser may cache the answer to a CORS preflight request. The limit bounds how long a
/// browser uses an answer from before a change of `--allowed-origins`.
const PREFLIGHT: Duration = Duration::from_secs(600);

/// Returns the router for all HTTP paths of claude-api. It answers 403 to requests with a foreign
/// `Host` or `Origin`. It answers 401 to requests from the service's own container if `--boxed` is
/// on, and to requests without a token if there is a token file.
pub fn router(service: Arc<Service>) -> Router {
    let args = &service.engine.settings.args;
    let own_name = ["claude-api".to_owned()];
    let guard = Arc::new(Guard::new(
        own_name.into_iter().chain(args.allowed_hosts.clone()),
        args.allowed_origins.clone(),
    ));
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
        .route("/v1/executions/{id}/events", get(events::events))
        .route("/v1/executions/{id}/input", post(input::input))
        .route("/v1/executions/{id}/questions", get(questions::list))
        .route(
            "/v1/executions/{id}/questions/{questionId}",
            get(questions::question).post(questions::answer),
        )
        .route("/v1/executions/{id}/pause", post(executions::pause))
        .route("/v1/executions/{id}/resume", post(executions::resume))
        .route("/v1/executions/{id}/cancel", post(executions::cancel))
        .route("/v1/executions/{id}/share", post(access::share))
        .route(
            "/v1/executions/{id}/share/{share}",
            delete(access::end_share),
        )
        .route("/v1/me", get(access::me))
        .route("/v1/tickets", post(access::create_ticket))
        .route(access::REDEEM_PATH, post(access::redeem_ticket))
        .route(
            access::SESSION_PATH,
            put(access::renew_session).delete(access::end_session),
        )
        .route("/v1/limits", get(health::limits))
        .route("/health/limits", get(health::limits))
        .route("/health/live", get(health::live))
        .route("/health/startup", get(health::startup))
        .route("/health/ready", get(health::ready))
        .route("/health", get(health::ready))
        .route("/health/box/{nonce}", get(boxed::returned_call))
        .route("/metrics", get(metrics::metrics))
        .route(description::PATH, get(description::openapi))
        .method_not_allowed_fallback(|| async {
            Reply(Problem::new(
                ProblemType::MethodNotAllowed,
                "this path does not accept this method",
            ))
        })
        .fallback(|uri: Uri| async move { unknown_path(uri.path()) })
        // Inside the check of tokens, so that refused clients cause no spans.
        .layer(from_fn_with_state(Arc::clone(&service), trace::record))
        // Inside the CORS layer, because a browser sends no token with a preflight request.
        .layer(from_fn_with_state(Arc::clone(&service), access::check))
        .layer(cors(Arc::clone(&guard)))
        // Around the CORS layer, to refuse preflight requests of a foreign origin too.
        .layer(from_fn_with_state(guard, check))
        .layer(from_fn_with_state(Arc::clone(&service), boxed::check))
        // Around the rule for the box, which needs to know the client.
        .layer(from_fn_with_state(Arc::clone(&service), boxed::identify))
        // Around the checks, to note their refusals too.
        .layer(from_fn_with_state(Arc::clone(&service), refusals::note))
        .with_state(service)
}

/// Returns the middleware for CORS (Fetch Standard, CORS protocol), which permits web pages of the
/// origins in `--allowed-origins`. There are no cookies, so credentials are never allowed.
/// Responses name the origin, never `*`.
fn cors(guard: Arc<Guard>) -> CorsLayer {
    let listed = move |origin: &HeaderValue, _: &Parts| {
        origin.to_str().is_ok_and(|origin| guard.lists(origin))
    };
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(listed))
        .allow_methods([
            Method::GET,
            Method::HEAD,
            Method::PUT,
            Method::POST,
            Method::DELETE,
        ])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::ACCEPT,
            HeaderName::from_static(TRACEPARENT),
            HeaderName::from_static(TRACESTATE),
        ])
        .expose_headers([
            header::LOCATION,
            header::RETRY_AFTER,
            HeaderName::from_static(protocol::trailers::EXECUTION_ID),
            HeaderName::from_static(protocol::trailers::EVENTS_OFFSET),
            HeaderName::from_static(protocol::trailers::EVENTS_LENGTH),
            HeaderName::from_static(protocol::trailers::EVENTS_ENDED),
        ])
        // A listed page on the public web may reach a local service (Private Network Access).
        .allow_private_network(true)
        .max_age(PREFLIGHT)
}

/// Middleware that answers 403 to a request whose `Host` or `Origin` the operator does not allow,
/// before the request is handled. Otherwise any web page in a browser on this machine could use the
/// service.
async fn check(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    match guard.check(request.uri(), request.headers()) {
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

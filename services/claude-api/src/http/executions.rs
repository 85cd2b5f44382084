//! The HTTP calls that accept, read, pause, resume, cancel, list and delete executions.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Version, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::StreamExt;
use protocol::limits::UNVIEWED_MS_MAX;
use protocol::{Burned, ExecutionId, Page, Problem, ProblemType, TraceContext, trailers};

use super::follow;
use super::output::{needs_http_11, stream, viewer};
use super::query::{Id, NoQuery, Query};
use super::reply::{App, Reply};
use super::reply::{json, json_response};
use super::trace::BeginsTrace;
use crate::access::{Caller, Right};
use crate::execution::Control;
use crate::service::{Burn, Cancel, Service, VisibleStatus};

/// The HTTP version and the headers of a request, and whether its trace begins at this service.
type Head = (Version, HeaderMap, Option<Extension<BeginsTrace>>);

/// `PUT /v1/executions/{id}`: accepts an execution under the client's id and answers 201. The
/// answer streams the output, or is the status if the client sends `Accept: application/json`. A
/// repetition with an equal body finds the same execution and gets 200, so a client may safely
/// retry.
pub(crate) async fn accept(
    State(service): App,
    Extension(caller): Extension<Caller>,
    Id(id): Id,
    _: NoQuery,
    head: Head,
    request: axum::body::Body,
) -> Result<Response, Reply> {
    submit(&service, &caller, id, head, request).await
}

/// `POST /v1/executions`: accepts an execution under a random id, which the response header
/// `Execution-Id` contains. Otherwise like [`accept`], but a repeated request creates another
/// execution.
pub(crate) async fn create(
    State(service): App,
    Extension(caller): Extension<Caller>,
    _: NoQuery,
    head: Head,
    request: axum::body::Body,
) -> Result<Response, Reply> {
    let id = ExecutionId::random();
    submit(&service, &caller, id, head, request).await
}

/// Reads the request body, accepts the execution under `id`, and answers with its output as a
/// stream or with its status. A stream without a free permit is refused before anything is
/// recorded. The head of the request is its HTTP version, its headers, and whether these name a
/// trace that begins at this service.
async fn submit(
    service: &Arc<Service>,
    caller: &Caller,
    id: ExecutionId,
    (version, headers, begins_trace): Head,
    request: axum::body::Body,
) -> Result<Response, Reply> {
    // Before the body, which a client without the right sends in vain.
    caller.check(Right::Own)?;
    let accepts_json = accepts_json(&headers);
    if !accepts_json {
        needs_http_11(version)?;
    }
    let (mut body, share) = service
        .inbound
        .execution(request, caller.quota(), &service.engine.settings.limits)
        .await?;
    // The headers are those of the nearest sender, such as a bridge, so they override the body.
    let keeps_own = begins_trace.is_some() && body.trace().is_some();
    if let Some(trace) = TraceContext::from_headers(&headers).filter(|_| !keeps_own) {
        body.set_trace(&trace);
    }
    // After the body, which may never arrive, and before the execution is recorded.
    let stream_permit = if accepts_json {
        None
    } else {
        Some(service.streams.permit(caller.quota())?)
    };
    let acceptance = service.accept(caller, id, body, share).await?;
    let code = if acceptance.created {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    let mut response = if let Some(place) = stream_permit {
        let viewer = viewer(&headers);
        let mut response = stream(service, &acceptance.view, id, 0, place, viewer).await?;
        *response.status_mut() = code;
        response
    } else {
        let status = service.status(caller, &acceptance.view).await?;
        json_response(code, status.to_json(service.engine.status_bytes()))
    };
    let text = id.to_string();
    if let Ok(location) = HeaderValue::from_str(&format!("/v1/executions/{text}")) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    if let Ok(value) = HeaderValue::from_str(&text) {
        response.headers_mut().insert(trailers::EXECUTION_ID, value);
    }
    Ok(response)
}

/// Returns whether a request header `Accept` lists `application/json`.
fn accepts_json(headers: &HeaderMap) -> bool {
    let accepts = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|v| v.to_str().ok());
    accepts.flat_map(|v| v.split(',')).any(|part| {
        part.split(';')
            .next()
            .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
    })
}

/// `GET /v1/executions/{id}`: answers with the present status of an execution, or with
/// `follow=true` streams its statuses until it ends.
pub(crate) async fn status(
    State(service): App,
    Extension(caller): Extension<Caller>,
    Id(id): Id,
    headers: HeaderMap,
    version: Version,
    RawQuery(raw): RawQuery,
) -> Result<Response, Reply> {
    let follows = Query::parse(raw.as_deref(), ["follow"])?.flag("follow", false)?;
    if follows {
        needs_http_11(version)?;
    }
    let view = service.find(&caller, id, Right::View).await?;
    if follows {
        return Ok(follow::response(service, &caller, view, viewer(&headers)).await?);
    }
    let status = service.status(&caller, &view).await?;
    Ok(json_response(
        StatusCode::OK,
        status.to_json(service.engine.status_bytes()),
    ))
}

/// Applies a control, such as a pause, to an execution and answers with its status.
async fn control(
    service: &Arc<Service>,
    caller: &Caller,
    id: ExecutionId,
    control: Control,
) -> Result<Response, Reply> {
    let view = service.find(caller, id, Right::Control).await?;
    let status = service.control(caller, &view, control).await?;
    Ok(json_response(
        StatusCode::OK,
        status.to_json(service.engine.status_bytes()),
    ))
}

/// `POST .../pause`: suspends all processes of an execution with SIGSTOP, and answers with the
/// status. A queued execution gets 409 `wrong-state`.
pub(crate) async fn pause(
    State(service): App,
    Extension(caller): Extension<Caller>,
    Id(id): Id,
    _: NoQuery,
) -> Result<Response, Reply> {
    control(&service, &caller, id, Control::Pause).await
}

/// `POST .../resume`: resumes the processes of a paused execution with SIGCONT, and answers with
/// the status. Has no effect on an execution that is not paused.
pub(crate) async fn resume(
    State(service): App,
    Extension(caller): Extension<Caller>,
    Id(id): Id,
    _: NoQuery,
) -> Result<Response, Reply> {
    control(&service, &caller, id, Control::Resume).await
}

/// `POST .../cancel`: cancels an execution, and answers with the status. With `ifUnviewedForMs=N`,
/// only once no client has viewed it for N ms. With `ifUnknown=burn`, an id that is not accepted
/// yet is burned: a later request to accept it is refused for an hour.
pub(crate) async fn cancel(
    State(service): App,
    Extension(caller): Extension<Caller>,
    Id(id): Id,
    headers: HeaderMap,
    RawQuery(raw): RawQuery,
) -> Result<Response, Reply> {
    let query = Query::parse(raw.as_deref(), ["ifUnknown", "ifUnviewedForMs"])?;
    let burns = query.keyword("ifUnknown", "burn")?;
    let cancel = match query.number("ifUnviewedForMs")? {
        None => Cancel::Now,
        Some(ms) if ms <= UNVIEWED_MS_MAX => Cancel::Unviewed {
            after: Duration::from_millis(ms),
            viewer: viewer(&headers).map(Arc::from),
        },
        Some(_) => {
            return Err(Reply(Problem::new(
                ProblemType::InvalidQuery,
                format!("ifUnviewedForMs is above the limit; give 0 to {UNVIEWED_MS_MAX}"),
            )));
        }
    };
    let cancelled = if burns {
        service.cancel_or_burn(&caller, id, cancel).await?
    } else {
        let view = service.find(&caller, id, Right::Control).await?;
        Burn::Cancelled(Box::new(service.cancel(&caller, &view, cancel).await?))
    };
    let body = match cancelled {
        Burn::Cancelled(status) => status.to_json(service.engine.status_bytes()),
        Burn::Burned => json(&Burned::new(id)),
    };
    Ok(json_response(StatusCode::OK, body))
}

/// `DELETE /v1/executions/{id}`: deletes an ended execution from the disk, and answers 204. Answers
/// 409 `wrong-state` if it has not ended.
pub(crate) async fn delete(
    State(service): App,
    Extension(caller): Extension<Caller>,
    Id(id): Id,
    _: NoQuery,
) -> Result<Response, Reply> {
    service.delete(&caller, id).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `GET /v1/executions`: lists the statuses of executions in pages, newest first. The answer is
/// streamed, so a page of a thousand statuses needs the memory of one. With `workspace`, the page
/// leaves out the executions of other workspaces, which still count for `limit`.
pub(crate) async fn list(
    State(service): App,
    Extension(caller): Extension<Caller>,
    RawQuery(raw): RawQuery,
) -> Result<Response, Reply> {
    let query = Query::parse(raw.as_deref(), ["limit", "before", "workspace"])?;
    let limit = query.number("limit")?.unwrap_or(Page::DEFAULT_LIMIT);
    if limit == 0 || limit > Page::MAX_LIMIT {
        return Err(Reply(Problem::new(
            ProblemType::InvalidQuery,
            format!(
                "limit={limit} is out of range; give 1 to {}",
                Page::MAX_LIMIT
            ),
        )));
    }
    let page = service
        .page(
            &caller,
            query.id("before")?,
            usize::try_from(limit).unwrap_or(1000),
        )
        .await?;
    let tail = format!(
        "],\"next\":{}}}",
        String::from_utf8_lossy(&json(&page.next))
    );
    let workspace: Option<Arc<str>> = query.get("workspace").map(Arc::from);
    let statuses = futures::stream::iter(page.ids)
        .then(move |id| {
            let (service, caller) = (Arc::clone(&service), caller.clone());
            let workspace = workspace.clone();
            // An execution that was deleted meanwhile is left out.
            async move {
                read_status(&service, &caller, id)
                    .await
                    .ok()
                    .filter(|s| workspace.is_none_or(|workspace| s.workspace() == &*workspace))
                    .map(|s| s.to_json(service.engine.status_bytes()))
            }
        })
        .filter_map(std::future::ready)
        .enumerate()
        .map(|(n, status)| {
            if n == 0 {
                status
            } else {
                [b",".as_slice(), &status].concat()
            }
        });
    let chunks = futures::stream::once(std::future::ready(b"{\"executions\":[".to_vec()))
        .chain(statuses)
        .chain(futures::stream::once(std::future::ready(tail.into_bytes())))
        .map(|chunk| Ok::<_, std::convert::Infallible>(Bytes::from(chunk)));
    Ok((
        [(header::CONTENT_TYPE, "application/json")],
        axum::body::Body::from_stream(chunks),
    )
        .into_response())
}

/// Reads the present status of the execution `id`, live or on disk.
async fn read_status(
    service: &Arc<Service>,
    caller: &Caller,
    id: ExecutionId,
) -> Result<VisibleStatus, Problem> {
    let view = service.find(caller, id, Right::List).await?;
    service.status(caller, &view).await
}

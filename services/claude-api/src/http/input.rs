//! `POST .../input?offset=N[&eof=true]`: lines that a client sends to the stdin of a running CLI.

use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use protocol::{Problem, ProblemType};

use super::query::{Id, Query};
use super::reply::{App, Reply};
use super::reply::{json, json_response};
use crate::access::{Caller, Right};
use crate::execution::input::Offer;
use crate::service::FoundExecution;

/// Adds the member `accepted` to the problem that refuses input: the number of bytes accepted so
/// far, at which the client continues. The problem is unchanged if the execution accepts no input
/// at all.
fn with_accepted(problem: Problem, view: &FoundExecution) -> Problem {
    let FoundExecution::Live(live) = view else {
        return problem;
    };
    match &live.input {
        Some(gate) => problem.with("accepted", gate.accepted()),
        None => problem,
    }
}

/// Accepts lines for the stdin of a running CLI, all or none. `offset` is the number of input bytes
/// before these lines, so a repeated request is recognised. `eof` closes stdin after them. Answers
/// with `accepted`, the number of input bytes accepted so far.
pub(crate) async fn input(
    State(service): App,
    Extension(caller): Extension<Caller>,
    Id(id): Id,
    RawQuery(raw): RawQuery,
    request: axum::body::Body,
) -> Result<Response, Reply> {
    let query = Query::parse(raw.as_deref(), ["offset", "eof"])?;
    let offset = query.number("offset")?.ok_or_else(|| {
        Problem::new(
            ProblemType::InvalidQuery,
            "offset is missing; give the number of input bytes before these, 0 for the first",
        )
    })?;
    let eof = query.flag("eof", false)?;
    // Before the body: a client with an unknown id is refused before it sends everything.
    let view = service.find(&caller, id, Right::Control).await?;
    let advice = format!(
        "send fewer lines in one request; one message may have {} bytes of text and pictures",
        service.engine.settings.limits.prompt_bytes
    );
    let read = service
        .inbound
        .read(request, caller.quota(), service.input_bytes(), &advice);
    // The share of the inbound memory is held as long as the data.
    let (data, _share) = match read.await {
        Ok(read) => read,
        Err(problem) => return Err(Reply(with_accepted(problem, &view))),
    };
    // The body may have taken minutes.
    service.recheck(&caller, Right::Control).await?;
    let offer = Offer {
        offset,
        data: &data,
        eof,
    };
    let accepted = service.input(&view, offer).await?;
    let answer = json(&serde_json::json!({ "accepted": accepted }));
    Ok(json_response(StatusCode::OK, answer))
}

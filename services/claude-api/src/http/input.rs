//! `POST .../input?offset=N[&eof=true]`.

use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use protocol::{Problem, ProblemType};

use super::query::{self, Query};
use super::reply::{json, json_response};
use super::{App, Reply, body};
use crate::execution::input::Offer;

/// Takes lines for the CLI's stdin; answers `{accepted}`.
pub(crate) async fn input(
    State(service): App,
    Path(id): Path<String>,
    RawQuery(raw): RawQuery,
    request: axum::body::Body,
) -> Result<Response, Reply> {
    let id = query::id(&id)?;
    let query = Query::parse(raw.as_deref(), ["offset", "eof"])?;
    let offset = query.number("offset")?.ok_or_else(|| {
        Problem::new(
            ProblemType::InvalidQuery,
            "offset is missing: the count of input bytes before these, 0 for the first",
        )
    })?;
    let eof = query.flag("eof")?;
    // Before the body: who may send none need not send it all.
    let view = service.find(id).await?;
    let data = body::bytes(request, service.settings.limits.prompt_bytes).await?;
    let offer = Offer {
        offset,
        data: &data,
        eof,
    };
    let accepted = service.input(&view, offer).await?;
    let answer = json(&serde_json::json!({ "accepted": accepted }));
    Ok(json_response(StatusCode::OK, answer))
}

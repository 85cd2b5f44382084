//! `GET .../questions`, `GET .../questions/{questionId}` and `POST .../questions/{questionId}`:
//! the questions of the CLI to a person, and the answers.

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use protocol::question::ANSWER_BYTES_MAX;
use protocol::{Answer, Problem, ProblemType};
use uuid::Uuid;

use super::query::{Id, NoQuery};
use super::reply::{App, Reply, json, json_response};
use crate::access::{Caller, Right};

/// Lists the open questions of an execution, and those that were closed last.
pub(super) async fn list(
    State(service): App,
    Extension(caller): Extension<Caller>,
    _: NoQuery,
    Id(id): Id,
) -> Result<Response, Reply> {
    let view = service.find(&caller, id, Right::View).await?;
    let list = service.list_questions(&view).await?;
    Ok(json_response(StatusCode::OK, json(&list)))
}

/// Returns one question with its whole input.
pub(super) async fn question(
    State(service): App,
    Extension(caller): Extension<Caller>,
    _: NoQuery,
    Path((id, question)): Path<(String, String)>,
) -> Result<Response, Reply> {
    let view = service
        .find(&caller, super::query::id(&id)?, Right::View)
        .await?;
    let question = service.question(&view, question_id(&question)?).await?;
    Ok(json_response(StatusCode::OK, json(&question)))
}

/// Answers a question. The answer is on disk when the client reads the result.
pub(super) async fn answer(
    State(service): App,
    Extension(caller): Extension<Caller>,
    _: NoQuery,
    Path((id, question)): Path<(String, String)>,
    request: axum::body::Body,
) -> Result<Response, Reply> {
    let (id, question) = (super::query::id(&id)?, question_id(&question)?);
    // Before the body: a client with an unknown id is refused before it sends everything.
    let view = service.find(&caller, id, Right::Control).await?;
    let advice = "send a shorter answer";
    let limit = ANSWER_BYTES_MAX as u64;
    let read = service.inbound.read(request, caller.quota(), limit, advice);
    let (data, charge) = read.await?;
    let caller = service.recheck(&caller, Right::Control).await?;
    let answer = parse(&data)?;
    let answered = service
        .answer(&caller, &view, question, answer, charge)
        .await?;
    Ok(json_response(StatusCode::OK, json(&answered)))
}

/// Parses the id of a question in a path.
fn question_id(text: &str) -> Result<Uuid, Problem> {
    Uuid::try_parse(text).map_err(|_| {
        let detail =
            format!("{text:?} is not the id of a question (a UUID); GET .../questions lists them");
        Problem::new(ProblemType::InvalidId, detail)
    })
}

/// Parses an answer. Answers 400 `invalid-body` if it is not one.
fn parse(json: &[u8]) -> Result<Answer, Problem> {
    let invalid = |detail: String| Problem::new(ProblemType::InvalidBody, detail);
    // serde would also read the fields from a list.
    if json.trim_ascii_start().first() != Some(&b'{') {
        return Err(invalid(
            "the body is not a JSON object; send {\"decision\": \"allow\"} or \"deny\"".to_owned(),
        ));
    }
    protocol::json::from_slice(json).map_err(|error| invalid(error.to_string()))
}

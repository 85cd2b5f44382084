//! `POST /ws-ticket`: a ticket with which a web page opens one WebSocket session. A page cannot
//! send the header `Authorization` there. claude-api makes the tickets.

use axum::extract::{Request, State};
use axum::response::Response;
use protocol::{Problem, ProblemType};

use super::access::{
    Admission, Purpose, no_answer, origin, presented, unauthorized, with_retry_after, with_scheme,
};
use super::app::App;
use super::peer::Client;
use super::problems::{problem_page, response};
use crate::upstream::errors::Failure;

/// Serves `POST /ws-ticket`. Requests a ticket from claude-api for the client's token and origin,
/// and answers with it. A refusal that is about the client is passed on. Every other failure
/// becomes 503 `not-ready`.
pub(super) async fn ticket(State(app): State<App>, request: Request) -> Response {
    let presented = match presented(request.headers(), false) {
        Ok(presented) => presented,
        Err(detail) => return unauthorized(detail),
    };
    let (client, origin) = (Client::of(&request), origin(request.headers()));
    let origin = origin.as_deref();
    let admission = app
        .access
        .admit(&presented, origin, client.address, Purpose::Ticket);
    let grant = match admission.await {
        Admission::Granted(grant) => grant,
        Admission::Refused(response) => return *response,
        Admission::NoAnswer => return no_answer(),
    };
    match grant.upstream().ticket(origin.map(str::to_owned)).await {
        Ok(ticket) => {
            let body = serde_json::to_vec(&ticket).unwrap_or_default();
            response(200, "application/json", body)
        }
        Err(Failure::Refused(problem, retry_after)) if is_for_client(&problem) => {
            let mut response = problem_page(&problem);
            if problem.kind == ProblemType::Unauthorized {
                response = with_scheme(response);
            }
            match retry_after {
                Some(pause) => with_retry_after(response, pause.as_secs()),
                None => response,
            }
        }
        Err(_) => no_answer(),
    }
}

/// Returns whether a refusal of claude-api is about the client, and not about this bridge.
fn is_for_client(problem: &Problem) -> bool {
    use ProblemType as P;
    matches!(
        problem.kind,
        P::Unauthorized | P::Forbidden | P::WrongState | P::TooManyAttempts | P::NotImplemented
    )
}

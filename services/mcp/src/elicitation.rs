//! Questions to the person behind an MCP client, during a call of the tool `execute`
//! (`elicitation/create` in form mode; MCP 2025-06-18, "Elicitation").
//!
//! Up to MCP 2025-11-25 the server sends requests, one question at a time. From 2026-07-28 on, the
//! call returns the forms of all open questions (`input_required`), and the client repeats it with
//! the filled-in forms. A task asks in the same way (`tasks/get`, `tasks/update`).
//!
//! The server sends the decision of the person to the bridge as the tool `answer` would. A
//! dismissed form leaves its question open for others. The form is cancelled when the question is
//! closed.

mod form;

use std::collections::VecDeque;
use std::time::Duration;

use client::Client;
use protocol::{Answer, ExecutionId, Question};
use rmcp::model::{
    CallToolResponse, ClientResult, ElicitRequest, ElicitResult, InputRequest, InputRequests,
    InputRequiredResult, InputResponses, ProtocolVersion, ServerRequest,
};
use rmcp::service::{PeerRequestOptions, RequestContext, RequestHandle, ServiceError};
use rmcp::{Peer, RoleServer};
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::failure::Failure;
use crate::questions;
use crate::questions::OpenQuestions;
use crate::slots::Slots;

/// The maximum number of questions that wait for their form. Further ones stay open for others; an
/// execution has at most 32 open.
const QUEUE_MAX: usize = 256;
/// The pause before a form is shown again whose decision could not be stored.
const ASK_AGAIN: Duration = Duration::from_secs(2);
/// The first version in which the server sends no requests. A result of a call then asks instead.
const WITHOUT_REQUESTS: ProtocolVersion = ProtocolVersion::V_2026_07_28;
/// The maximum number of ids in the state of a call that is repeated. An execution has fewer open
/// questions, and a client repeats a call a few times.
const STATE_IDS_MAX: usize = 512;

/// A change of the open questions of an execution.
#[derive(Debug)]
pub(crate) enum Change {
    /// The execution asks.
    Asked(Box<Question>),
    /// The question with this id was closed.
    Closed(Uuid),
}

/// Returns whether the client of a call can ask its user with a form.
pub(crate) fn is_supported(context: &RequestContext<RoleServer>) -> bool {
    let capabilities = context.client_capabilities();
    let elicitation = capabilities.and_then(|capabilities| capabilities.elicitation);
    // Before 2025-11-25 the capability had no modes, and meant forms.
    elicitation.is_some_and(|modes| modes.form.is_some() || modes.url.is_none())
}

/// Returns whether a call asks with its result, because its version has no requests of the server.
pub(crate) fn asks_with_result(context: &RequestContext<RoleServer>) -> bool {
    let version = context.protocol_version();
    version.is_some_and(|version| version >= WITHOUT_REQUESTS)
}

/// The state of a call that ended with forms. The client returns it with the repeated call. It says
/// nothing that the client could not say itself: its token decides what it may open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RepeatedCall {
    /// The execution of the first call.
    pub(crate) id: ExecutionId,
    /// The questions whose forms the client has returned. Their forms are not sent again.
    asked: Vec<Uuid>,
}

impl RepeatedCall {
    /// Creates the state of the first call.
    pub(crate) fn first(id: ExecutionId) -> Self {
        let asked = Vec::new();
        Self { id, asked }
    }

    /// Reads the state that a client returns.
    ///
    /// # Errors
    /// The text is not from [`Self::text`].
    pub(crate) fn read(text: &str) -> Result<Self, Failure> {
        let wrong = || Failure::arguments("requestState is not from an answer of this server");
        let mut words = text.split(' ').take(STATE_IDS_MAX);
        let id = words.next().unwrap_or_default();
        let id = id.parse().map_err(|_| wrong())?;
        let asked = words.map(|word| word.parse().map_err(|_| wrong()));
        let asked = asked.collect::<Result<_, _>>()?;
        Ok(Self { id, asked })
    }

    fn text(&self) -> String {
        let words = self.asked.iter().map(Uuid::to_string);
        let words: Vec<_> = std::iter::once(self.id.to_string()).chain(words).collect();
        words.join(" ")
    }

    /// Sends the decisions of the forms that a client returns. Their questions are not asked again,
    /// unless the decision was not stored.
    ///
    /// # Errors
    /// As [`respond`].
    pub(crate) async fn respond(
        &mut self,
        slots: &Slots,
        responses: InputResponses,
    ) -> Result<(), Failure> {
        let failed = respond(slots, self.id, &responses).await?;
        let ids = responses.keys().filter_map(|id| id.parse::<Uuid>().ok());
        let settled = ids.filter(|id| !failed.contains(id));
        self.asked.extend(settled.take(STATE_IDS_MAX));
        Ok(())
    }

    /// Waits until the execution asks something new. Returns the result that asks the client for
    /// it. Waits forever if the sender of `changes` is dropped.
    pub(crate) async fn forms(
        self,
        mut changes: mpsc::UnboundedReceiver<Change>,
    ) -> CallToolResponse {
        let mut open = OpenQuestions::default();
        loop {
            match changes.recv().await {
                None => std::future::pending().await,
                Some(Change::Asked(question)) => open.ask(*question),
                Some(Change::Closed(id)) => open.close(id),
            }
            // Several questions may have been announced at once.
            if !changes.is_empty() {
                continue;
            }
            let is_new = |question: &&Question| !self.asked.contains(&question.question_id);
            let forms = forms(self.id, open.questions().iter().filter(is_new));
            if !forms.is_empty() {
                return InputRequiredResult::new(Some(forms), Some(self.text())).into();
            }
        }
    }
}

/// Returns the forms of questions of an execution, by the ids of the questions.
pub(crate) fn forms<'a>(
    id: ExecutionId,
    questions: impl Iterator<Item = &'a Question>,
) -> InputRequests {
    let forms = questions.filter_map(|question| {
        let params = form::form(id, question).ok()?;
        let request = InputRequest::Elicitation(ElicitRequest::new(params));
        Some((question.question_id.to_string(), request))
    });
    forms.collect()
}

/// Sends the decisions of forms that a client returns. Forms of questions that were closed
/// meanwhile have no effect. Returns the questions whose decision was not stored, which are still
/// open.
///
/// # Errors
/// The bridge does not know the execution or does not answer, or too many calls already run.
pub(crate) async fn respond(
    slots: &Slots,
    id: ExecutionId,
    responses: &InputResponses,
) -> Result<Vec<Uuid>, Failure> {
    let mut failed = Vec::new();
    let (_, questions) = questions::with_status(slots, id).await?;
    for question in questions {
        let response = responses.get(&question.question_id.to_string());
        let result = response.and_then(|json| serde_json::from_value(json.clone()).ok());
        let result: Option<ElicitResult> = result;
        if let Some(answer) = result.and_then(|result| form::answer(&question, &result))
            && send(slots, id, question.question_id, answer).await == Sent::Failed
        {
            failed.push(question.question_id);
        }
    }
    Ok(failed)
}

/// A form that the client shows now.
struct Form {
    question: Question,
    request: RequestHandle<RoleServer>,
}

/// Asks the person behind the client each question, until the sender of `changes` is dropped or the
/// client cannot be asked. Must run in the task of the call, because the library then sends the
/// form on the stream of the call.
pub(crate) async fn ask_all(
    peer: &Peer<RoleServer>,
    slots: &Slots,
    id: ExecutionId,
    mut changes: mpsc::UnboundedReceiver<Change>,
) {
    let mut waiting: VecDeque<Question> = VecDeque::new();
    let mut shown: Option<Form> = None;
    loop {
        if shown.is_none()
            && let Some(question) = waiting.pop_front()
        {
            match show(peer, id, &question).await {
                Ok(request) => shown = Some(Form { question, request }),
                Err(error) => {
                    tracing::debug!(
                        execution = %id,
                        %error,
                        "could not ask the user of an MCP client; the question waits for others"
                    );
                    return;
                }
            }
        }
        tokio::select! {
            change = changes.recv() => match change {
                None => return,
                Some(Change::Asked(question)) => {
                    if waiting.len() < QUEUE_MAX {
                        waiting.push_back(*question);
                    }
                }
                Some(Change::Closed(closed)) => {
                    waiting.retain(|question| question.question_id != closed);
                    if let Some(form) = shown.take_if(|form| form.question.question_id == closed) {
                        let reason = "the question was closed; no answer is needed".to_owned();
                        let _ = form.request.cancel(Some(reason)).await;
                    }
                }
            },
            (question, result) = decided(&mut shown) => {
                if let Some(answer) = result.and_then(|result| form::answer(&question, &result))
                    && send(slots, id, question.question_id, answer).await == Sent::Failed
                {
                    // The question is still open, and the person believes that it is answered.
                    tokio::time::sleep(ASK_AGAIN).await;
                    waiting.push_front(question);
                }
            }
        }
    }
}

/// Waits for the decision about the form that is shown. Waits forever without one. Cancel-safe.
async fn decided(shown: &mut Option<Form>) -> (Question, Option<ElicitResult>) {
    let Some(form) = shown else {
        return std::future::pending().await;
    };
    let result = (&mut form.request.rx).await;
    let question = form.question.clone();
    *shown = None;
    let result = match result {
        Ok(Ok(ClientResult::ElicitResult(result))) => Some(result),
        _ => None,
    };
    (question, result)
}

async fn show(
    peer: &Peer<RoleServer>,
    id: ExecutionId,
    question: &Question,
) -> Result<RequestHandle<RoleServer>, ServiceError> {
    let params = form::form(id, question).map_err(|error| {
        ServiceError::McpError(rmcp::ErrorData::internal_error(error.to_string(), None))
    })?;
    let request = ServerRequest::ElicitRequest(ElicitRequest::new(params));
    peer.send_cancellable_request(request, PeerRequestOptions::no_options())
        .await
}

/// What became of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    /// The answer counts, or it never will: the question was closed before, or the answer is not
    /// allowed.
    Settled,
    /// The answer was not stored. The question is still open.
    Failed,
}

async fn send(slots: &Slots, id: ExecutionId, question: Uuid, answer: Answer) -> Sent {
    let request = async |client: &Client| client.answer(id, question, answer).await;
    let Err(failure) = slots.request(request).await else {
        return Sent::Settled;
    };
    tracing::info!(
        execution = %id,
        %question,
        ?failure,
        "the answer of an MCP client's user was refused"
    );
    match failure.is_temporary() {
        true => Sent::Failed,
        false => Sent::Settled,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_of_a_repeated_call_has_the_execution_and_the_forms() {
        let state = RepeatedCall {
            id: ExecutionId::random(),
            asked: vec![Uuid::from_u128(7), Uuid::from_u128(8)],
        };
        assert_eq!(RepeatedCall::read(&state.text()), Ok(state.clone()));
        let first = RepeatedCall::first(state.id);
        assert_eq!(RepeatedCall::read(&first.text()), Ok(first));
        for wrong in ["", "7", " ", &format!("{} x", state.id)] {
            assert!(RepeatedCall::read(wrong).is_err(), "{wrong}");
        }
    }
}

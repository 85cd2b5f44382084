//! Questions of executions: the list, one question with its whole input, and answers
//! (docs/protocol.md, "Questions").

use std::io::{self, BufRead};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use protocol::question::{Answered, ClosedBy, ClosedQuestion, Question, QuestionList};
use protocol::{Answer, ExecutionId, PermissionPrompts, Problem, ProblemType};
use serde::Serialize;
use uuid::Uuid;

use super::{FoundExecution, Service, deleted};
use crate::access::Caller;
use crate::execution::input::Gate;
use crate::execution::questions::{
    AnswerRefusal, BadAnswer, Questions, Recorded, closed_by_end, ended_list,
};
use crate::registry::record::Accepted;

/// The time after which a question is denied if the body of its execution sets none: an hour.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(3600);

/// One question, as `GET /v1/executions/{id}/questions/{questionId}` returns it.
#[derive(Debug, Serialize)]
pub(crate) struct QuestionDetails {
    /// The question, with its whole input.
    #[serde(flatten)]
    question: Question,
    /// How it was closed. `None` while it is open.
    closed: Option<ClosedQuestion>,
}

impl Service {
    /// Creates the questions of an execution. `None` unless its body has
    /// `"permissionPrompts": "ask"`. `gate` is the input of its CLI.
    pub(super) fn questions(
        &self,
        accepted: &Accepted,
        entry: &spool::Entry,
        gate: Option<&Arc<Gate>>,
    ) -> Option<Arc<Questions>> {
        if accepted.body.permission_prompts != PermissionPrompts::Ask {
            return None;
        }
        let ceiling = accepted.permissions.answers.clone()?;
        let timeout = match accepted.body.question_timeout_seconds {
            None => Some(DEFAULT_TIMEOUT),
            Some(seconds) if seconds > 0.0 => Some(Duration::from_secs_f64(seconds)),
            Some(_) => None,
        };
        let gate = Arc::clone(gate?);
        Some(Arc::new(Questions::new(
            gate,
            entry.clone(),
            ceiling,
            timeout,
            self.engine.metrics.questions.clone(),
        )))
    }

    /// Returns the open questions of an execution, and those that were closed last.
    ///
    /// # Errors
    /// 500 `internal` after a disk error; 410 `deleted` if the execution was just deleted.
    pub(crate) async fn list_questions(
        self: &Arc<Self>,
        view: &FoundExecution,
    ) -> Result<QuestionList, Problem> {
        match view {
            FoundExecution::Live(live) => {
                let questions = live.questions.as_ref();
                Ok(questions
                    .map(|questions| questions.list())
                    .unwrap_or_default())
            }
            FoundExecution::Ended(_) => {
                let ended_at = self.ended_at(view).await?;
                self.read_questions(view, move |lines| ended_list(lines, ended_at))
                    .await
            }
        }
    }

    /// Returns a question of an execution with its whole input.
    ///
    /// # Errors
    /// 404 `not-found` for an unknown question, and the errors of [`Self::list_questions`].
    pub(crate) async fn question(
        self: &Arc<Self>,
        view: &FoundExecution,
        id: Uuid,
    ) -> Result<QuestionDetails, Problem> {
        let questions = match view {
            FoundExecution::Live(live) => live.questions.as_ref(),
            FoundExecution::Ended(_) => None,
        };
        if let Some(question) = questions.and_then(|questions| questions.find(id)) {
            return Ok(QuestionDetails {
                question,
                closed: None,
            });
        }
        let known = questions.and_then(|questions| questions.closed(id));
        let recorded = self.recorded(view, id).await?;
        // A question that no line closes is on disk, but is not shown yet.
        let closed = known.or(recorded.closed).ok_or_else(|| unknown(id))?;
        let question = recorded.question.ok_or_else(|| unknown(id))?;
        Ok(QuestionDetails {
            question,
            closed: Some(closed),
        })
    }

    /// Answers a question of an execution. When this returns, the answer is on disk. The first
    /// valid answer counts, and the same one again gets the same result. If the caller is dropped,
    /// the answer is stored all the same. `charge` is held as long as the answer is in memory.
    ///
    /// # Errors
    /// - 404 `not-found` for an unknown question.
    /// - 400 `invalid-body` or 403 `not-allowed` for an answer that does not fit the question.
    /// - 409 `wrong-state` if it was closed before, with how it was closed.
    /// - 507 `spool-unwritable` if the answer cannot be stored, and the errors of
    ///   [`Self::list_questions`].
    pub(crate) async fn answer(
        self: &Arc<Self>,
        caller: &Caller,
        view: &FoundExecution,
        id: Uuid,
        answer: Answer,
        charge: impl Send + 'static,
    ) -> Result<Answered, Problem> {
        let execution = view.entry().id();
        let principal = caller.principal().map(str::to_owned);
        let answered = match view {
            FoundExecution::Live(live) => match &live.questions {
                Some(questions) => {
                    let (answer, principal) = (answer.clone(), principal.clone());
                    questions.answer(id, answer, principal, charge).await
                }
                None => Err(AnswerRefusal::Unknown(id)),
            },
            FoundExecution::Ended(_) => Err(AnswerRefusal::Unknown(id)),
        };
        let answered = match answered {
            // Only the disk has every question and every answer.
            Err(AnswerRefusal::Unknown(_)) => self.repeat(view, id, &answer).await?,
            Err(AnswerRefusal::Closed(closed)) if closed.closed_by == ClosedBy::Answer => {
                self.repeat(view, id, &answer).await?
            }
            answered => answered.map_err(problem)?,
        };
        let decision = answered.decision.as_str();
        tracing::info!(
            %execution,
            question = %id,
            decision,
            principal,
            client = caller.name(),
            "a question was answered"
        );
        Ok(answered)
    }

    /// Returns the result of an answer to a question that was closed before: the answer that closed
    /// it gets the same result again.
    async fn repeat(
        self: &Arc<Self>,
        view: &FoundExecution,
        id: Uuid,
        answer: &Answer,
    ) -> Result<Answered, Problem> {
        let recorded = self.recorded(view, id).await?;
        let repeated = recorded.repeat(answer);
        repeated.ok_or_else(|| {
            problem(match recorded.closed {
                Some(closed) => AnswerRefusal::Closed(closed),
                None => AnswerRefusal::Unknown(id),
            })
        })
    }

    /// Reads a question from the disk. The end of the execution has closed it if no line says so.
    async fn recorded(
        self: &Arc<Self>,
        view: &FoundExecution,
        id: Uuid,
    ) -> Result<Recorded, Problem> {
        let read = self.read_questions(view, move |lines| Recorded::read(lines, id));
        let mut recorded = read.await?;
        let is_unclosed = recorded.question.is_some() && recorded.closed.is_none();
        if is_unclosed && matches!(view, FoundExecution::Ended(_)) {
            recorded.closed = Some(closed_by_end(id, self.ended_at(view).await?));
        }
        Ok(recorded)
    }

    /// Reads the lines about the questions of an execution, on a thread that may block.
    async fn read_questions<T: Send + 'static>(
        &self,
        view: &FoundExecution,
        read: impl FnOnce(Box<dyn BufRead>) -> io::Result<T> + Send + 'static,
    ) -> Result<T, Problem> {
        // Closed never; an error would only mean that nothing bounds this read.
        let permit = self.question_reads.acquire().await;
        let entry = view.entry().clone();
        let id = ExecutionId::from(entry.id());
        let result = spool::blocking::run_io(move || read(entry.questions()?)).await;
        drop(permit);
        match result {
            Ok(result) => Ok(result),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(deleted(id)),
            Err(error) => {
                tracing::error!(
                    execution = %id,
                    %error,
                    "could not read the questions of an execution; the request fails"
                );
                let detail = "the questions cannot be read; the log of claude-api says why";
                Err(Problem::new(ProblemType::Internal, detail))
            }
        }
    }

    /// Returns when an execution ended.
    async fn ended_at(self: &Arc<Self>, view: &FoundExecution) -> Result<Timestamp, Problem> {
        let ended_at = self.whole_status(view).await?.ended_at;
        Ok(ended_at.unwrap_or_default())
    }
}

fn unknown(id: Uuid) -> Problem {
    let detail = format!(
        "the execution has no question {id}; GET .../questions lists the open ones and the 64 \
         closed last"
    );
    Problem::new(ProblemType::NotFound, detail)
}

/// Returns the problem for an answer that was refused.
fn problem(refused: AnswerRefusal) -> Problem {
    match refused {
        AnswerRefusal::Unknown(id) => unknown(id),
        AnswerRefusal::Closed(closed) => {
            let detail = format!(
                "the question was closed before ({}); this answer has no effect",
                closed.closed_by.as_str()
            );
            let decision = closed.decision.map(|decision| decision.as_str());
            Problem::new(ProblemType::WrongState, detail)
                .with("closedBy", closed.closed_by.as_str())
                .with("decision", decision)
                .with("principal", closed.principal)
        }
        // Answers of one execution take turns, so no request gets this refusal.
        AnswerRefusal::Answering => {
            let detail = "another answer to this question is being stored; send the answer again";
            Problem::new(ProblemType::Internal, detail)
        }
        AnswerRefusal::Bad(BadAnswer::Invalid(detail)) => {
            Problem::new(ProblemType::InvalidBody, detail)
        }
        AnswerRefusal::Bad(BadAnswer::NotAllowed(detail)) => {
            Problem::new(ProblemType::NotAllowed, detail)
        }
        AnswerRefusal::Unwritable => {
            let detail = "the answer could not be stored, and the question stays open; free disk \
                          space or see the log of claude-api, then send the answer again";
            Problem::new(ProblemType::SpoolUnwritable, detail)
        }
    }
}

//! The open questions of an execution, with their inputs, for the results of tools.

use std::time::Duration;

use client::{AttachParams, Event};
use protocol::rpc::OnSlow;
use protocol::{ExecutionId, Question, Status};

use uuid::Uuid;

use crate::failure::Failure;
use crate::slots::{Purpose, Slots};

/// The maximum time to wait for the announcements of an execution's open questions. They follow the
/// reply to an attach at once. A question that was closed meanwhile is not announced.
const ANNOUNCEMENTS_TIMEOUT: Duration = Duration::from_secs(2);

/// The questions that a view has announced and that are still open.
#[derive(Debug, Default)]
pub(crate) struct OpenQuestions(Vec<Question>);

impl OpenQuestions {
    /// Updates the questions from an event of the execution. Returns whether one is open.
    pub(crate) fn event(&mut self, event: &Event) -> bool {
        match event {
            Event::Question(question) => self.ask((**question).clone()),
            Event::QuestionClosed { question_id, .. } => self.close(*question_id),
            _ => {}
        }
        !self.0.is_empty()
    }

    /// Adds a question.
    pub(crate) fn ask(&mut self, question: Question) {
        self.close(question.question_id);
        self.0.push(question);
    }

    /// Removes a question that was closed.
    pub(crate) fn close(&mut self, id: Uuid) {
        self.0.retain(|open| open.question_id != id);
    }

    /// The questions, the oldest first.
    pub(crate) fn questions(&self) -> &[Question] {
        &self.0
    }

    /// Returns the questions, unless the status says that none is open any more.
    pub(crate) fn of(self, status: &Status) -> Vec<Question> {
        match status.questions_open {
            0 => Vec::new(),
            _ => self.0,
        }
    }
}

/// Returns the status of an execution and its open questions with their inputs.
///
/// # Errors
/// The bridge does not know the execution or does not answer, or too many calls already run.
pub(crate) async fn with_status(
    slots: &Slots,
    id: ExecutionId,
) -> Result<(Status, Vec<Question>), Failure> {
    let call = slots.call(Purpose::Request).await?;
    let status = call.client.status(id).await?;
    let mut questions = OpenQuestions::default();
    if status.questions_open > 0 {
        // Behind the output, so that only what is new arrives.
        let mut run = call.client.attach(AttachParams {
            execution_id: id,
            offset: Some(status.output_bytes),
            on_slow: OnSlow::Skip,
        });
        let expected = usize::try_from(status.questions_open).unwrap_or(usize::MAX);
        let announced = async {
            while questions.0.len() < expected {
                match run.next().await? {
                    Some(Event::Terminal { .. }) | None => break,
                    Some(event) => questions.event(&event),
                };
            }
            Ok::<_, client::Error>(())
        };
        if let Ok(result) = tokio::time::timeout(ANNOUNCEMENTS_TIMEOUT, announced).await {
            result?;
        }
        drop(run);
    }
    call.client.close().await;
    let questions = questions.of(&status);
    Ok((status, questions))
}

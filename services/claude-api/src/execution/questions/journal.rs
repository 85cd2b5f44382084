//! The questions of an execution on disk, one line of JSON for each event. After the end, they are
//! what is known of its questions.

use jiff::Timestamp;
use protocol::Answer;
use protocol::question::{ClosedBy, ClosedQuestion, Question, QuestionList};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::table::Closed;

/// One line of the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Line {
    /// A question was asked. It has its whole input.
    Asked(Box<Question>),
    /// A question was closed, by this answer if a person gave one.
    Closed {
        /// How it was closed.
        closed: ClosedQuestion,
        /// The answer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        answer: Option<Answer>,
    },
}

impl Line {
    /// Returns the line as JSON, without a line feed.
    pub(super) fn to_json(&self) -> Vec<u8> {
        protocol::json::to_vec(self).unwrap_or_default()
    }
}

/// The questions of an execution that has ended, as the disk has them.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    asked: Vec<Question>,
    closed: Vec<Closed>,
}

impl Journal {
    /// Reads the lines of an execution that ended at this time. A question that nothing closed was
    /// closed by the end. A line that cannot be read is skipped: a crash may have torn the last
    /// one.
    pub(crate) fn read(lines: &[u8], ended_at: Timestamp) -> Self {
        let mut journal = Self::default();
        let lines = lines.split(|byte| *byte == b'\n');
        for line in lines.filter_map(|line| serde_json::from_slice(line).ok()) {
            match line {
                Line::Asked(question) => journal.asked.push(*question),
                Line::Closed { closed, answer } => journal.closed.push(Closed { closed, answer }),
            }
        }
        for question in &journal.asked {
            let id = question.question_id;
            if !journal
                .closed
                .iter()
                .any(|closed| closed.closed.question_id == id)
            {
                let closed = ClosedQuestion {
                    question_id: id,
                    closed_by: ClosedBy::End,
                    decision: None,
                    principal: None,
                    closed_at: ended_at,
                };
                journal.closed.push(Closed {
                    closed,
                    answer: None,
                });
            }
        }
        journal
    }

    /// Returns the list for clients. No question is open.
    pub(crate) fn list(&self) -> QuestionList {
        let older = self.closed.len().saturating_sub(QuestionList::CLOSED_MAX);
        QuestionList {
            open: Vec::new(),
            closed: self.closed[older..]
                .iter()
                .map(|closed| closed.closed.clone())
                .collect(),
        }
    }

    /// Returns a question with its whole input, and how it was closed.
    pub(crate) fn find(&self, id: Uuid) -> Option<(&Question, &ClosedQuestion)> {
        let question = self
            .asked
            .iter()
            .find(|question| question.question_id == id)?;
        let closed = self.closed(id)?;
        Some((question, &closed.closed))
    }

    /// Returns how a question was closed, and by which answer.
    pub(super) fn closed(&self, id: Uuid) -> Option<&Closed> {
        self.closed
            .iter()
            .find(|closed| closed.closed.question_id == id)
    }
}

#[cfg(test)]
mod tests {
    use protocol::question::Decision;
    use serde_json::json;

    use super::*;
    use crate::execution::questions::prompt::Prompt;

    fn asked(number: u128) -> Vec<u8> {
        let request = json!({"subtype": "can_use_tool", "tool_name": "Bash",
            "input": {"command": "x".repeat(20_000)}});
        let prompt = Prompt::read("r", &request).unwrap();
        let id = Uuid::from_u128(number);
        let question = prompt.question(id, &[], Timestamp::UNIX_EPOCH, None);
        Line::Asked(Box::new(question)).to_json()
    }

    #[test]
    fn an_unanswered_question_was_closed_by_the_end() {
        let answer = Line::Closed {
            closed: ClosedQuestion {
                question_id: Uuid::from_u128(1),
                closed_by: ClosedBy::Answer,
                decision: Some(Decision::Allow),
                principal: None,
                closed_at: Timestamp::UNIX_EPOCH,
            },
            answer: Some(Answer::allow()),
        };
        let ended_at = Timestamp::from_second(9).unwrap();
        let lines = [
            asked(1),
            asked(2),
            answer.to_json(),
            b"{\"asked\":{\"que".to_vec(),
        ];
        let journal = Journal::read(&lines.join(&b'\n'), ended_at);
        let causes: Vec<_> = journal.list().closed.iter().map(|c| c.closed_by).collect();
        assert_eq!(causes, [ClosedBy::Answer, ClosedBy::End]);
        let (question, closed) = journal.find(Uuid::from_u128(2)).unwrap();
        assert!(
            question.input.as_ref().unwrap()["command"]
                .as_str()
                .unwrap()
                .len()
                == 20_000
        );
        assert_eq!(closed.closed_at, ended_at);
        assert!(journal.find(Uuid::from_u128(3)).is_none());
    }
}

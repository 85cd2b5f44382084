//! The record of an execution's questions on disk: a line of JSON for each question that was asked
//! or closed. After the end of the execution it is the only source.

use std::collections::VecDeque;
use std::io::{self, BufRead};

use jiff::Timestamp;
use protocol::Answer;
use protocol::question::{Answered, ClosedBy, ClosedQuestion, Question, QuestionList};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

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

/// A question as its lines on disk have it.
#[derive(Debug, Default)]
pub(crate) struct Recorded {
    /// The question with its whole input. `None` if it was never asked.
    pub(crate) question: Option<Question>,
    /// How it was closed. `None` if no line says so.
    pub(crate) closed: Option<ClosedQuestion>,
    /// The answer that closed it.
    answer: Option<Answer>,
}

impl Recorded {
    /// Reads the lines of one question. A line that cannot be parsed is skipped: a crash may have
    /// torn the last one. Needs the memory of one line. Blocks on the disk.
    ///
    /// # Errors
    /// The error of the operating system.
    pub(crate) fn read(lines: impl BufRead, id: Uuid) -> io::Result<Self> {
        let mut recorded = Self::default();
        each_line(lines, |line| {
            if Head::read(line).is_none_or(|head| head.id() != id) {
                return;
            }
            match serde_json::from_slice(line) {
                Ok(Line::Asked(question)) => recorded.question = Some(*question),
                Ok(Line::Closed { closed, answer }) => {
                    recorded.closed = Some(closed);
                    recorded.answer = answer;
                }
                Err(_) => {}
            }
        })?;
        Ok(recorded)
    }

    /// Returns the result of an answer if it repeats the one that closed this question.
    pub(crate) fn repeat(&self, answer: &Answer) -> Option<Answered> {
        let closed = self.closed.as_ref()?;
        (self.answer.as_ref()? == answer).then_some(Answered {
            question_id: closed.question_id,
            decision: closed.decision?,
            principal: closed.principal.clone(),
        })
    }
}

/// Reads the list for clients of an execution that ended at this time: the questions that were
/// closed last. A question without a line that closes it was closed by the end. Blocks on the disk.
///
/// # Errors
/// The error of the operating system.
pub(crate) fn ended_list(lines: impl BufRead, ended_at: Timestamp) -> io::Result<QuestionList> {
    // In the order in which they were asked. At most 10,000.
    let mut open = Vec::new();
    let mut newest = VecDeque::new();
    let mut close = |closed| {
        newest.push_back(closed);
        if newest.len() > QuestionList::CLOSED_MAX {
            newest.pop_front();
        }
    };
    each_line(lines, |line| match Head::read(line) {
        Some(Head::Asked { question_id }) => open.push(question_id),
        Some(Head::Closed { closed }) => {
            open.retain(|id| *id != closed.question_id);
            close(closed);
        }
        None => {}
    })?;
    for id in open {
        close(closed_by_end(id, ended_at));
    }
    Ok(QuestionList {
        open: Vec::new(),
        closed: newest.into(),
    })
}

/// Returns how the end of the execution closed a question.
pub(crate) const fn closed_by_end(question_id: Uuid, closed_at: Timestamp) -> ClosedQuestion {
    ClosedQuestion {
        question_id,
        closed_by: ClosedBy::End,
        decision: None,
        principal: None,
        closed_at,
    }
}

/// The part of a [`Line`] that says which question it is about, without inputs and answers.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Head {
    Asked {
        #[serde(rename = "questionId")]
        question_id: Uuid,
    },
    Closed {
        closed: ClosedQuestion,
    },
}

impl Head {
    /// Parses a line. `None` if it cannot be parsed.
    fn read(line: &[u8]) -> Option<Self> {
        serde_json::from_slice(line).ok()
    }

    const fn id(&self) -> Uuid {
        match self {
            Self::Asked { question_id } => *question_id,
            Self::Closed { closed } => closed.question_id,
        }
    }
}

/// Calls `act` for each line, without its line feed.
fn each_line(mut lines: impl BufRead, mut act: impl FnMut(&[u8])) -> io::Result<()> {
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line)? > 0 {
        act(line.strip_suffix(b"\n").unwrap_or(&line));
        line.clear();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use protocol::question::Decision;
    use serde_json::json;

    use super::*;
    use crate::execution::prompt::Prompt;

    fn asked(number: u128) -> Vec<u8> {
        let request = json!({"subtype": "can_use_tool", "tool_name": "Bash",
            "input": {"command": "x".repeat(20_000)}});
        let prompt = Prompt::read("r", &request).unwrap();
        let id = Uuid::from_u128(number);
        let question = prompt.question(id, &[], Timestamp::UNIX_EPOCH, None);
        Line::Asked(Box::new(question)).to_json()
    }

    fn answered(number: u128) -> Vec<u8> {
        let line = Line::Closed {
            closed: ClosedQuestion {
                question_id: Uuid::from_u128(number),
                closed_by: ClosedBy::Answer,
                decision: Some(Decision::Allow),
                principal: Some("ann".into()),
                closed_at: Timestamp::UNIX_EPOCH,
            },
            answer: Some(Answer::allow()),
        };
        line.to_json()
    }

    /// Two questions, of which the first was answered, and a torn line.
    fn lines() -> Vec<u8> {
        let torn = b"{\"asked\":{\"que".to_vec();
        [asked(1), asked(2), answered(1), torn].join(&b'\n')
    }

    #[test]
    fn an_unanswered_question_was_closed_by_the_end() {
        let ended_at = Timestamp::from_second(9).unwrap();
        let list = ended_list(lines().as_slice(), ended_at).unwrap();
        let causes: Vec<_> = list.closed.iter().map(|c| c.closed_by).collect();
        assert_eq!(causes, [ClosedBy::Answer, ClosedBy::End]);
        assert_eq!(list.closed[1].closed_at, ended_at);
    }

    #[test]
    fn the_list_has_the_questions_that_were_closed_last() {
        let all: Vec<_> = (0..70).flat_map(|n| [asked(n), answered(n)]).collect();
        let list = ended_list(all.join(&b'\n').as_slice(), Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(list.closed.len(), QuestionList::CLOSED_MAX);
        assert_eq!(list.closed[63].question_id, Uuid::from_u128(69));
    }

    #[test]
    fn a_question_is_found_with_its_whole_input_and_its_answer() {
        let find = |number| Recorded::read(lines().as_slice(), Uuid::from_u128(number)).unwrap();
        let first = find(1);
        let repeated = first.repeat(&Answer::allow()).unwrap();
        assert_eq!(repeated.principal.as_deref(), Some("ann"));
        assert_eq!(first.repeat(&Answer::deny()), None);
        let second = find(2);
        let input = second.question.as_ref().unwrap().input.as_ref().unwrap();
        assert_eq!(input["command"].as_str().unwrap().len(), 20_000);
        assert_eq!(second.closed, None);
        assert_eq!(second.repeat(&Answer::allow()), None);
        assert!(find(3).question.is_none());
    }
}

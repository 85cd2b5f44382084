//! The dialog about one question: the shown text, and the effect of each typed line.
//!
//! ```text
//! deciding --y--> allow          --n--> reason --any line--> deny
//!    |  \--r--> remember --numbers--> allow with rules
//!    |  \--m--> more input           \--s--> left open
//! choosing --number or text--> the next part, or allow with answers
//! ```

use std::collections::BTreeMap;

use protocol::question::QuestionKind;
use protocol::{Answer, ExecutionId, Question};

use super::choice::{ChoicePart, numbers};
use super::pages::Pages;
use super::view::{self, Size};

/// The effect of a typed line.
#[derive(Debug, PartialEq)]
pub(crate) enum LineEffect {
    /// The text is shown, then the input line again. The text may be empty.
    Again(String),
    /// The question is answered.
    Answer(Answer),
    /// The person leaves the question to somebody else.
    LeaveOpen,
}

/// The dialog about one open question.
#[derive(Debug)]
pub(crate) struct Dialog {
    question: Question,
    size: Size,
    /// The input, as far as it was not shown.
    input: Pages,
    /// The parts of a choice.
    parts: Vec<ChoicePart>,
    step: Step,
}

/// The input that the dialog waits for.
#[derive(Debug)]
enum Step {
    /// The decision.
    Decide,
    /// The rules to remember.
    Remember,
    /// The reason for a denial.
    Reason,
    /// The answer to the next part of a choice, behind those that have an answer.
    Choose(BTreeMap<String, String>),
}

impl Dialog {
    /// Creates the dialog, and returns it with the text of the question. `more` is the number of
    /// further open questions.
    pub(crate) fn new(
        execution: ExecutionId,
        mut question: Question,
        more: usize,
        size: Size,
    ) -> (Self, String) {
        if question.kind != QuestionKind::Permission {
            // An answer to another kind remembers nothing.
            question.suggestions.clear();
        }
        let parts = match question.kind {
            QuestionKind::Choice => ChoicePart::all(&question),
            QuestionKind::Permission | QuestionKind::Plan => Vec::new(),
        };
        let step = match parts.is_empty() {
            true => Step::Decide,
            false => Step::Choose(BTreeMap::new()),
        };
        let mut lines = view::heading(&question, more, size);
        let mut dialog = Self {
            input: Pages::new(view::body(&question)),
            question,
            size,
            parts,
            step,
        };
        lines.extend(dialog.input.next(size));
        lines.extend(view::missing(execution, &dialog.question));
        lines.extend(dialog.next_part());
        if !dialog.question.suggestions.is_empty() {
            lines.push("r would remember for the rest of this execution:".to_owned());
            lines.extend(view::suggestions(&dialog.question, size));
        }
        (dialog, lines.join("\n"))
    }

    /// Returns the question of this dialog.
    pub(crate) fn question(&self) -> &Question {
        &self.question
    }

    /// Returns the line that asks for input.
    pub(crate) fn input_line(&self) -> String {
        let more = match self.input.is_empty() {
            true => "",
            false => ", m show more",
        };
        match &self.step {
            Step::Reason => "reason for the model (Enter: none) > ".to_owned(),
            Step::Remember => {
                let max = self.question.suggestions.len();
                format!("remember which? 1 to {max}, several as 1,2 > ")
            }
            Step::Choose(answers) => {
                let part = &self.parts[answers.len()];
                let max = part.options.len();
                let several = if part.takes_several {
                    ", several as 1,2"
                } else {
                    ""
                };
                match max {
                    0 => "your answer; n deny, s leave open > ".to_owned(),
                    _ => format!("1 to {max}{several}, or a text; n deny, s leave open > "),
                }
            }
            Step::Decide => {
                let remember = match self.question.suggestions.is_empty() {
                    true => "",
                    false => ", r allow and remember",
                };
                let choice = self.question.kind == QuestionKind::Choice;
                let allow = if choice { "" } else { "y allow, " };
                format!("{allow}n deny{remember}{more}, s leave open > ")
            }
        }
    }

    /// Handles a typed line. `size` is the present size of the terminal.
    pub(crate) fn line(&mut self, typed: &str, size: Size) -> LineEffect {
        let typed = typed.trim();
        self.size = size;
        match &self.step {
            Step::Decide => self.decide(typed),
            Step::Remember => self.remember(typed),
            Step::Reason => LineEffect::Answer(Answer {
                message: Some(typed.to_owned()).filter(|text| !text.is_empty()),
                ..Answer::deny()
            }),
            Step::Choose(_) => self.choose(typed),
        }
    }

    fn decide(&mut self, typed: &str) -> LineEffect {
        let is_choice = self.question.kind == QuestionKind::Choice;
        match typed.to_ascii_lowercase().as_str() {
            "" => LineEffect::Again(String::new()),
            "y" | "yes" | "allow" if !is_choice => LineEffect::Answer(Answer::allow()),
            "n" | "no" | "deny" => self.refuse(),
            "s" | "skip" => LineEffect::LeaveOpen,
            "m" | "more" => LineEffect::Again(self.input.next(self.size).join("\n")),
            "r" | "remember" => match self.question.suggestions.as_slice() {
                [] => LineEffect::Again("there is no rule to remember".to_owned()),
                [only] => remembering(vec![only.clone()]),
                _ => {
                    self.step = Step::Remember;
                    LineEffect::Again(String::new())
                }
            },
            _ => LineEffect::Again(
                "type one of the letters and Enter; n lets you give a reason".to_owned(),
            ),
        }
    }

    fn refuse(&mut self) -> LineEffect {
        self.step = Step::Reason;
        LineEffect::Again(String::new())
    }

    fn remember(&mut self, typed: &str) -> LineEffect {
        let suggestions = &self.question.suggestions;
        if typed.is_empty() {
            self.step = Step::Decide;
            return LineEffect::Again("nothing was decided".to_owned());
        }
        match numbers(typed, suggestions.len()) {
            Some(numbers) => {
                let rules = numbers.into_iter().map(|at| suggestions[at - 1].clone());
                remembering(rules.collect())
            }
            None => LineEffect::Again("type numbers of the rules, or Enter to go back".to_owned()),
        }
    }

    fn choose(&mut self, typed: &str) -> LineEffect {
        match typed {
            "n" => return self.refuse(),
            "s" => return LineEffect::LeaveOpen,
            _ => {}
        }
        let Step::Choose(answers) = &mut self.step else {
            return LineEffect::Again(String::new());
        };
        let part = &self.parts[answers.len()];
        let answer = match part.answer(typed) {
            Ok(answer) => answer,
            Err(mistake) => return LineEffect::Again(mistake),
        };
        answers.insert(part.text.clone(), answer);
        if answers.len() < self.parts.len() {
            return LineEffect::Again(self.next_part().join("\n"));
        }
        let answers = std::mem::take(answers);
        LineEffect::Answer(Answer {
            answers: Some(answers),
            ..Answer::allow()
        })
    }

    /// Returns the part of a choice that is answered next. Empty for other kinds.
    fn next_part(&self) -> Vec<String> {
        let Step::Choose(answers) = &self.step else {
            return Vec::new();
        };
        let mut lines = Vec::new();
        if self.parts.len() > 1 {
            let (at, all) = (answers.len() + 1, self.parts.len());
            lines.push(format!("{at} of {all}:"));
        }
        lines.extend(view::choice_part(&self.parts[answers.len()], self.size));
        lines
    }
}

fn remembering(remember: Vec<String>) -> LineEffect {
    LineEffect::Answer(Answer {
        remember,
        ..Answer::allow()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::view::tests::question;
    use super::*;

    fn bash() -> (Dialog, String) {
        let input = json!({"command": "rm -r build"});
        Dialog::new(
            ExecutionId::random(),
            question(QuestionKind::Permission, input),
            1,
            Size::default(),
        )
    }

    fn text(dialog: &mut Dialog, line: &str) -> String {
        match dialog.line(line, Size::default()) {
            LineEffect::Again(text) => text,
            reply => panic!("{line:?}: {reply:?}"),
        }
    }

    #[test]
    fn a_permission_is_shown_and_allowed_by_a_key() {
        let (mut dialog, shown) = bash();
        for part in [
            "to use Bash",
            "1 more open",
            "| rm -r build",
            "| {",
            "1  Bash(rm:*)",
        ] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        assert!(dialog.input_line().starts_with("y allow, n deny, r allow"));
        assert_eq!(
            dialog.line("Y ", Size::default()),
            LineEffect::Answer(Answer::allow())
        );
        assert_eq!(text(&mut dialog, ""), "");
        assert!(text(&mut dialog, "yn").contains("letters"));
        assert_eq!(dialog.line("s", Size::default()), LineEffect::LeaveOpen);
    }

    #[test]
    fn a_denial_asks_for_a_reason() {
        for (typed, message) in [("", None), ("keep it ", Some("keep it")), ("y", Some("y"))] {
            let (mut dialog, _) = bash();
            assert_eq!(text(&mut dialog, "n"), "");
            assert!(dialog.input_line().contains("reason"));
            let answer = Answer {
                message: message.map(str::to_owned),
                ..Answer::deny()
            };
            assert_eq!(
                dialog.line(typed, Size::default()),
                LineEffect::Answer(answer)
            );
        }
    }

    #[test]
    fn rules_are_remembered_by_number() {
        let (mut dialog, _) = bash();
        assert_eq!(text(&mut dialog, "r"), "");
        assert!(text(&mut dialog, "3").contains("numbers"));
        assert!(text(&mut dialog, "").contains("nothing"));
        assert_eq!(text(&mut dialog, "r"), "");
        let remember = |rules: &[&str]| {
            let rules = rules.iter().map(|rule| (*rule).to_owned());
            remembering(rules.collect())
        };
        assert_eq!(
            dialog.line("2,1", Size::default()),
            remember(&["Bash(ls)", "Bash(rm:*)"])
        );
        let mut one = question(QuestionKind::Permission, json!({}));
        one.suggestions.truncate(1);
        let (mut dialog, _) = Dialog::new(ExecutionId::random(), one.clone(), 0, Size::default());
        assert_eq!(dialog.line("r", Size::default()), remember(&["Bash(rm:*)"]));
        one.suggestions.clear();
        let (mut dialog, _) = Dialog::new(ExecutionId::random(), one, 0, Size::default());
        assert!(!dialog.input_line().contains("remember"));
        assert!(text(&mut dialog, "r").contains("no rule"));
    }

    #[test]
    fn a_long_input_is_shown_page_by_page_with_the_rest_counted() {
        let command = "x".repeat(10_000);
        let long = question(QuestionKind::Permission, json!({"command": command}));
        let (mut dialog, shown) = Dialog::new(ExecutionId::random(), long, 0, Size::default());
        assert!(shown.lines().count() < 24, "{shown}");
        assert!(shown.contains("more lines with"), "{shown}");
        assert!(dialog.input_line().contains("m show more"));
        let mut all = String::new();
        while dialog.input_line().contains("m show more") {
            all.push_str(&text(&mut dialog, "m"));
        }
        assert!(all.contains('}'));
        assert_eq!(text(&mut dialog, "m"), "");
    }

    #[test]
    fn a_choice_is_answered_part_by_part() {
        let options = json!([{"label": "SQLite"}, {"label": "Postgres"}]);
        let input = json!({"questions": [
            {"question": "Which?", "options": options},
            {"question": "Where?", "options": options, "multiSelect": true},
        ]});
        let two = question(QuestionKind::Choice, input);
        let (mut dialog, shown) =
            Dialog::new(ExecutionId::random(), two.clone(), 0, Size::default());
        assert!(
            shown.contains("1 of 2:") && shown.contains("Which?"),
            "{shown}"
        );
        assert!(!shown.contains("Where?"), "{shown}");
        assert_eq!(text(&mut dialog, " "), "type an answer");
        assert!(text(&mut dialog, "3").contains("1 to 2"));
        assert!(text(&mut dialog, "2").contains("Where?"));
        assert!(dialog.input_line().contains("several"));
        let answers = [("Which?", "Postgres"), ("Where?", "SQLite, Postgres")];
        let answers = answers.map(|(question, answer)| (question.to_owned(), answer.to_owned()));
        let expected = Answer {
            answers: Some(answers.into()),
            ..Answer::allow()
        };
        assert_eq!(
            dialog.line("1,2", Size::default()),
            LineEffect::Answer(expected)
        );
        let (mut dialog, _) = Dialog::new(ExecutionId::random(), two, 0, Size::default());
        assert_eq!(text(&mut dialog, "n"), "");
        let answer = dialog.line("", Size::default());
        assert_eq!(answer, LineEffect::Answer(Answer::deny()));
    }

    #[test]
    fn a_choice_without_its_input_can_only_be_denied() {
        let mut large = question(QuestionKind::Choice, json!({}));
        (large.input, large.suggestions) = (None, Vec::new());
        let (mut dialog, shown) = Dialog::new(ExecutionId::random(), large, 0, Size::default());
        assert!(shown.contains("could not be read here"), "{shown}");
        assert!(dialog.input_line().starts_with("n deny"));
        assert!(text(&mut dialog, "y").contains("letters"));
    }
}

//! The text of a question for a terminal.

use protocol::question::{ClosedBy, Decision, QuestionKind, visible};
use protocol::{ExecutionId, Question};
use serde_json::Value;

use super::choice::ChoicePart;
use super::wrap::wrap;
use crate::show;

/// The mark before each line of text from the model, so that it cannot look like a line of `ccb`.
const MARK: &str = "| ";
/// The lines of a title that are shown. The input has the whole text.
const TITLE_LINES: usize = 3;

/// The size of the terminal, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) columns: usize,
    pub(crate) rows: usize,
}

impl Default for Size {
    fn default() -> Self {
        Self {
            columns: 80,
            rows: 24,
        }
    }
}

impl Size {
    /// The columns for text of the model: behind the indentation of messages and the mark, and one
    /// column less, because some terminals wrap a full line.
    pub(super) fn width(self) -> usize {
        self.columns.saturating_sub(5 + MARK.len() + 1).max(20)
    }

    /// The lines of input that are shown at once. The rest of the question needs the other rows.
    pub(super) fn page(self) -> usize {
        self.rows.saturating_sub(12).clamp(5, 60)
    }
}

/// Returns a question in one line, for example `Bash: rm -r build`.
pub(crate) fn one_line(tool: &str, title: &str) -> String {
    let (tool, title) = (visible(tool), visible(title));
    let cut: String = title.chars().take(100).collect();
    let rest = if cut.len() < title.len() { "..." } else { "" };
    format!("{tool}: {cut}{rest}")
}

/// Returns the first lines of a question: who asks for what, the id, the title and the description.
pub(super) fn heading(question: &Question, more: usize, size: Size) -> Vec<String> {
    let tool = visible(&question.tool);
    let name = question.display_name.as_deref().map(visible);
    let tool = match name {
        Some(name) if name != tool => format!("{tool} ({name})"),
        _ => tool,
    };
    let asks = match question.kind {
        QuestionKind::Permission => format!("the model asks to use {tool}"),
        QuestionKind::Choice => "the model asks you to choose".to_owned(),
        QuestionKind::Plan => "the model asks to carry out this plan".to_owned(),
    };
    let agent = question.agent_id.as_deref().map(visible);
    let agent = agent.map(|agent| format!(" (the sub-agent {agent})"));
    let mut id = format!("question {}", question.question_id);
    if more > 0 {
        id.push_str(&format!(", and {more} more open"));
    }
    let mut lines = vec![format!("{asks}{}", agent.unwrap_or_default()), id];
    let expires = question.expires_at.map(show::local);
    lines.extend(expires.map(|at| format!("denied at {at} without an answer")));
    if question.kind == QuestionKind::Permission {
        let is_whole = question.input.is_none();
        lines.extend(texts(&question.title, size, is_whole));
    }
    if let Some(description) = &question.description
        && *description != question.title
    {
        lines.extend(texts(description, size, false));
    }
    lines
}

/// Returns a text of the model as marked lines. Only its beginning unless `whole`.
fn texts(text: &str, size: Size, whole: bool) -> Vec<String> {
    let wrapped = wrap(&visible(text), size.width());
    let shown = if whole { wrapped.len() } else { TITLE_LINES };
    let rest = wrapped.len().saturating_sub(shown);
    let mut lines: Vec<_> = wrapped[..wrapped.len().min(shown)]
        .iter()
        .map(|line| marked(line))
        .collect();
    if rest > 0 {
        lines.push(format!("({rest} more lines of this text)"));
    }
    lines
}

/// Returns a line of text from the model, with the mark before it.
pub(super) fn marked(line: &str) -> String {
    format!("{MARK}{line}")
}

/// Returns everything that a person needs to decide, as lines of any length: the input as JSON, or
/// the text of the plan. Empty for a choice, whose parts are shown one by one, and if there is
/// nothing to show.
pub(super) fn body(question: &Question) -> Vec<String> {
    match (&question.input, question.kind) {
        (None, _) | (_, QuestionKind::Choice) => Vec::new(),
        (Some(input), QuestionKind::Plan) => {
            let plan = input.get("plan").and_then(Value::as_str);
            let lines = plan.unwrap_or_default().lines();
            lines
                .map(|line| visible(&line.replace('\t', "    ")))
                .collect()
        }
        (Some(input), QuestionKind::Permission) => {
            let json = serde_json::to_string_pretty(input).unwrap_or_default();
            json.lines().map(visible).collect()
        }
    }
}

/// Returns why the input or the plan is not shown. `None` if it is.
pub(super) fn missing(execution: ExecutionId, question: &Question) -> Option<String> {
    match (&question.input, question.kind) {
        (None, _) => Some(format!(
            "the input has {} and could not be read here; before you allow it, read\n\
             GET /v1/executions/{execution}/questions/{} of claude-api",
            show::size(question.input_bytes),
            question.question_id
        )),
        (Some(input), QuestionKind::Plan) if input.get("plan").is_none_or(|p| !p.is_string()) => {
            Some("the CLI sent no text of the plan".to_owned())
        }
        _ => None,
    }
}

/// Returns the rules that an answer can remember, numbered.
pub(super) fn suggestions(question: &Question, size: Size) -> Vec<String> {
    numbered(question.suggestions.iter().map(String::as_str), size)
}

/// Returns how a question was closed, for a person, for example `ann decided: deny`.
pub(crate) fn describe_closing(
    closed_by: ClosedBy,
    decision: Option<Decision>,
    principal: Option<&str>,
) -> String {
    match closed_by {
        ClosedBy::Answer => {
            let principal = principal.unwrap_or("somebody");
            let decision = decision.map_or("answered", Decision::as_str);
            format!("{principal} decided: {decision}")
        }
        ClosedBy::Timeout => "nobody answered in time, so it was denied".to_owned(),
        ClosedBy::End => "the execution has ended".to_owned(),
        ClosedBy::Withdrawn => "the CLI needs no answer any more".to_owned(),
    }
}

/// Returns one part of a choice with its numbered options.
pub(super) fn choice_part(part: &ChoicePart, size: Size) -> Vec<String> {
    let mut lines = Vec::new();
    if !part.header.is_empty() {
        lines.extend(texts(&part.header, size, true));
    }
    lines.extend(texts(&part.text, size, true));
    let options = part
        .options
        .iter()
        .map(|(label, description)| match description.is_empty() {
            true => label.clone(),
            false => format!("{label} - {description}"),
        });
    let options: Vec<_> = options.collect();
    lines.extend(numbered(options.iter().map(String::as_str), size));
    lines
}

fn numbered<'a>(texts: impl Iterator<Item = &'a str>, size: Size) -> Vec<String> {
    let width = size.width().saturating_sub(2).max(20);
    let mut lines = Vec::new();
    for (at, text) in texts.enumerate() {
        for (row, part) in wrap(&visible(text), width).into_iter().enumerate() {
            match row {
                0 => lines.push(format!("{:>2}  {part}", at + 1)),
                _ => lines.push(format!("    {part}")),
            }
        }
    }
    lines
}

/// Returns a question with its whole input, for `ccb questions ID`.
pub(crate) fn details(execution: ExecutionId, question: &Question, size: Size) -> String {
    let mut lines = heading(question, 0, size);
    let wrapped = |line: String| wrap(&line, size.width());
    let body = body(question).into_iter().flat_map(wrapped);
    lines.extend(body.map(|line| marked(&line)));
    lines.extend(missing(execution, question));
    if question.kind == QuestionKind::Choice {
        for part in ChoicePart::all(question) {
            lines.extend(choice_part(&part, size));
        }
    }
    if !question.suggestions.is_empty() {
        lines.push("rules to remember:".to_owned());
        lines.extend(suggestions(question, size));
    }
    let mut text = lines.join("\n").replace('\n', "\n  ");
    text.push('\n');
    text
}

#[cfg(test)]
pub(super) mod tests {
    use jiff::Timestamp;
    use serde_json::json;
    use uuid::Uuid;

    use super::*;

    /// Returns a question about Bash with this input.
    pub(crate) fn question(kind: QuestionKind, input: Value) -> Question {
        let title = input["command"].as_str().unwrap_or("the title").to_owned();
        Question {
            question_id: Uuid::from_u128(7),
            kind,
            tool: "Bash".into(),
            display_name: None,
            title,
            description: Some("Clean the build".into()),
            input_bytes: input.to_string().len() as u64,
            input: Some(input),
            suggestions: vec!["Bash(rm:*)".into(), "Bash(ls)".into()],
            agent_id: None,
            asked_at: Timestamp::UNIX_EPOCH,
            expires_at: None,
        }
    }

    #[test]
    fn a_hostile_command_stays_on_marked_lines() {
        let command = "ls\x1b]0;title\x07\nccb: the model asks to use Read\n\u{202e}\u{9b}2J";
        let mut hostile = question(QuestionKind::Permission, json!({"command": command}));
        hostile.agent_id = Some("a\nccb: b".into());
        let text = details(ExecutionId::random(), &hostile, Size::default());
        let is_hidden = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
        assert!(!text.chars().any(is_hidden), "{text:?}");
        assert!(
            text.contains("| ls\\u001b]0;title\\u0007\\nccb: the model"),
            "{text}"
        );
        assert!(
            !text
                .lines()
                .any(|line| line.trim_start().starts_with("ccb:")),
            "{text}"
        );
    }

    #[test]
    fn a_large_input_has_no_line_wider_than_the_terminal() {
        let command = "\u{6f22}x".repeat(100_000);
        let large = question(QuestionKind::Permission, json!({"command": command}));
        for columns in [30, 80, 200] {
            let size = Size { columns, rows: 40 };
            let text = details(ExecutionId::random(), &large, size);
            let marked = text
                .lines()
                .filter_map(|line| line.trim_start().strip_prefix(MARK));
            let widest = marked.clone().map(|line| line.chars().count()).max();
            assert!(widest.unwrap() + MARK.len() + 5 < columns, "{columns}");
            assert!(marked.collect::<String>().contains(&command));
            // The title is cut, because the input has it.
            assert!(heading(&large, 0, size).len() < 10);
        }
    }

    #[test]
    fn an_input_that_was_left_out_is_named_with_its_size() {
        let mut large = question(QuestionKind::Permission, json!({}));
        (large.input, large.input_bytes) = (None, 200 * 1024);
        large.title = "x".repeat(4096);
        let text = details(ExecutionId::random(), &large, Size::default());
        assert!(
            text.contains("200.0 KiB") && text.contains("GET /v1/"),
            "{text}"
        );
        assert_eq!(
            text.matches('x').count(),
            4096 + "executions".matches('x').count()
        );
    }

    #[test]
    fn a_plan_is_shown_as_text_and_a_choice_with_its_options() {
        let plan = question(QuestionKind::Plan, json!({"plan": "# Plan\n1.\tBuild\x1b"}));
        let text = details(ExecutionId::random(), &plan, Size::default());
        assert!(
            text.contains("\n  | # Plan\n  | 1.    Build\\u001b\n"),
            "{text}"
        );
        let none = question(QuestionKind::Plan, json!({}));
        assert!(
            details(ExecutionId::random(), &none, Size::default()).contains("no text of the plan")
        );
        let choice = question(
            QuestionKind::Choice,
            json!({"questions": [{"question": "Which?", "header": "DB", "options": [
                {"label": "SQLite", "description": "a file"}, {"label": "None"}]}]}),
        );
        let text = details(ExecutionId::random(), &choice, Size::default());
        assert!(
            text.contains("\n   1  SQLite - a file\n   2  None\n"),
            "{text}"
        );
    }

    #[test]
    fn a_question_in_one_line_is_short() {
        assert_eq!(one_line("Bash", "rm\n-r"), "Bash: rm\\n-r");
        assert!(one_line("Bash", &"x".repeat(500)).len() < 120);
    }
}

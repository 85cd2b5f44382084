//! A permission prompt of the CLI (the control request `can_use_tool`), as a plain value.
//!
//! docs/claude-cli.md, "Permission prompts", has the fields that the CLI sends. A field of an
//! unexpected type counts as absent, so that no prompt stays without an answer.

mod verdict;

use jiff::Timestamp;
use protocol::question::{Question, QuestionKind, cut};
use serde_json::Value;
use uuid::Uuid;

pub(crate) use verdict::PromptVerdict;

/// The longest text that a question shows as its title or description, in bytes.
const TEXT_BYTES_MAX: usize = 4 * 1024;
/// The longest name of a tool or an agent in a question, in bytes. The CLI's own are shorter.
const NAME_BYTES_MAX: usize = 256;
/// The longest rule that a question suggests, in bytes. A longer one could not be an entry of
/// `allowedTools`, and would make the question too long for a message.
const RULE_BYTES_MAX: usize = 1024;
/// The maximum number of rules that a question suggests.
const SUGGESTIONS_MAX: usize = 16;

/// A permission prompt of the CLI, which waits for its answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Prompt {
    /// The CLI's own id of the prompt, which the answer to the CLI repeats.
    pub(crate) request_id: String,
    /// What the prompt asks for.
    pub(crate) kind: QuestionKind,
    /// The name of the tool.
    pub(crate) tool: String,
    /// The input of the tool, an object.
    pub(crate) input: Value,
    /// The rules that the CLI suggests to allow from now on.
    pub(crate) suggestions: Vec<Rule>,
    display_name: Option<String>,
    description: Option<String>,
    agent_id: Option<String>,
}

/// A permission rule of the CLI: a tool, and optionally what it may be used for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rule {
    /// The name of the tool.
    pub(crate) tool: String,
    /// The content of the rule, such as the command of Bash. `None` for every use of the tool.
    pub(crate) content: Option<String>,
}

impl Rule {
    /// Returns the rule as an entry of `allowedTools`, such as `Bash(git status)`.
    pub(crate) fn entry(&self) -> String {
        match &self.content {
            Some(content) => format!("{}({content})", self.tool),
            None => self.tool.clone(),
        }
    }
}

impl Prompt {
    /// Reads the prompt from the `request` of a control request. `None` if it is not a
    /// `can_use_tool`, or names no tool.
    pub(crate) fn read(request_id: &str, request: &Value) -> Option<Self> {
        if request.get("subtype")? != "can_use_tool" {
            return None;
        }
        let text = |name: &str, bytes| {
            let text = request.get(name)?.as_str()?;
            Some(cut(text, bytes).to_owned()).filter(|text| !text.is_empty())
        };
        let tool = request.get("tool_name")?.as_str()?;
        let tool = Some(tool)
            .filter(|tool| tool.len() <= NAME_BYTES_MAX)?
            .to_owned();
        let kind = match tool.as_str() {
            "AskUserQuestion" => QuestionKind::Choice,
            "ExitPlanMode" => QuestionKind::Plan,
            _ => QuestionKind::Permission,
        };
        let input = request.get("input").filter(|input| input.is_object());
        Some(Self {
            request_id: request_id.to_owned(),
            kind,
            tool,
            input: input
                .cloned()
                .unwrap_or_else(|| Value::Object(serde_json::Map::new())),
            suggestions: suggestions(request),
            display_name: text("display_name", NAME_BYTES_MAX),
            description: text("description", TEXT_BYTES_MAX)
                .or_else(|| text("decision_reason", TEXT_BYTES_MAX)),
            agent_id: text("agent_id", NAME_BYTES_MAX),
        })
    }

    /// Returns the question that the prompt becomes. `suggestions` are those that `remember` in an
    /// answer may name.
    pub(crate) fn question(
        &self,
        question_id: Uuid,
        suggestions: &[Rule],
        asked_at: Timestamp,
        expires_at: Option<Timestamp>,
    ) -> Question {
        let input_bytes = protocol::json::to_vec(&self.input).map_or(0, |json| json.len() as u64);
        Question {
            question_id,
            kind: self.kind,
            tool: cut(&self.tool, NAME_BYTES_MAX).to_owned(),
            display_name: self.display_name.clone(),
            title: self.title(),
            description: self.description.clone(),
            input: Some(self.input.clone()),
            input_bytes,
            suggestions: suggestions.iter().map(Rule::entry).collect(),
            agent_id: self.agent_id.clone(),
            asked_at,
            expires_at,
        }
    }

    /// Returns the command, path, address, query, plan or first question of the input, else the
    /// description or the name of the tool. It may have line feeds and control characters.
    fn title(&self) -> String {
        let member = |name: &str| self.input.get(name)?.as_str();
        let first_question = || {
            let questions = self.input.get("questions")?.as_array()?;
            questions.first()?.get("question")?.as_str()
        };
        let known = [
            "command",
            "file_path",
            "notebook_path",
            "url",
            "query",
            "plan",
            "path",
        ];
        let text = known.iter().find_map(|name| member(name));
        let text = text.or_else(first_question).or(self.description.as_deref());
        let text = text.unwrap_or(&self.tool);
        cut(text, TEXT_BYTES_MAX).to_owned()
    }
}

/// Returns the rules in `permission_suggestions` that allow a tool. Suggestions that change the
/// mode or add folders are left out, because no answer may do that. So are long rules.
fn suggestions(request: &Value) -> Vec<Rule> {
    let list = request
        .get("permission_suggestions")
        .and_then(Value::as_array);
    let is_rules = |suggestion: &&Value| {
        let is = |name: &str, value: &str| suggestion.get(name).is_some_and(|v| v == value);
        is("type", "addRules") && is("behavior", "allow")
    };
    let rules = list
        .into_iter()
        .flatten()
        .filter(is_rules)
        .filter_map(|suggestion| suggestion.get("rules")?.as_array())
        .flatten();
    let read = |rule: &Value| {
        let content = rule.get("ruleContent").and_then(Value::as_str);
        Some(Rule {
            tool: rule.get("toolName")?.as_str()?.to_owned(),
            content: content.map(str::to_owned),
        })
    };
    rules
        .filter_map(read)
        .filter(|rule| rule.entry().len() <= RULE_BYTES_MAX)
        .take(SUGGESTIONS_MAX)
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_prompt_of_bash_has_its_command_and_its_rule() {
        let request = json!({
            "subtype": "can_use_tool", "tool_name": "Bash", "display_name": "Bash",
            "input": {"command": "touch x", "description": "Make x"},
            "description": "Make x", "blocked_path": "x", "tool_use_id": "t",
            "permission_suggestions": [
                {"type": "addRules", "behavior": "allow", "destination": "localSettings",
                 "rules": [{"toolName": "Bash", "ruleContent": "touch x"}]},
                {"type": "addDirectories", "directories": ["/"], "destination": "session"},
                {"type": "setMode", "mode": "acceptEdits", "destination": "session"},
                {"type": "addRules", "behavior": "deny", "rules": [{"toolName": "Read"}]}
            ]
        });
        let prompt = Prompt::read("r", &request).unwrap();
        assert_eq!(prompt.kind, QuestionKind::Permission);
        let rules: Vec<_> = prompt.suggestions.iter().map(Rule::entry).collect();
        assert_eq!(rules, ["Bash(touch x)"]);
        let rules = &prompt.suggestions;
        let question = prompt.question(Uuid::nil(), rules, Timestamp::UNIX_EPOCH, None);
        assert_eq!(question.title, "touch x");
        assert_eq!(question.description.as_deref(), Some("Make x"));
        assert_eq!(question.suggestions, ["Bash(touch x)"]);
        assert_eq!(
            question.input_bytes,
            question.input.unwrap().to_string().len() as u64
        );
    }

    #[test]
    fn the_tool_decides_the_kind() {
        let read = |tool: &str, input: Value| {
            let request = json!({"subtype": "can_use_tool", "tool_name": tool, "input": input});
            Prompt::read("r", &request).unwrap()
        };
        let choice = read(
            "AskUserQuestion",
            json!({"questions": [{"question": "Which?"}]}),
        );
        assert_eq!(choice.kind, QuestionKind::Choice);
        assert_eq!(choice.title(), "Which?");
        let plan = read("ExitPlanMode", json!({}));
        assert_eq!(
            (plan.kind, plan.title()),
            (QuestionKind::Plan, "ExitPlanMode".to_owned())
        );
    }

    #[test]
    fn members_of_a_wrong_type_count_as_absent() {
        let odd = json!({
            "subtype": "can_use_tool", "tool_name": "Bash", "input": "x", "description": 7,
            "permission_suggestions": {"type": "addRules"}, "agent_id": [],
        });
        let prompt = Prompt::read("r", &odd).unwrap();
        assert_eq!(prompt.input, json!({}));
        assert!(prompt.suggestions.is_empty());
        for request in [
            json!({"subtype": "can_use_tool"}),
            json!({"subtype": "hook_callback", "tool_name": "Bash"}),
            json!({"tool_name": "Bash"}),
            json!(7),
        ] {
            assert_eq!(Prompt::read("r", &request), None, "{request}");
        }
    }

    #[test]
    fn a_long_rule_is_not_suggested() {
        let rules = [RULE_BYTES_MAX - 6, RULE_BYTES_MAX].map(|bytes| {
            let rule = json!({"toolName": "Bash", "ruleContent": "x".repeat(bytes)});
            json!({"type": "addRules", "behavior": "allow", "rules": [rule]})
        });
        let request = json!({"subtype": "can_use_tool", "tool_name": "Bash", "input": {},
            "permission_suggestions": rules});
        let prompt = Prompt::read("r", &request).unwrap();
        let lengths: Vec<_> = prompt.suggestions.iter().map(|r| r.entry().len()).collect();
        assert_eq!(lengths, [RULE_BYTES_MAX]);
    }
}

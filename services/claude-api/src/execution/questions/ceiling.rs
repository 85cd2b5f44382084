//! The operator's ceiling over the answers to permission prompts.
//!
//! The CLI's own rules do not hold alone: an answer that allows a prompt overrides
//! `--disallowedTools=Bash(rm:*)` if its `updatedInput` has another command, and suggested updates
//! of the permissions can turn on a wider mode. So each prompt and each answer is checked here.

use protocol::question::QuestionKind;

use super::prompt::{Prompt, Rule};
use crate::config::{AnswerCeiling, has_rule, has_tool};

/// What happens to a permission prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// A person decides. If `input_is_fixed`, the answer must not change the input, because a rule
    /// limits the uses of the tool.
    Ask {
        /// Whether the answer must leave the input as it is.
        input_is_fixed: bool,
    },
    /// The prompt is denied unasked. The text is for the model.
    Deny(String),
}

impl AnswerCeiling {
    /// Decides whether a person may be asked about a prompt.
    pub(crate) fn judge(&self, prompt: &Prompt) -> Judgement {
        match prompt.kind {
            QuestionKind::Choice => {
                return Judgement::Ask {
                    input_is_fixed: true,
                };
            }
            QuestionKind::Plan if self.accepts_plans => {
                return Judgement::Ask {
                    input_is_fixed: true,
                };
            }
            QuestionKind::Plan => {
                return Judgement::Deny("the operator allows plans only, no acts".to_owned());
            }
            QuestionKind::Permission => {}
        }
        let tool = prompt.tool.as_str();
        if has_tool(&self.denied, tool) {
            return Judgement::Deny(format!("{tool} never runs here"));
        }
        if tool == "EnterPlanMode" {
            return Judgement::Ask {
                input_is_fixed: true,
            };
        }
        if !(has_tool(&self.tools, tool) || has_tool(&self.tools, "*")) {
            let reason = if has_rule(&self.tools, tool) {
                format!("the operator allows {tool} only for the uses that need no question")
            } else {
                format!("the operator does not allow {tool}")
            };
            return Judgement::Deny(reason);
        }
        let input_is_fixed = has_rule(&self.tools, tool) || has_rule(&self.denied, tool);
        Judgement::Ask { input_is_fixed }
    }

    /// Returns the suggested rules that an answer may remember: those of a tool that the ceiling
    /// allows wholly, and that no rule denies in part.
    pub(crate) fn rememberable(&self, prompt: &Prompt) -> Vec<Rule> {
        let within = |rule: &&Rule| {
            let tool = rule.tool.as_str();
            (has_tool(&self.tools, tool) || has_tool(&self.tools, "*"))
                && !has_tool(&self.denied, tool)
                && !has_rule(&self.denied, tool)
        };
        prompt.suggestions.iter().filter(within).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn list(entries: &[&str]) -> Vec<String> {
        entries.iter().map(ToString::to_string).collect()
    }

    fn ceiling(tools: &[&str], denied: &[&str]) -> AnswerCeiling {
        AnswerCeiling {
            tools: list(tools),
            denied: list(denied),
            accepts_plans: true,
        }
    }

    fn prompt(tool: &str) -> Prompt {
        let rules = json!([{"type": "addRules", "behavior": "allow",
            "rules": [{"toolName": tool, "ruleContent": "x"}, {"toolName": "Write"}]}]);
        let request = json!({"subtype": "can_use_tool", "tool_name": tool, "input": {},
            "permission_suggestions": rules});
        Prompt::read("r", &request).unwrap()
    }

    #[test]
    fn only_tools_of_the_ceiling_are_asked_about() {
        let free = Judgement::Ask {
            input_is_fixed: false,
        };
        let fixed = Judgement::Ask {
            input_is_fixed: true,
        };
        let judge = |tools: &[&str], denied: &[&str], tool: &str| {
            ceiling(tools, denied).judge(&prompt(tool))
        };
        assert_eq!(judge(&["Bash"], &[], "Bash"), free);
        assert_eq!(judge(&["*"], &[], "Bash"), free);
        assert_eq!(judge(&["*"], &["Bash(rm:*)"], "Bash"), fixed);
        assert_eq!(judge(&["Bash", "Bash(ls)"], &[], "Bash"), fixed);
        for (tools, denied, tool) in [
            (&["Edit"][..], &[][..], "Bash"),
            (&["Bash(ls)"], &[], "Bash"),
            (&["*"], &["Bash"], "Bash"),
            (&["Bash"], &[], "Bas"),
            (&["Bash"], &[], "mcp__x__y"),
            (&[], &[], "Read"),
            (&[], &["EnterPlanMode"], "EnterPlanMode"),
        ] {
            let judged = judge(tools, denied, tool);
            assert!(
                matches!(judged, Judgement::Deny(_)),
                "{tools:?} {denied:?} {tool}"
            );
        }
    }

    #[test]
    fn a_plan_is_denied_unasked_under_the_ceiling_plan() {
        let mut ceiling = ceiling(&["*"], &[]);
        assert!(matches!(
            ceiling.judge(&prompt("ExitPlanMode")),
            Judgement::Ask { .. }
        ));
        ceiling.accepts_plans = false;
        assert!(matches!(
            ceiling.judge(&prompt("ExitPlanMode")),
            Judgement::Deny(_)
        ));
        assert!(matches!(
            ceiling.judge(&prompt("AskUserQuestion")),
            Judgement::Ask { .. }
        ));
    }

    #[test]
    fn only_rules_within_the_ceiling_can_be_remembered() {
        let entries = |tools: &[&str], denied: &[&str]| -> Vec<String> {
            let rules = ceiling(tools, denied).rememberable(&prompt("Bash"));
            rules.iter().map(Rule::entry).collect()
        };
        assert_eq!(entries(&["Bash"], &[]), ["Bash(x)"]);
        assert_eq!(entries(&["*"], &["Write"]), ["Bash(x)"]);
        assert_eq!(entries(&["*"], &["Bash(rm:*)"]), ["Write"]);
        assert!(entries(&["Bash(x)"], &[]).is_empty());
    }
}

//! The operator's ceiling over the answers to permission prompts.
//!
//! The CLI's own rules are not enough. An answer that allows a prompt overrides
//! `--disallowedTools=Bash(rm:*)` if its `updatedInput` has another command. Suggested updates of
//! the permissions can turn on a wider mode. So each prompt and each answer is checked here.
//!
//! A rule of the CLI can be about another tool than it names: `Edit(//etc/**)` is about every tool
//! that writes files. So any rule among the disallowed tools fixes the input of every tool.

use protocol::question::QuestionKind;

use crate::config::{AnswerCeiling, PermissionMode, has_any_rule, has_rule, has_tool, rules};
use crate::execution::prompt::{Prompt, Rule};

/// The tools that an answer may allow under the ceiling `plan`, because they only read. In the mode
/// `plan`, the CLI would also run any other tool that an answer allows (measured with 2.1.329).
const READING_TOOLS: [&str; 5] = ["Glob", "Grep", "Read", "WebFetch", "WebSearch"];

/// The verdict about a permission prompt: a person or the client may be asked, or it is denied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PromptVerdict {
    /// A person or the client decides. If `input_is_fixed`, the answer must not change the input,
    /// because a rule limits the uses of the tool.
    Ask {
        /// Whether the answer must leave the input as it is.
        input_is_fixed: bool,
    },
    /// The prompt is denied without a question. The text is for the model.
    Deny(String),
}

impl AnswerCeiling {
    /// Decides whether a person or the client may be asked about a prompt.
    pub(crate) fn judge(&self, prompt: &Prompt) -> PromptVerdict {
        let tool = prompt.tool.as_str();
        if has_tool(&self.denied, tool) {
            return PromptVerdict::Deny(format!("{tool} is disallowed for this execution"));
        }
        match prompt.kind {
            QuestionKind::Choice => {
                return PromptVerdict::Ask {
                    input_is_fixed: true,
                };
            }
            QuestionKind::Plan if self.accepts_plans => {
                return PromptVerdict::Ask {
                    input_is_fixed: true,
                };
            }
            QuestionKind::Plan => {
                return PromptVerdict::Deny("the operator allows planning only".to_owned());
            }
            QuestionKind::Permission => {}
        }
        if tool == "EnterPlanMode" {
            return PromptVerdict::Ask {
                input_is_fixed: true,
            };
        }
        if self.is_client_tool(tool) {
            return PromptVerdict::Ask {
                input_is_fixed: has_any_rule(&self.denied),
            };
        }
        // In the mode `plan` the CLI itself would run what an answer allows.
        if self.mode == PermissionMode::Plan && !READING_TOOLS.contains(&tool) {
            return PromptVerdict::Deny("the operator allows planning only".to_owned());
        }
        if !(has_tool(&self.tools, tool) || has_tool(&self.tools, "*")) {
            let rules = rules(&self.tools, tool);
            let reason = if rules.is_empty() {
                format!("the operator does not allow {tool}")
            } else {
                format!(
                    "the operator allows {tool} only by these rules: {}; an execution has them if \
                     they are in its allowed tools, and no answer can allow another use",
                    rules.join(", ")
                )
            };
            return PromptVerdict::Deny(reason);
        }
        let input_is_fixed = has_rule(&self.tools, tool) || has_any_rule(&self.denied);
        PromptVerdict::Ask { input_is_fixed }
    }

    /// Returns the suggested rules that an answer may remember: those of a tool that the ceiling
    /// allows without a rule. The list is empty if a rule denies some uses of any tool. A rule for
    /// several tools (a name with `*`) is left out.
    pub(crate) fn rememberable(&self, prompt: &Prompt) -> Vec<Rule> {
        let within = |rule: &&Rule| self.may_remember(&rule.tool);
        prompt.suggestions.iter().filter(within).cloned().collect()
    }

    /// Returns whether an answer may allow a tool for the rest of the execution. The ceiling must
    /// allow the tool without a rule, or the tool is the client's own. No rule may deny some uses
    /// of any tool.
    pub(crate) fn may_remember(&self, tool: &str) -> bool {
        let is_allowed = has_tool(&self.tools, tool) || has_tool(&self.tools, "*");
        (is_allowed || self.is_client_tool(tool))
            && !has_tool(&self.denied, tool)
            && !has_any_rule(&self.denied)
            && !tool.contains('*')
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
            ..AnswerCeiling::default()
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
        let free = PromptVerdict::Ask {
            input_is_fixed: false,
        };
        let fixed = PromptVerdict::Ask {
            input_is_fixed: true,
        };
        let judge = |tools: &[&str], denied: &[&str], tool: &str| {
            ceiling(tools, denied).judge(&prompt(tool))
        };
        assert_eq!(judge(&["Bash"], &[], "Bash"), free);
        assert_eq!(judge(&["*"], &[], "Bash"), free);
        assert_eq!(judge(&["*"], &["Bash(rm:*)"], "Bash"), fixed);
        assert_eq!(judge(&["Bash", "Bash(ls)"], &[], "Bash"), fixed);
        // A rule about Edit is about every tool that writes.
        assert_eq!(judge(&["*"], &["Edit(//etc/**)"], "Write"), fixed);
        assert_eq!(judge(&["*"], &["Edit(//etc/**)"], "Bash"), fixed);
        for (tools, denied, tool) in [
            (&["Edit"][..], &[][..], "Bash"),
            (&["Bash(ls)"], &[], "Bash"),
            (&["*"], &["Bash"], "Bash"),
            (&["Bash"], &[], "Bas"),
            (&["Bash"], &[], "mcp__x__y"),
            (&[], &[], "Read"),
            (&[], &["EnterPlanMode"], "EnterPlanMode"),
            (&["*"], &["ExitPlanMode"], "ExitPlanMode"),
            (&["*"], &["AskUserQuestion"], "AskUserQuestion"),
        ] {
            let judged = judge(tools, denied, tool);
            assert!(
                matches!(judged, PromptVerdict::Deny(_)),
                "{tools:?} {denied:?} {tool}"
            );
        }
    }

    #[test]
    fn a_plan_is_denied_without_a_question_under_the_ceiling_plan() {
        let mut ceiling = ceiling(&["*"], &[]);
        assert!(matches!(
            ceiling.judge(&prompt("ExitPlanMode")),
            PromptVerdict::Ask { .. }
        ));
        ceiling.accepts_plans = false;
        assert!(matches!(
            ceiling.judge(&prompt("ExitPlanMode")),
            PromptVerdict::Deny(_)
        ));
        assert!(matches!(
            ceiling.judge(&prompt("AskUserQuestion")),
            PromptVerdict::Ask { .. }
        ));
    }

    #[test]
    fn only_tools_that_read_are_asked_about_under_the_ceiling_plan() {
        let mut ceiling = ceiling(&["*"], &[]);
        ceiling.mode = PermissionMode::Plan;
        for tool in ["Write", "Edit", "Bash", "Task"] {
            let verdict = ceiling.judge(&prompt(tool));
            assert!(matches!(verdict, PromptVerdict::Deny(_)), "{tool}");
        }
        for tool in ["Read", "WebFetch", "EnterPlanMode"] {
            let verdict = ceiling.judge(&prompt(tool));
            assert!(matches!(verdict, PromptVerdict::Ask { .. }), "{tool}");
        }
    }

    #[test]
    fn only_rules_within_the_ceiling_can_be_remembered() {
        let entries = |tools: &[&str], denied: &[&str]| -> Vec<String> {
            let rules = ceiling(tools, denied).rememberable(&prompt("Bash"));
            rules.iter().map(Rule::entry).collect()
        };
        assert_eq!(entries(&["Bash"], &[]), ["Bash(x)"]);
        assert_eq!(entries(&["*"], &["Write"]), ["Bash(x)"]);
        assert!(entries(&["*"], &["Bash(rm:*)"]).is_empty());
        assert!(entries(&["Bash(x)"], &[]).is_empty());
    }
}

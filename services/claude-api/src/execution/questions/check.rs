//! The check of an answer against its question, and the control response that the CLI gets.

use protocol::Answer;
use protocol::question::{Decision, MESSAGE_BYTES_MAX, QuestionKind};
use serde_json::{Value, json};

use crate::execution::control_response::denial;
use crate::execution::prompt::{Prompt, Rule};

/// The reason why an answer is refused. The question stays open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadAnswer {
    /// The answer does not fit its question. The text says what to send.
    #[error("{0}")]
    Invalid(String),
    /// The answer goes beyond the operator's ceiling.
    #[error("{0}")]
    NotAllowed(String),
}

/// Checks an answer, and returns the `response` for the CLI. `rememberable` are the rules that the
/// answer may remember.
///
/// # Errors
/// The answer does not fit the kind of the question, or goes beyond the ceiling.
pub(super) fn check(
    answer: &Answer,
    prompt: &Prompt,
    rememberable: &[Rule],
    input_is_fixed: bool,
) -> Result<Value, BadAnswer> {
    match answer.decision {
        Decision::Deny => deny(answer),
        Decision::Allow => allow(answer, prompt, rememberable, input_is_fixed),
    }
}

/// The message that the model reads if a person denies without a reason.
const NO_REASON: &str = "The user denied this. Do not try it again; go on without it.";

fn deny(answer: &Answer) -> Result<Value, BadAnswer> {
    let Answer {
        decision: _,
        message,
        updated_input,
        answers,
        remember,
        interrupt,
    } = answer;
    for (name, given) in [
        ("updatedInput", updated_input.is_some()),
        ("answers", answers.is_some()),
        ("remember", !remember.is_empty()),
    ] {
        if given {
            return invalid(format!("{name} is for \"allow\"; leave it out of a denial"));
        }
    }
    let message = message.as_deref().filter(|text| !text.trim().is_empty());
    if let Some(text) = message.filter(|text| text.len() > MESSAGE_BYTES_MAX) {
        let bytes = text.len();
        return invalid(format!(
            "message has {bytes} bytes; send at most {MESSAGE_BYTES_MAX}"
        ));
    }
    let mut response = denial(message.unwrap_or(NO_REASON));
    if *interrupt {
        response["interrupt"] = json!(true);
    }
    Ok(response)
}

fn allow(
    answer: &Answer,
    prompt: &Prompt,
    rememberable: &[Rule],
    input_is_fixed: bool,
) -> Result<Value, BadAnswer> {
    let Answer {
        decision: _,
        message,
        updated_input,
        answers,
        remember,
        interrupt,
    } = answer;
    for (name, given) in [("message", message.is_some()), ("interrupt", *interrupt)] {
        if given {
            return invalid(format!("{name} is for \"deny\"; leave it out"));
        }
    }
    let is_permission = prompt.kind == QuestionKind::Permission;
    for (name, given) in [
        ("updatedInput", updated_input.is_some()),
        ("remember", !remember.is_empty()),
    ] {
        if given && !is_permission {
            return invalid(format!("{name} is for questions of the kind permission"));
        }
    }
    if prompt.kind == QuestionKind::Choice {
        let Some(answers) = answers else {
            return invalid("a choice needs answers: {\"QUESTION\": \"LABEL OR TEXT\"}".to_owned());
        };
        return choose(answers, prompt);
    }
    if answers.is_some() {
        return invalid("answers is for questions of the kind choice".to_owned());
    }
    let mut response = json!({ "behavior": "allow" });
    if let Some(input) = updated_input {
        let input = Value::Object(input.clone());
        if input_is_fixed && input != prompt.input {
            return Err(BadAnswer::NotAllowed(format!(
                "a rule of the operator limits {}, so its input cannot be changed; leave \
                 updatedInput out",
                prompt.tool
            )));
        }
        response["updatedInput"] = input;
    }
    if !remember.is_empty() {
        response["updatedPermissions"] = updated_permissions(remember, rememberable)?;
    }
    Ok(response)
}

/// Returns the permission update for the CLI that adds these rules until the end of the execution.
fn updated_permissions(remember: &[String], rememberable: &[Rule]) -> Result<Value, BadAnswer> {
    let mut rules = Vec::new();
    for entry in remember {
        let Some(rule) = rememberable.iter().find(|rule| rule.entry() == *entry) else {
            let known: Vec<_> = rememberable.iter().map(Rule::entry).collect();
            return invalid(format!(
                "{entry:?} is not among the suggestions of this question ({}); leave it out",
                if known.is_empty() {
                    "none".to_owned()
                } else {
                    known.join(", ")
                }
            ));
        };
        let mut json = json!({ "toolName": rule.tool });
        if let Some(content) = &rule.content {
            json["ruleContent"] = json!(content);
        }
        rules.push(json);
    }
    Ok(json!([{
        "type": "addRules", "rules": rules, "behavior": "allow", "destination": "session",
    }]))
}

/// Returns the `response` for the CLI with the answers to a choice. The CLI needs the whole input
/// with the answers added.
fn choose(
    answers: &std::collections::BTreeMap<String, String>,
    prompt: &Prompt,
) -> Result<Value, BadAnswer> {
    let questions = prompt.input.get("questions").and_then(Value::as_array);
    let texts: Vec<&str> = questions
        .into_iter()
        .flatten()
        .filter_map(|question| question.get("question")?.as_str())
        .collect();
    if let Some(unknown) = answers.keys().find(|text| !texts.contains(&text.as_str())) {
        return invalid(format!(
            "answers has {unknown:?}; the questions are {}",
            serde_json::to_string(&texts).unwrap_or_default()
        ));
    }
    let is_blank = |text: &&str| {
        answers
            .get(*text)
            .is_none_or(|answer| answer.trim().is_empty())
    };
    if let Some(missing) = texts.iter().find(|text| is_blank(text)) {
        return invalid(format!(
            "answers has no text for {missing:?}; answer every question of the choice"
        ));
    }
    let mut input = prompt.input.clone();
    input["answers"] = json!(answers);
    Ok(json!({ "behavior": "allow", "updatedInput": input }))
}

fn invalid<T>(text: String) -> Result<T, BadAnswer> {
    Err(BadAnswer::Invalid(text))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn prompt(tool: &str, input: Value) -> Prompt {
        let request = json!({"subtype": "can_use_tool", "tool_name": tool, "input": input});
        Prompt::read("r", &request).unwrap()
    }

    fn bash() -> Prompt {
        prompt("Bash", json!({"command": "ls"}))
    }

    fn answer(json: Value) -> Answer {
        serde_json::from_value(json).unwrap()
    }

    fn rule() -> Rule {
        Rule {
            tool: "Bash".into(),
            content: Some("ls".into()),
        }
    }

    #[test]
    fn a_permission_is_allowed_as_asked_or_with_another_input() {
        let check = |json, fixed| check(&answer(json), &bash(), &[rule()], fixed);
        let allow = json!({"behavior": "allow"});
        assert_eq!(check(json!({"decision": "allow"}), true), Ok(allow));
        let same = json!({"decision": "allow", "updatedInput": {"command": "ls"}});
        assert!(check(same, true).is_ok());
        let other = json!({"decision": "allow", "updatedInput": {"command": "rm"}});
        let response = check(other.clone(), false).unwrap();
        assert_eq!(response["updatedInput"]["command"], "rm");
        assert!(matches!(check(other, true), Err(BadAnswer::NotAllowed(_))));
    }

    #[test]
    fn a_remembered_rule_lasts_for_the_session_only() {
        let check = |json| check(&answer(json), &bash(), &[rule()], false);
        let response = check(json!({"decision": "allow", "remember": ["Bash(ls)"]})).unwrap();
        assert_eq!(
            response["updatedPermissions"],
            json!([{"type": "addRules", "behavior": "allow", "destination": "session",
                "rules": [{"toolName": "Bash", "ruleContent": "ls"}]}])
        );
        for entry in ["Bash", "Bash(rm)", "Write", "*"] {
            let answer = json!({"decision": "allow", "remember": [entry]});
            assert!(
                matches!(check(answer), Err(BadAnswer::Invalid(_))),
                "{entry}"
            );
        }
    }

    #[test]
    fn a_denial_has_a_reason_for_the_model() {
        let check = |json| check(&answer(json), &bash(), &[], false).unwrap();
        let reason = check(json!({"decision": "deny", "message": "not today"}));
        assert_eq!(reason, json!({"behavior": "deny", "message": "not today"}));
        let silent = check(json!({"decision": "deny", "message": " ", "interrupt": true}));
        assert_eq!(silent["message"], NO_REASON);
        assert_eq!(silent["interrupt"], true);
    }

    #[test]
    fn a_choice_sends_the_whole_input_with_the_answers() {
        let questions = json!([{"question": "Which?", "options": [{"label": "A"}]},
            {"question": "Why?"}]);
        let choice = prompt("AskUserQuestion", json!({ "questions": questions }));
        let check = |answers: Value| {
            let json = json!({"decision": "allow", "answers": answers});
            check(&answer(json), &choice, &[], true)
        };
        let response = check(json!({"Which?": "A", "Why?": "because"})).unwrap();
        assert_eq!(response["updatedInput"]["questions"], questions);
        let expected = BTreeMap::from([("Which?", "A"), ("Why?", "because")]);
        assert_eq!(response["updatedInput"]["answers"], json!(expected));
        for answers in [
            json!({}),
            json!({"Which?": "A"}),
            json!({"Which?": "A", "Why?": " "}),
            json!({"Which?": "A", "Why?": "b", "Who?": "c"}),
        ] {
            assert!(check(answers.clone()).is_err(), "{answers}");
        }
    }

    #[test]
    fn members_for_another_kind_or_decision_are_refused() {
        let choice = prompt("AskUserQuestion", json!({"questions": []}));
        let plan = prompt("ExitPlanMode", json!({}));
        for (prompt, json) in [
            (&bash(), json!({"decision": "allow", "message": "x"})),
            (&bash(), json!({"decision": "allow", "interrupt": true})),
            (&bash(), json!({"decision": "allow", "answers": {}})),
            (&bash(), json!({"decision": "deny", "updatedInput": {}})),
            (&bash(), json!({"decision": "deny", "answers": {}})),
            (
                &bash(),
                json!({"decision": "deny", "remember": ["Bash(ls)"]}),
            ),
            (
                &bash(),
                json!({"decision": "deny", "message": "x".repeat(MESSAGE_BYTES_MAX + 1)}),
            ),
            (&choice, json!({"decision": "allow"})),
            (&choice, json!({"decision": "allow", "updatedInput": {}})),
            (&plan, json!({"decision": "allow", "updatedInput": {}})),
            (&plan, json!({"decision": "allow", "remember": ["x"]})),
        ] {
            let checked = check(&answer(json.clone()), prompt, &[rule()], false);
            assert!(matches!(checked, Err(BadAnswer::Invalid(_))), "{json}");
        }
    }
}

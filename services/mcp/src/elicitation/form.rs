//! A question as a form, and the filled-in form as an answer.

use std::collections::BTreeMap;

use protocol::question::{QuestionKind, visible};
use protocol::{Answer, ExecutionId, Question};
use rmcp::model::{ElicitRequestParams, ElicitResult, ElicitationAction, ElicitationSchema};
use serde_json::{Map, Value, json};

/// The maximum length of the input in the text of a form, in bytes.
const FORM_INPUT_BYTES_MAX: usize = 16 * 1024;

/// Returns the form that asks a question.
///
/// # Errors
/// The question cannot be written as a form.
pub(super) fn form(
    execution: ExecutionId,
    question: &Question,
) -> Result<ElicitRequestParams, serde_json::Error> {
    Ok(ElicitRequestParams::FormElicitationParams {
        meta: None,
        message: message(execution, question),
        requested_schema: schema(question)?,
    })
}

/// Returns the text of the form.
fn message(execution: ExecutionId, question: &Question) -> String {
    let tool = visible(&question.tool);
    let mut text = match question.kind {
        QuestionKind::Permission => {
            format!("May the model use {tool}?\n{}", visible(&question.title))
        }
        QuestionKind::Choice => "The model asks:".to_owned(),
        QuestionKind::Plan => "May the model carry out this plan?".to_owned(),
    };
    if let Some(description) = &question.description {
        text.push('\n');
        text.push_str(&visible(description));
    }
    let input = match (question.kind, &question.input) {
        (QuestionKind::Choice, _) => return text,
        (_, None) => format!(
            "The input has {} bytes, too many for this form. Read it with: ccb questions \
             {execution}",
            question.input_bytes
        ),
        (QuestionKind::Plan, Some(input)) => {
            let plan = input
                .get("plan")
                .and_then(Value::as_str)
                .unwrap_or_default();
            let lines: Vec<_> = plan.lines().map(visible).collect();
            lines.join("\n")
        }
        (QuestionKind::Permission, Some(input)) => {
            let json = serde_json::to_string_pretty(input).unwrap_or_default();
            let lines: Vec<_> = json.lines().map(visible).collect();
            lines.join("\n")
        }
    };
    text.push_str("\n\n");
    text.push_str(protocol::question::cut(&input, FORM_INPUT_BYTES_MAX));
    if input.len() > FORM_INPUT_BYTES_MAX {
        text.push_str(&format!(
            "\n... and {} bytes more",
            input.len() - FORM_INPUT_BYTES_MAX
        ));
    }
    text
}

/// Returns the parts of a choice: the text, and a description with the options.
fn choices(question: &Question) -> Vec<(String, String)> {
    let list = question
        .input
        .as_ref()
        .and_then(|input| input.get("questions"));
    let list = list.and_then(Value::as_array).into_iter().flatten();
    let read = |one: &Value| {
        let text = one.get("question")?.as_str()?.to_owned();
        let options = one.get("options").and_then(Value::as_array);
        let options = options.into_iter().flatten().filter_map(|option| {
            let label = visible(option.get("label")?.as_str()?);
            let description = option.get("description").and_then(Value::as_str);
            Some(match description {
                Some(description) => format!("{label} ({})", visible(description)),
                None => label,
            })
        });
        let options: Vec<_> = options.collect();
        let several = match one.get("multiSelect") == Some(&Value::Bool(true)) {
            true => "Several options with \", \" between them, or your own text",
            false => "An option, or your own text",
        };
        let description = format!("{} - {several}: {}", visible(&text), options.join("; "));
        Some((text, description))
    };
    list.filter_map(read).collect()
}

/// Returns the field name of the question at an index: `answer1` for 0.
fn field(at: usize) -> String {
    format!("answer{}", at + 1)
}

/// Returns the schema of the form. Its fields are primitive, as MCP demands.
fn schema(question: &Question) -> Result<ElicitationSchema, serde_json::Error> {
    let text = |title: &str, description: &str| {
        json!({
            "type": "string", "title": title, "description": description,
        })
    };
    let mut properties = Map::new();
    let mut required = Vec::new();
    if question.kind == QuestionKind::Choice {
        for (at, (title, description)) in choices(question).iter().enumerate() {
            properties.insert(field(at), text(&visible(title), description));
            required.push(field(at));
        }
    } else {
        let mut decision = text("Decision", "Allow or deny it");
        decision["enum"] = json!(["allow", "deny"]);
        properties.insert("decision".to_owned(), decision);
        required.push("decision".to_owned());
        let reason = text(
            "Reason",
            "Only with deny: the reason, which the model reads",
        );
        properties.insert("message".to_owned(), reason);
        if let (QuestionKind::Permission, [rule, ..]) =
            (question.kind, question.suggestions.as_slice())
        {
            let rule = visible(rule);
            let description =
                format!("Also allow further uses that match {rule}, until the execution ends");
            let remember = json!({
                "type": "boolean", "title": "Remember", "description": description,
                "default": false,
            });
            properties.insert("remember".to_owned(), remember);
        }
    }
    let schema = json!({"type": "object", "properties": properties, "required": required});
    serde_json::from_value(schema)
}

/// Turns the result of a form into an answer. `None` leaves the question open.
pub(super) fn answer(question: &Question, result: &ElicitResult) -> Option<Answer> {
    match result.action {
        ElicitationAction::Accept => {}
        ElicitationAction::Decline => return Some(Answer::deny()),
        // The person has dismissed the form, or the action is unknown.
        _ => return None,
    }
    let content = result.content.as_ref();
    let text = |name: &str| content?.get(name)?.as_str().map(str::to_owned);
    if question.kind == QuestionKind::Choice {
        let answers = choices(question).into_iter().enumerate();
        let answers = answers.map(|(at, (question, _))| Some((question, text(&field(at))?)));
        let answers: BTreeMap<_, _> = answers.collect::<Option<_>>()?;
        return Some(Answer {
            answers: Some(answers),
            ..Answer::allow()
        });
    }
    match text("decision").as_deref() {
        Some("allow") => {
            let remembers = question.kind == QuestionKind::Permission
                && content?.get("remember") == Some(&Value::Bool(true));
            let rules = question.suggestions.iter().take(1).filter(|_| remembers);
            Some(Answer {
                remember: rules.cloned().collect(),
                ..Answer::allow()
            })
        }
        Some("deny") => Some(Answer {
            message: text("message").filter(|text| !text.trim().is_empty()),
            ..Answer::deny()
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn question(kind: &str, input: Value) -> Question {
        let json = json!({
            "questionId": Uuid::from_u128(7), "kind": kind, "tool": "Bash", "displayName": null,
            "title": "rm\u{1b}", "description": null, "inputBytes": 9, "input": input,
            "suggestions": ["Bash(rm:*)", "Bash"], "agentId": null,
            "askedAt": "2026-01-01T00:00:00Z", "expiresAt": null,
        });
        serde_json::from_value(json).unwrap()
    }

    fn accepted(content: Value) -> ElicitResult {
        ElicitResult::new(ElicitationAction::Accept).with_content(content)
    }

    #[test]
    fn a_permission_is_a_form_with_a_decision() {
        let bash = question("permission", json!({"command": "rm\u{202e}"}));
        let text = message(ExecutionId::random(), &bash);
        assert!(text.contains("use Bash?\nrm\\u001b"), "{text}");
        assert!(text.contains(r#""command": "rm\u202e""#), "{text}");
        let form = serde_json::to_value(schema(&bash).unwrap()).unwrap();
        assert_eq!(
            form["properties"]["decision"]["enum"],
            json!(["allow", "deny"])
        );
        assert_eq!(form["required"], json!(["decision"]));
        let allow = accepted(json!({"decision": "allow", "message": "x"}));
        assert_eq!(answer(&bash, &allow), Some(Answer::allow()));
        let remember = accepted(json!({"decision": "allow", "remember": true}));
        let remembered = answer(&bash, &remember).unwrap().remember;
        assert_eq!(remembered, ["Bash(rm:*)"]);
        let deny = answer(
            &bash,
            &accepted(json!({"decision": "deny", "message": "no"})),
        );
        assert_eq!(deny.unwrap().message.as_deref(), Some("no"));
        assert_eq!(answer(&bash, &accepted(json!({"decision": "maybe"}))), None);
    }

    #[test]
    fn a_declined_form_denies_and_a_dismissed_one_decides_nothing() {
        let plan = question("plan", json!({"plan": "1.\n2."}));
        let form = serde_json::to_value(schema(&plan).unwrap()).unwrap();
        assert_eq!(form["properties"]["remember"], Value::Null);
        assert!(message(ExecutionId::random(), &plan).ends_with("plan?\n\n1.\n2."));
        let decline = ElicitResult::new(ElicitationAction::Decline);
        assert_eq!(answer(&plan, &decline), Some(Answer::deny()));
        let cancel = ElicitResult::new(ElicitationAction::Cancel);
        assert_eq!(answer(&plan, &cancel), None);
    }

    #[test]
    fn a_choice_has_a_field_for_each_question() {
        let choice = question(
            "choice",
            json!({"questions": [{"question": "Which?", "options": [{"label": "A"}]},
                {"question": "Why?", "multiSelect": true}]}),
        );
        let form = serde_json::to_value(schema(&choice).unwrap()).unwrap();
        assert_eq!(form["required"], json!(["answer1", "answer2"]));
        let both = accepted(json!({"answer1": "A", "answer2": "because"}));
        let answers = answer(&choice, &both).unwrap().answers.unwrap();
        assert_eq!(answers["Which?"], "A");
        assert_eq!(answers["Why?"], "because");
        assert_eq!(answer(&choice, &accepted(json!({"answer1": "A"}))), None);
    }

    #[test]
    fn a_long_input_is_cut_with_the_rest_counted() {
        let long = question("permission", json!({"command": "x".repeat(20_000)}));
        let text = message(ExecutionId::random(), &long);
        assert!(
            text.len() < 17_000 && text.contains("bytes more"),
            "{}",
            text.len()
        );
    }
}

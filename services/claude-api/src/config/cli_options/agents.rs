//! Definitions of sub-agents that a client hands to the CLI.

use protocol::ProblemType;
use serde_json::{Map, Value};

use super::super::AnswerCeiling;
use super::super::tools::tool_name;
use super::refusal::{CliOptionRefusal, texts};

/// The fields that a definition may have. Other fields that the CLI knows would widen the agent's
/// permissions: `permissionMode` and `memory` override the operator's settings, and `mcpServers`
/// and `hooks` run programs.
const FIELDS: [&str; 6] = [
    "description",
    "prompt",
    "tools",
    "disallowedTools",
    "model",
    "maxTurns",
];

/// Checks definitions of sub-agents by name, and returns them with known fields only. A field that
/// is null counts as absent.
///
/// # Errors
/// `agent-field-not-allowed` for any other field, `not-allowed` for a tool beyond the ceiling, and
/// `invalid-body` for a field of a wrong type.
pub(crate) fn check_agents(
    agents: &Map<String, Value>,
    ceiling: &AnswerCeiling,
) -> Result<Map<String, Value>, CliOptionRefusal> {
    let mut checked = Map::new();
    for (name, agent) in agents {
        let Value::Object(fields) = agent else {
            return Err(malformed(name, "must be an object"));
        };
        let mut definition = fields.clone();
        definition.retain(|_, value| !value.is_null());
        for (field, value) in &definition {
            check_field(name, field, value, ceiling)?;
        }
        checked.insert(name.clone(), Value::Object(definition));
    }
    Ok(checked)
}

fn check_field(
    agent: &str,
    field: &str,
    value: &Value,
    ceiling: &AnswerCeiling,
) -> Result<(), CliOptionRefusal> {
    match field {
        "description" | "prompt" | "model" if value.is_string() => Ok(()),
        "maxTurns" if value.is_u64() => Ok(()),
        "tools" | "disallowedTools" => {
            let Some(tools) = texts(value) else {
                return Err(malformed(
                    agent,
                    &format!("{field} must be a list of tools"),
                ));
            };
            let is_beyond = |tool: &&&str| tool_name(tool).is_none() || !ceiling.may_offer(tool);
            match tools.iter().find(is_beyond) {
                Some(tool) if field == "tools" => Err(CliOptionRefusal::new(
                    ProblemType::NotAllowed,
                    format!(
                        "agents: {tool:?} of the agent {agent:?} is not allowed here (allowed: {})",
                        ceiling.offered_tools().unwrap_or_default().join(", ")
                    ),
                )),
                _ => Ok(()),
            }
        }
        _ if FIELDS.contains(&field) => Err(malformed(
            agent,
            &format!("{field} has a value of a wrong type"),
        )),
        _ => Err(CliOptionRefusal::new(
            ProblemType::AgentFieldNotAllowed,
            format!(
                "agents: the agent {agent:?} has the field {field:?}; leave it out (allowed: {})",
                FIELDS.join(", ")
            ),
        )),
    }
}

fn malformed(agent: &str, mistake: &str) -> CliOptionRefusal {
    let detail = format!("agents: the agent {agent:?}: {mistake}");
    CliOptionRefusal::new(ProblemType::InvalidBody, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(agent: Value) -> Result<Value, ProblemType> {
        let ceiling = AnswerCeiling {
            tools: vec!["Edit".to_owned()],
            client_answers: true,
            ..AnswerCeiling::default()
        };
        let agents = json!({ "a": agent });
        let checked = check_agents(agents.as_object().unwrap(), &ceiling);
        checked
            .map(|mut agents| agents.remove("a").unwrap())
            .map_err(|refusal| refusal.kind)
    }

    #[test]
    fn known_fields_pass_and_null_counts_as_absent() {
        let agent = json!({"description": "d", "prompt": "p", "model": "haiku", "maxTurns": 3,
            "tools": ["Read", "Edit", "mcp__calc__add"], "disallowedTools": ["Bash"]});
        let mut with_null = agent.clone();
        with_null["permissionMode"] = Value::Null;
        assert_eq!(check(with_null), Ok(agent));
    }

    #[test]
    fn a_field_that_widens_permissions_is_refused_by_name() {
        for field in [
            "mcpServers",
            "hooks",
            "permissionMode",
            "memory",
            "skills",
            "initialPrompt",
            "background",
            "effort",
            "observer",
            "__proto__",
        ] {
            let agent = json!({"description": "d", "prompt": "p", field: "x"});
            assert_eq!(
                check(agent),
                Err(ProblemType::AgentFieldNotAllowed),
                "{field}"
            );
        }
    }

    #[test]
    fn a_tool_beyond_the_ceiling_and_a_wrong_type_are_refused() {
        for tool in ["Bash", "Edit,Bash", "Bash(ls)", "*", ""] {
            let agent = json!({"prompt": "p", "tools": [tool]});
            assert_eq!(check(agent), Err(ProblemType::NotAllowed), "{tool}");
        }
        for agent in [
            json!("x"),
            json!({"tools": "Read"}),
            json!({"maxTurns": "3"}),
            json!({"prompt": ["x"]}),
        ] {
            assert_eq!(
                check(agent.clone()),
                Err(ProblemType::InvalidBody),
                "{agent}"
            );
        }
    }
}

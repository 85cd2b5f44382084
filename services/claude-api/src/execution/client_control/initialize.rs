//! The request `initialize`, which an Agent SDK sends first. The request registers the hooks, the
//! MCP servers and the sub-agents of the client.

use protocol::ProblemType;
use serde_json::{Map, Value, json};

use super::lines::ControlFault;
use crate::config::{AnswerCeiling, check_agents};

/// The members whose values are texts.
const TEXTS: [&str; 4] = [
    "appendSubagentSystemPrompt",
    "appendSystemPrompt",
    "planModeInstructions",
    "title",
];
/// The members whose values are flags.
const FLAGS: [&str; 5] = [
    "agentProgressSummaries",
    "excludeDynamicSections",
    "forwardSubagentText",
    "promptSuggestions",
    "systemPromptSnapshot",
];
/// The members of the matcher of a hook.
const MATCHER: [&str; 4] = ["matcher", "hookCallbackIds", "timeout", "onFailure"];

/// Returns the members of the request for the CLI. Unknown members are left out: some run programs
/// (`mcpServers`), and others permit tools (`settings`, `toolAliases`, `workspaceTrust`).
///
/// # Errors
/// A member has a wrong type, or an agent or a server is not allowed.
pub(super) fn rebuild(
    request: &Value,
    ceiling: &AnswerCeiling,
) -> Result<Map<String, Value>, ControlFault> {
    let mut rebuilt = Map::new();
    let Some(members) = request.as_object() else {
        return Ok(rebuilt);
    };
    for (name, value) in members.iter().filter(|(_, value)| !value.is_null()) {
        let value = match name.as_str() {
            "hooks" => hooks(value)?,
            "agents" => agents(value, ceiling)?,
            "sdkMcpServers" => servers(value, ceiling)?,
            name => match has_its_type(name, value) {
                Some(true) => value.clone(),
                Some(false) => return Err(wrong_type(name)),
                None => continue,
            },
        };
        rebuilt.insert(name.clone(), value);
    }
    Ok(rebuilt)
}

/// Returns whether the value of a member has the type that the CLI expects. `None` for a member that
/// is left out.
fn has_its_type(name: &str, value: &Value) -> Option<bool> {
    match name {
        "skills" => Some(value == "all" || is_texts(value)),
        "systemPrompt" => Some(value.is_string() || is_texts(value)),
        "jsonSchema" => Some(value.is_object()),
        _ if TEXTS.contains(&name) => Some(value.is_string()),
        _ if FLAGS.contains(&name) => Some(value.is_boolean()),
        _ => None,
    }
}

/// Returns the hooks by event, each with the ids of callbacks in the client.
fn hooks(hooks: &Value) -> Result<Value, ControlFault> {
    let mut rebuilt = Map::new();
    for (event, matchers) in hooks.as_object().ok_or_else(|| wrong_type("hooks"))? {
        let is_name = event.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let matchers = matchers.as_array().filter(|_| is_name);
        let matchers = matchers.ok_or_else(|| wrong_type("hooks"))?;
        let list: Option<Vec<_>> = matchers.iter().map(matcher).collect();
        let list = list.ok_or_else(|| wrong_type("hooks"))?;
        rebuilt.insert(event.clone(), json!(list));
    }
    Ok(Value::Object(rebuilt))
}

/// Returns one matcher with known members. `None` if it is malformed.
fn matcher(matcher: &Value) -> Option<Value> {
    let mut rebuilt = Map::new();
    for (name, value) in matcher.as_object()? {
        let is_good = match name.as_str() {
            "matcher" | "onFailure" => value.is_string() || value.is_null(),
            "hookCallbackIds" => is_texts(value),
            "timeout" => value.is_number() || value.is_null(),
            _ => true,
        };
        if !is_good {
            return None;
        }
        if MATCHER.contains(&name.as_str()) && !(name == "onFailure" && value.is_null()) {
            rebuilt.insert(name.clone(), value.clone());
        }
    }
    Some(Value::Object(rebuilt))
}

fn agents(agents: &Value, ceiling: &AnswerCeiling) -> Result<Value, ControlFault> {
    let agents = agents.as_object().ok_or_else(|| wrong_type("agents"))?;
    match check_agents(agents, ceiling) {
        Ok(agents) => Ok(Value::Object(agents)),
        Err(refusal) => Err(ControlFault {
            kind: match refusal.kind {
                ProblemType::NotAllowed => ProblemType::ControlRequestNotAllowed,
                kind => kind,
            },
            detail: format!("is an initialize that cannot be accepted: {refusal}"),
        }),
    }
}

/// Returns the names of MCP servers in the client. The name of a server that the CLI reaches over
/// HTTP is refused, because its tools need the ceiling.
fn servers(names: &Value, ceiling: &AnswerCeiling) -> Result<Value, ControlFault> {
    let list = names
        .as_array()
        .ok_or_else(|| wrong_type("sdkMcpServers"))?;
    for name in list {
        let name = name.as_str().ok_or_else(|| wrong_type("sdkMcpServers"))?;
        let is_good = !name.contains("__")
            && !name.contains('*')
            && !ceiling.http_servers.iter().any(|server| server == name);
        if !is_good {
            return Err(ControlFault::not_allowed(format!(
                "names the MCP server {name:?}, which is not a valid name for a server of the \
                 client; use another name, without __ and *"
            )));
        }
    }
    Ok(names.clone())
}

fn is_texts(value: &Value) -> bool {
    value
        .as_array()
        .is_some_and(|list| list.iter().all(Value::is_string))
}

fn wrong_type(name: &str) -> ControlFault {
    ControlFault::malformed(format!(
        "has a value of a wrong type for `{name}` of initialize"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(request: &Value) -> Result<Value, ProblemType> {
        let ceiling = AnswerCeiling {
            http_servers: vec!["remote".to_owned()],
            ..AnswerCeiling::default()
        };
        rebuild(request, &ceiling)
            .map(Value::Object)
            .map_err(|fault| fault.kind)
    }

    #[test]
    fn what_an_sdk_sends_passes() {
        let request = json!({
            "hooks": {"PreToolUse": [{"matcher": "Bash|Write", "hookCallbackIds": ["hook_0"],
                "timeout": 60.0}], "Stop": [{"matcher": null, "hookCallbackIds": ["hook_1"]}]},
            "agents": {"reviewer": {"description": "d", "prompt": "p", "tools": ["Read"]}},
            "sdkMcpServers": ["calc"],
            "skills": ["a"],
            "excludeDynamicSections": true,
            "systemPrompt": ["a", "b"],
            "jsonSchema": {"type": "object"},
        });
        assert_eq!(check(&request), Ok(request.clone()));
        assert_eq!(check(&json!({"hooks": null})), Ok(json!({})));
    }

    #[test]
    fn members_that_widen_permissions_are_left_out() {
        for name in [
            "mcpServers",
            "settings",
            "managedSettings",
            "plugins",
            "toolAliases",
            "workspaceTrust",
            "sdkMcpServerConfigs",
            "disallowedTools",
        ] {
            assert_eq!(
                check(&json!({ name: {"a": {"command": "sh"}} })),
                Ok(json!({})),
                "{name}"
            );
        }
        let hooks = json!({"hooks": {"PreToolUse": [{"hookCallbackIds": [], "hooks":
            [{"type": "command", "command": "sh"}], "whenUnanswered": "allow"}]}});
        let without = json!({"hooks": {"PreToolUse": [{"hookCallbackIds": []}]}});
        assert_eq!(check(&hooks), Ok(without));
    }

    #[test]
    fn agents_and_servers_that_are_not_allowed_refuse_the_request() {
        let field = json!({"agents": {"a": {"prompt": "p", "mcpServers": []}}});
        assert_eq!(check(&field), Err(ProblemType::AgentFieldNotAllowed));
        let tool = json!({"agents": {"a": {"prompt": "p", "tools": ["Bash"]}}});
        assert_eq!(check(&tool), Err(ProblemType::ControlRequestNotAllowed));
        for name in ["remote", "a__b", "*"] {
            let servers = json!({"sdkMcpServers": [name]});
            assert_eq!(
                check(&servers),
                Err(ProblemType::ControlRequestNotAllowed),
                "{name}"
            );
        }
    }

    #[test]
    fn a_member_of_a_wrong_type_is_refused() {
        for request in [
            json!({"hooks": []}),
            json!({"hooks": {"PreToolUse": {}}}),
            json!({"hooks": {"PreToolUse": ["x"]}}),
            json!({"hooks": {"PreToolUse": [{"hookCallbackIds": "x"}]}}),
            json!({"hooks": {"a/b": []}}),
            json!({"agents": []}),
            json!({"sdkMcpServers": {}}),
            json!({"sdkMcpServers": [7]}),
            json!({"skills": "some"}),
            json!({"title": 7}),
            json!({"forwardSubagentText": "yes"}),
        ] {
            assert_eq!(check(&request), Err(ProblemType::InvalidBody), "{request}");
        }
    }
}

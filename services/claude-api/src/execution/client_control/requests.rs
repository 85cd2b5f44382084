//! Control requests of the client to the CLI, built anew from known members.

use serde_json::{Map, Value, json};

use super::initialize;
use super::lines::ControlFault;
use crate::config::{AnswerCeiling, PermissionMode};

/// The control requests that a client may send with `"permissionPrompts": "client"`, unless the
/// operator's list has others. The CLI accepts many more; some run programs (`mcp_set_servers`) or
/// permit tools (`apply_flag_settings`).
pub(crate) const KNOWN_REQUESTS: [&str; 12] = [
    "initialize",
    "interrupt",
    "end_session",
    "set_permission_mode",
    "set_model",
    "mcp_status",
    "mcp_reconnect",
    "mcp_toggle",
    "stop_task",
    "get_context_usage",
    "rewind_files",
    "set_max_thinking_tokens",
];

/// The type of a member of a request.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Text,
    TextOrNull,
    Flag,
    CountOrNull,
}

/// The members of the requests that have simple members only. A member may be absent. A null is
/// allowed only by the kinds that name it.
fn members(subtype: &str) -> &'static [(&'static str, Kind)] {
    match subtype {
        "interrupt" => &[("cancel_queued", Kind::Flag)],
        "set_model" => &[("model", Kind::TextOrNull)],
        "set_max_thinking_tokens" => &[("max_thinking_tokens", Kind::CountOrNull)],
        "mcp_reconnect" => &[("serverName", Kind::Text)],
        "mcp_toggle" => &[("serverName", Kind::Text), ("enabled", Kind::Flag)],
        "stop_task" => &[("task_id", Kind::Text)],
        "rewind_files" => &[("user_message_id", Kind::Text), ("dry_run", Kind::Flag)],
        // end_session, mcp_status, get_context_usage
        _ => &[],
    }
}

/// Returns the `request` for the CLI. `subtype` is one of [`KNOWN_REQUESTS`].
///
/// # Errors
/// A member has a wrong type, or the request asks for more than the operator allows.
pub(super) fn rebuild(
    subtype: &str,
    request: &Value,
    ceiling: &AnswerCeiling,
) -> Result<Value, ControlFault> {
    let mut rebuilt = match subtype {
        "initialize" => initialize::rebuild(request, ceiling)?,
        "set_permission_mode" => mode(request, ceiling)?,
        "mcp_reconnect" | "mcp_toggle" => server(subtype, request, ceiling)?,
        _ => simple(subtype, request)?,
    };
    rebuilt.insert("subtype".to_owned(), json!(subtype));
    Ok(Value::Object(rebuilt))
}

/// Returns the mode of `set_permission_mode`. The CLI itself always accepts `acceptEdits` and
/// `auto`.
fn mode(request: &Value, ceiling: &AnswerCeiling) -> Result<Map<String, Value>, ControlFault> {
    let Some(name) = request.get("mode").and_then(Value::as_str) else {
        return Err(ControlFault::malformed(
            "asks for set_permission_mode without `mode`",
        ));
    };
    match PermissionMode::parse(name).filter(|mode| *mode <= ceiling.mode) {
        Some(mode) => Ok(Map::from_iter([("mode".to_owned(), json!(mode.as_str()))])),
        None => Err(ControlFault::not_allowed(format!(
            "asks for the permission mode {name:?}, which is not allowed here; the most is {:?} \
             (the operator's CLAUDE_API_PERMISSION_CEILING)",
            ceiling.mode.as_str()
        ))),
    }
}

/// Returns the members of a request about an MCP server. The CLI would also start a program that
/// the workspace's `.mcp.json` names, even with `--strict-mcp-config` (measured with 2.1.329). So a
/// client may start only a server that the operator has listed.
fn server(
    subtype: &str,
    request: &Value,
    ceiling: &AnswerCeiling,
) -> Result<Map<String, Value>, ControlFault> {
    let members = simple(subtype, request)?;
    let name = members.get("serverName").and_then(Value::as_str);
    let is_listed = |name| ceiling.http_servers.iter().any(|server| server == name);
    let turns_off = subtype == "mcp_toggle" && members.get("enabled") == Some(&Value::Bool(false));
    if turns_off || name.is_none_or(is_listed) {
        return Ok(members);
    }
    Err(ControlFault::not_allowed(format!(
        "asks for {subtype} of {:?}, which is no MCP server that the CLI reaches over HTTP",
        name.unwrap_or_default()
    )))
}

fn simple(subtype: &str, request: &Value) -> Result<Map<String, Value>, ControlFault> {
    let mut rebuilt = Map::new();
    for (name, kind) in members(subtype) {
        let Some(value) = request.get(*name) else {
            continue;
        };
        let is_good = match kind {
            Kind::Text => value.is_string(),
            Kind::TextOrNull => value.is_string() || value.is_null(),
            Kind::Flag => value.is_boolean(),
            Kind::CountOrNull => value.is_u64() || value.is_null(),
        };
        if !is_good {
            return Err(ControlFault::malformed(format!(
                "has a value of a wrong type for `{name}` of {subtype}"
            )));
        }
        rebuilt.insert((*name).to_owned(), value.clone());
    }
    Ok(rebuilt)
}

#[cfg(test)]
mod tests {
    use protocol::ProblemType;

    use super::*;

    fn check(subtype: &str, request: &Value) -> Result<Value, ProblemType> {
        let ceiling = AnswerCeiling {
            mode: PermissionMode::Default,
            http_servers: vec!["remote".to_owned()],
            ..AnswerCeiling::default()
        };
        rebuild(subtype, request, &ceiling).map_err(|fault| fault.kind)
    }

    #[test]
    fn known_members_pass_and_others_are_left_out() {
        for (subtype, sent) in [
            ("interrupt", json!({"cancel_queued": true})),
            ("set_model", json!({"model": "m"})),
            ("set_model", json!({"model": null})),
            ("set_max_thinking_tokens", json!({"max_thinking_tokens": 5})),
            ("mcp_reconnect", json!({"serverName": "remote"})),
            ("mcp_toggle", json!({"serverName": "s", "enabled": false})),
            ("stop_task", json!({"task_id": "t"})),
            (
                "rewind_files",
                json!({"user_message_id": "u", "dry_run": true}),
            ),
            ("set_permission_mode", json!({"mode": "plan"})),
            ("mcp_status", json!({})),
            ("get_context_usage", json!({})),
            ("end_session", json!({})),
            ("initialize", json!({})),
        ] {
            let mut expected = sent.clone();
            expected["subtype"] = json!(subtype);
            let mut more = sent;
            more["system_prompt"] = json!("x");
            more["servers"] = json!({"a": {"command": "sh"}});
            assert_eq!(check(subtype, &more), Ok(expected), "{subtype}");
        }
    }

    #[test]
    fn a_mode_beyond_the_ceiling_is_refused() {
        for mode in ["plan", "dontAsk", "default"] {
            assert!(check("set_permission_mode", &json!({"mode": mode})).is_ok());
        }
        for mode in [
            "acceptEdits",
            "auto",
            "manual",
            "bypassPermissions",
            "",
            "Default",
        ] {
            let refused = check("set_permission_mode", &json!({"mode": mode}));
            assert_eq!(
                refused,
                Err(ProblemType::ControlRequestNotAllowed),
                "{mode}"
            );
        }
        let missing = check("set_permission_mode", &json!({"mode": ["plan"]}));
        assert_eq!(missing, Err(ProblemType::InvalidBody));
    }

    #[test]
    fn only_a_server_of_the_operators_list_is_started() {
        for subtype in ["mcp_reconnect", "mcp_toggle"] {
            for (name, is_allowed) in [("remote", true), ("evil", false), ("Remote", false)] {
                let request = json!({"serverName": name, "enabled": true});
                let allowed = check(subtype, &request);
                assert_eq!(allowed.is_ok(), is_allowed, "{subtype} {name}: {allowed:?}");
            }
        }
        let off = json!({"serverName": "calc", "enabled": false});
        assert!(check("mcp_toggle", &off).is_ok());
        let refused = check("mcp_reconnect", &off);
        assert_eq!(refused, Err(ProblemType::ControlRequestNotAllowed));
    }

    #[test]
    fn a_member_of_a_wrong_type_is_refused() {
        for (subtype, request) in [
            ("interrupt", json!({"cancel_queued": "yes"})),
            ("set_model", json!({"model": {}})),
            ("mcp_toggle", json!({"enabled": 1})),
            ("stop_task", json!({"task_id": null})),
        ] {
            assert_eq!(
                check(subtype, &request),
                Err(ProblemType::InvalidBody),
                "{subtype}"
            );
        }
    }
}

//! The operator's ceiling over the answers to permission prompts, as it is stored with each
//! execution that asks.

use protocol::body::MCP_PREFIX;
use serde::{Deserialize, Serialize};

use super::permission_mode::PermissionMode;

/// The most that an answer may allow in one execution. It is computed at acceptance and stored with
/// the execution, so later changes of the settings do not affect it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AnswerCeiling {
    /// The entries of the operator's ceiling, such as `Edit` or `Bash(git status)`; `*` for every
    /// tool.
    pub tools: Vec<String>,
    /// The entries of tools that never run, of the operator and of the client.
    pub denied: Vec<String>,
    /// Whether the operator's ceiling for the permission mode is above `plan`, so that a plan may
    /// be accepted.
    pub accepts_plans: bool,
    /// The most permissive mode to which a client may switch.
    #[serde(default)]
    pub mode: PermissionMode,
    /// Whether the client answers the prompts, and may have MCP servers of its own.
    #[serde(default)]
    pub client_answers: bool,
    /// The names of the MCP servers that the CLI reaches over HTTP. The ceiling decides about their
    /// tools. Tools of every other server are the client's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub http_servers: Vec<String>,
}

impl AnswerCeiling {
    /// Returns the names of the tools that the CLI may offer, for its option `--tools`. `None` for
    /// every tool.
    pub(crate) fn offered_tools(&self) -> Option<Vec<String>> {
        if has_tool(&self.tools, "*") {
            return None;
        }
        let mut names: Vec<String> = Vec::new();
        let of_ceiling = self.tools.iter().map(|entry| name(entry));
        for name in of_ceiling
            .chain(TOOLS_WITHOUT_PERMISSION)
            .chain(QUESTION_TOOLS)
        {
            if !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
        Some(names)
    }

    /// Returns whether the tool belongs to an MCP server of the client itself, which needs no
    /// permission of the operator. `tool` is a tool's name or an entry such as `mcp__calc__*`.
    pub(crate) fn is_client_tool(&self, tool: &str) -> bool {
        // A `,` or a blank would end the entry in the CLI's list, and begin another one.
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.*".contains(&byte);
        if !tool.bytes().all(is_name) {
            return false;
        }
        let Some(rest) = tool
            .strip_prefix(MCP_PREFIX)
            .filter(|_| self.client_answers)
        else {
            return false;
        };
        let server = rest.split_once("__").map_or(rest, |(server, _)| server);
        // A `*` could stand for a server that the CLI reaches over HTTP.
        let is_exact = !server.contains('*');
        self.http_servers.is_empty()
            || (is_exact && !self.http_servers.iter().any(|name| name == server))
    }

    /// Returns whether an execution may offer the model the tool with this entry: a tool of the
    /// ceiling, one that needs no permission, or one of the client's own.
    pub(crate) fn may_offer(&self, entry: &str) -> bool {
        let tool = name(entry);
        let is_offered = |tools: Vec<String>| tools.iter().any(|offered| offered == tool);
        self.is_client_tool(tool) || self.offered_tools().is_none_or(is_offered)
    }
}

/// The tools with which the model asks a person.
const QUESTION_TOOLS: [&str; 3] = ["AskUserQuestion", "EnterPlanMode", "ExitPlanMode"];

/// The tools that the CLI runs without a permission in every mode. An execution that does not ask
/// has them too. A use of them that needs a permission, such as a file elsewhere, is denied without
/// a question unless the ceiling has the tool.
const TOOLS_WITHOUT_PERMISSION: [&str; 5] = ["Glob", "Grep", "Read", "Task", "TodoWrite"];

/// Returns the name of the tool in an entry such as `Bash(git status)`.
pub(super) fn name(entry: &str) -> &str {
    entry.split_once('(').map_or(entry, |(name, _)| name)
}

/// Returns whether an entry of the list is the whole tool.
pub(crate) fn has_tool(list: &[String], tool: &str) -> bool {
    list.iter().any(|entry| entry == tool)
}

/// Returns whether an entry of the list is a rule about some uses of the tool.
pub(crate) fn has_rule(list: &[String], tool: &str) -> bool {
    !rules(list, tool).is_empty()
}

/// Returns the entries of the list that are rules about some uses of the tool.
pub(crate) fn rules<'l>(list: &'l [String], tool: &str) -> Vec<&'l str> {
    let entries = list.iter().map(String::as_str);
    entries
        .filter(|entry| *entry != tool && name(entry) == tool)
        .collect()
}

/// Returns whether an entry of the list is a rule about some uses of any tool.
pub(crate) fn has_any_rule(list: &[String]) -> bool {
    list.iter().any(|entry| entry.contains('('))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ceiling(tools: &[&str]) -> AnswerCeiling {
        AnswerCeiling {
            tools: tools.iter().map(ToString::to_string).collect(),
            ..AnswerCeiling::default()
        }
    }

    #[test]
    fn the_cli_offers_the_tools_of_the_ceiling_and_those_that_need_no_permission() {
        assert_eq!(ceiling(&["*"]).offered_tools(), None);
        let tools = ceiling(&["Bash(ls)", "Bash(cat)", "Read"])
            .offered_tools()
            .unwrap();
        assert_eq!(tools.iter().filter(|tool| *tool == "Bash").count(), 1);
        assert_eq!(tools.iter().filter(|tool| *tool == "Read").count(), 1);
        assert!(tools.contains(&"AskUserQuestion".to_owned()));
        assert!(!tools.contains(&"Write".to_owned()));
    }

    #[test]
    fn only_the_name_of_one_tool_is_a_tool_of_the_client() {
        let client = |http: &[&str]| AnswerCeiling {
            client_answers: true,
            http_servers: http.iter().map(ToString::to_string).collect(),
            ..AnswerCeiling::default()
        };
        for tool in ["mcp__calc__add", "mcp__calc", "mcp__calc__*"] {
            assert!(client(&[]).is_client_tool(tool), "{tool}");
            assert!(client(&["remote"]).is_client_tool(tool), "{tool}");
            assert!(!AnswerCeiling::default().is_client_tool(tool), "{tool}");
        }
        for tool in [
            "Bash",
            "mcp__remote__make",
            "mcp__remote",
            "mcp__*",
            "mcp__r*__make",
            "mcp__calc__add,Bash",
            "mcp__calc__add Bash",
            "mcp__calc__add(x)",
            "mcp__calc__a,mcp__remote__make",
        ] {
            assert!(!client(&["remote"]).is_client_tool(tool), "{tool}");
        }
        assert!(!client(&[]).is_client_tool("mcp__x Read(//**)"));
    }
}

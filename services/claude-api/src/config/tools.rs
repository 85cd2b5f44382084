//! Settings for the CLI's tools, such as `Bash` and `Edit`: the defaults of an execution, and the
//! most that a client may allow.

use std::collections::BTreeMap;

use clap::{Args, ValueEnum};
use protocol::Body;
use protocol::PermissionPrompts;
use protocol::body::MCP_PREFIX;
use serde::{Deserialize, Serialize};

use super::cli_options::parse_servers;
use super::{AnswerCeiling, PermissionMode};

/// Who may be asked about permissions, as the operator allows. Each value includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, ValueEnum)]
pub enum PromptsCeiling {
    /// Nobody is asked
    Deny,
    /// Executions with `"permissionPrompts": "ask"` ask a person
    Ask,
    /// Executions with `"permissionPrompts": "client"` ask the program that sends their input
    #[default]
    Client,
}

impl PromptsCeiling {
    /// Returns whether clients may request this treatment of prompts.
    fn allows(self, prompts: PermissionPrompts) -> bool {
        let needed = match prompts {
            PermissionPrompts::Deny => Self::Deny,
            PermissionPrompts::Ask => Self::Ask,
            PermissionPrompts::Client => Self::Client,
        };
        needed <= self
    }

    /// Returns the value as the flag spells it.
    fn as_str(self) -> &'static str {
        match self {
            Self::Deny => "deny",
            Self::Ask => "ask",
            Self::Client => "client",
        }
    }
}

/// The flags for tools.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Tools")]
pub struct ToolArgs {
    /// Permission mode of executions that do not set one
    #[arg(
        long,
        env = "CLAUDE_API_PERMISSION_MODE",
        value_enum,
        default_value = "dontAsk"
    )]
    pub permission_mode: PermissionMode,
    /// Most permissive mode that a client may set (default: --permission-mode)
    #[arg(long, env = "CLAUDE_API_PERMISSION_CEILING", value_enum)]
    pub permission_ceiling: Option<PermissionMode>,
    /// Tools that run without asking for permission, separated by commas, like
    /// `Bash(git status),Edit` (default: none)
    #[arg(long, env = "CLAUDE_API_ALLOWED_TOOLS", default_value = "")]
    pub allowed_tools: String,
    /// Tools that clients, and people who answer questions, may allow, separated by commas; `*` for
    /// every tool (default: --allowed-tools)
    #[arg(long, env = "CLAUDE_API_TOOLS_CEILING")]
    pub tools_ceiling: Option<String>,
    /// Tools that never run, separated by commas
    #[arg(long, env = "CLAUDE_API_DISALLOWED_TOOLS", default_value = "")]
    pub disallowed_tools: String,
    /// Who may be asked about permissions if a client requests it
    #[arg(
        long,
        env = "CLAUDE_API_PERMISSION_PROMPTS",
        value_enum,
        default_value = "client"
    )]
    pub permission_prompts: PromptsCeiling,
    /// MCP servers that clients may have the CLI connect to, each as `NAME=URL`, separated by
    /// commas; clients must use the same name and URL (default: none)
    #[arg(long, env = "CLAUDE_API_ALLOWED_MCP_SERVERS", default_value = "")]
    pub allowed_mcp_servers: String,
}

/// The operator's rules for the CLI's tools: the permissions of an execution that sets none, and
/// the ceiling, the most that a client may allow in its request.
#[derive(Debug, Clone, Default)]
pub struct ToolPolicy {
    /// The permission mode of executions that do not set one.
    mode: PermissionMode,
    /// The most permissive mode that a client may set.
    ceiling: PermissionMode,
    /// The tools that run without asking for permission in executions that do not list any.
    allowed: Vec<String>,
    /// The tools that a client may allow; an entry `*` permits every tool.
    tools_ceiling: Vec<String>,
    /// The tools that never run in any execution.
    disallowed: Vec<String>,
    /// Who may be asked about permissions.
    prompts: PromptsCeiling,
    /// The MCP servers that clients may have the CLI connect to: the URLs by name. The operator
    /// chooses the names, because the ceiling names tools by them.
    mcp_servers: BTreeMap<String, String>,
}

/// The permissions of the CLI's tools in one execution. They are computed once, when the execution
/// is accepted, so later changes of the settings do not affect it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Permissions {
    /// The value of the CLI's `--permission-mode`, such as `dontAsk`.
    pub mode: String,
    /// The tools that run without asking for permission: the values of the CLI's `--allowedTools`.
    pub allowed: Vec<String>,
    /// The tools that never run: the values of the CLI's `--disallowedTools`. The operator's are
    /// always among them.
    pub disallowed: Vec<String>,
    /// The most that answers may allow, if the execution asks. `None` if nobody is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answers: Option<AnswerCeiling>,
}

impl Permissions {
    /// Returns whether the CLI may run every shell command without being asked about it: the tool
    /// Bash is allowed, or the client that answers the prompts may allow it.
    pub(crate) fn allow_every_command(&self) -> bool {
        let client = self
            .answers
            .as_ref()
            .filter(|answers| answers.client_answers);
        let is_whole = |entry: &String| entry == "Bash" || entry == "*";
        // The mode `plan` allows no command, whatever tools are allowed.
        let plan = PermissionMode::Plan;
        if self.mode == plan.as_str() || client.is_some_and(|client| client.mode == plan) {
            return false;
        }
        self.mode == PermissionMode::BypassPermissions.as_str()
            || self.allowed.iter().any(is_whole)
            || client.is_some_and(|client| client.tools.iter().any(is_whole))
    }
}

impl ToolPolicy {
    /// Checks the operator's flags for tools. Returns all mistakes, one text each: a malformed
    /// tool, a tool of an MCP server (there are none), or a ceiling below the default mode.
    pub(super) fn check(args: &ToolArgs) -> Result<Self, Vec<String>> {
        let mut mistakes = Vec::new();
        let mut mcp_mistakes = Vec::new();
        let mut list = |flag: &str, text: &str| -> Vec<String> {
            let entries = split_entries(text);
            for entry in entries
                .iter()
                .filter(|e| *e != "*" && tool_name(e).is_none())
            {
                mistakes.push(format!(
                    "{flag} has {entry:?}, which is no tool; write Name or Name(rule)"
                ));
            }
            entries
        };
        let allowed = list("--allowed-tools", &args.allowed_tools);
        let mcp_servers = match parse_servers(&split_entries(&args.allowed_mcp_servers)) {
            Ok(servers) => servers,
            Err(faulty) => {
                mcp_mistakes.extend(faulty);
                BTreeMap::new()
            }
        };
        let has_servers = !args.allowed_mcp_servers.trim().is_empty();
        let ceiling_text = args.tools_ceiling.as_deref().unwrap_or_default();
        for (flag, text) in [
            ("--allowed-tools", args.allowed_tools.as_str()),
            ("--tools-ceiling", ceiling_text),
        ] {
            let entries = split_entries(text).into_iter();
            let is_useless = |e: &String| e.starts_with(MCP_PREFIX) && !has_servers;
            for entry in entries.filter(is_useless) {
                mcp_mistakes.push(format!(
                    "{flag} has {entry:?}, a tool of an MCP server, and there are no MCP servers; \
                     leave it out, or set --allowed-mcp-servers"
                ));
            }
        }
        let disallowed = list("--disallowed-tools", &args.disallowed_tools);
        let tools_ceiling = match &args.tools_ceiling {
            Some(text) => list("--tools-ceiling", text),
            None => allowed.clone(),
        };
        mistakes.extend(mcp_mistakes);
        let ceiling = args.permission_ceiling.unwrap_or(args.permission_mode);
        if ceiling < args.permission_mode {
            mistakes.push(format!(
                "--permission-ceiling {} is below --permission-mode {}; raise the ceiling",
                ceiling.as_str(),
                args.permission_mode.as_str()
            ));
        }
        if mistakes.is_empty() {
            Ok(Self {
                mode: args.permission_mode,
                ceiling,
                allowed,
                tools_ceiling,
                disallowed,
                prompts: args.permission_prompts,
                mcp_servers,
            })
        } else {
            Err(mistakes)
        }
    }

    /// Computes the permissions of an execution: the values in the client's `body`, and the
    /// operator's defaults where the body sets none. Disallowed tools of both are combined.
    ///
    /// # Errors
    /// The body asks for a mode or a tool beyond the operator's ceiling, or an entry is malformed.
    /// The text is for the client.
    pub fn resolve(&self, body: &Body) -> Result<Permissions, String> {
        let asks = body.permission_prompts != PermissionPrompts::Deny;
        if !self.prompts.allows(body.permission_prompts) {
            return Err(format!(
                "permissionPrompts {:?} is not allowed here; the operator allows {:?}",
                body.permission_prompts.as_str(),
                self.prompts.as_str()
            ));
        }
        let ceiling = self.mode_ceiling(body);
        let mode = match body.permission_mode.as_deref() {
            None if asks => ceiling.min(PermissionMode::Default),
            None => self.mode,
            Some(name) => PermissionMode::parse(name)
                .filter(|mode| *mode <= ceiling)
                .ok_or_else(|| {
                    format!(
                        "permissionMode {name:?} is not allowed here; the most is {:?}",
                        ceiling.as_str()
                    )
                })?,
        };
        let mut answers = self.answer_ceiling(body);
        let allowed = match &body.allowed_tools {
            // Otherwise the model would not have to ask.
            None if asks => Vec::new(),
            None => self.allowed.clone(),
            Some(tools) => {
                let own = asks.then_some(&answers);
                for tool in tools {
                    if tool_name(tool).is_none()
                        || !own.is_some_and(|ceiling| ceiling.is_client_tool(tool))
                    {
                        self.check_tool(tool)?;
                    }
                }
                tools.clone()
            }
        };
        let mut disallowed = self.disallowed.clone();
        for tool in body.disallowed_tools.iter().flatten() {
            if tool_name(tool).is_none() {
                return Err(format!(
                    "disallowedTools has {tool:?}, which is no tool; write Name or Name(rule)"
                ));
            }
            disallowed.push(tool.clone());
        }
        if let Some(tool) = body.tools.iter().flatten().find(|tool| {
            let is_tool = tool_name(tool) == Some(tool.as_str());
            !is_tool || !answers.may_offer(tool)
        }) {
            return Err(format!(
                "tools has {tool:?}, which is not allowed here; the operator allows: {}",
                self.shown_tools()
            ));
        }
        answers.denied.clone_from(&disallowed);
        Ok(Permissions {
            mode: mode.as_str().to_owned(),
            allowed,
            disallowed,
            answers: asks.then_some(answers),
        })
    }

    /// Returns the most permissive mode that this body may set.
    fn mode_ceiling(&self, body: &Body) -> PermissionMode {
        let asks = body.permission_prompts != PermissionPrompts::Deny;
        match self.ceiling {
            // In the mode `default`, a person or the client decides what `dontAsk` would deny,
            // within the same ceiling of tools.
            PermissionMode::DontAsk if asks => PermissionMode::Default,
            ceiling => ceiling,
        }
    }

    /// Returns the most that an answer may allow in an execution of this body, without the tools
    /// that the body itself disallows.
    pub(super) fn answer_ceiling(&self, body: &Body) -> AnswerCeiling {
        let mode = self.mode_ceiling(body);
        AnswerCeiling {
            tools: self.tools_ceiling.clone(),
            denied: self.disallowed.clone(),
            accepts_plans: mode > PermissionMode::Plan,
            mode,
            client_answers: body.permission_prompts == PermissionPrompts::Client,
            http_servers: http_servers(body),
        }
    }

    /// Returns the MCP servers that clients may have the CLI connect to: the URLs by name.
    pub(super) fn mcp_servers(&self) -> &BTreeMap<String, String> {
        &self.mcp_servers
    }

    /// Returns the operator's list of tools, for an error message.
    fn shown_tools(&self) -> String {
        if self.tools_ceiling.is_empty() {
            "none".to_owned()
        } else {
            self.tools_ceiling.join(", ")
        }
    }

    /// Checks that the ceiling allows a tool that a client wants to allow. A client may narrow an
    /// entry of the ceiling (`Bash(git status)` if the ceiling has `Bash`), but never widen one.
    /// Fails with a text for the client, also for a malformed entry.
    fn check_tool(&self, tool: &str) -> Result<(), String> {
        let name = tool_name(tool).ok_or_else(|| {
            format!("allowedTools has {tool:?}, which is no tool; write Name or Name(rule)")
        })?;
        let within = |entry: &String| entry == "*" || entry == tool || entry == name;
        if self.tools_ceiling.iter().any(within) {
            Ok(())
        } else {
            Err(format!(
                "allowedTools: {tool:?} is not allowed here; the operator allows: {}",
                self.shown_tools()
            ))
        }
    }
}

/// Returns the names of the MCP servers in the body that the CLI reaches over HTTP.
fn http_servers(body: &Body) -> Vec<String> {
    let servers = body.mcp_servers.iter().flatten();
    let http = servers.filter(|(_, server)| server.get("type").is_some_and(|kind| kind != "sdk"));
    http.map(|(name, _)| name.clone()).collect()
}

/// Returns the name of the tool in an entry of the form `Name` or `Name(rule)`; `None` for any
/// other text. The check is strict, because the CLI splits its list of tools at commas and spaces
/// outside parentheses: a looser check would let a client append a second tool to an allowed one.
pub(super) fn tool_name(entry: &str) -> Option<&str> {
    let (name, rule) = match entry.split_once('(') {
        None => (entry, None),
        Some((name, rest)) => (name, Some(rest.strip_suffix(')')?)),
    };
    let good_name = !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_-.*".contains(&b))
        && !name.starts_with('-')
        && name != "*";
    let good_rule = rule
        .is_none_or(|r| !r.is_empty() && !r.chars().any(|c| "()\\".contains(c) || c.is_control()));
    (good_name && good_rule).then_some(name)
}

/// Splits a list of tools at the commas outside parentheses, and trims the entries. Empty entries
/// are left out.
fn split_entries(text: &str) -> Vec<String> {
    let mut depth = 0_i32;
    text.split(|c| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        c == ',' && depth == 0
    })
    .map(|entry| entry.trim().to_owned())
    .filter(|entry| !entry.is_empty())
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(mode: PermissionMode, allowed: &str, ceiling: Option<&str>) -> ToolPolicy {
        ToolPolicy::check(&ToolArgs {
            permission_mode: mode,
            permission_ceiling: None,
            allowed_tools: allowed.into(),
            tools_ceiling: ceiling.map(Into::into),
            disallowed_tools: "WebFetch".into(),
            permission_prompts: PromptsCeiling::Client,
            allowed_mcp_servers: String::new(),
        })
        .unwrap()
    }

    fn body(tools: &[&str]) -> Body {
        Body {
            allowed_tools: Some(tools.iter().map(ToString::to_string).collect()),
            ..Body::new("x")
        }
    }

    #[test]
    fn a_body_without_tools_gets_the_operators_defaults() {
        let permissions = policy(PermissionMode::DontAsk, "Bash(git log, -1),Edit", None)
            .resolve(&Body::new("x"));
        assert_eq!(
            permissions.unwrap(),
            Permissions {
                mode: "dontAsk".into(),
                allowed: vec!["Bash(git log, -1)".into(), "Edit".into()],
                disallowed: vec!["WebFetch".into()],
                answers: None,
            }
        );
    }

    #[test]
    fn a_client_may_narrow_the_ceiling_but_not_widen_it() {
        let policy = policy(PermissionMode::DontAsk, "Bash,Edit", None);
        assert!(policy.resolve(&body(&["Bash(git status)", "Edit"])).is_ok());
        assert!(policy.resolve(&body(&[])).is_ok());
        for tools in [
            &["Write"][..],
            &["Bash,Write"],
            &["Bash Write"],
            &["Bash(x),Write"],
            &["Bash(x) Write(y)"],
            &["--dangerously-skip-permissions"],
            &["*"],
            &["Bash(x"],
            &["Bash()"],
            &[""],
        ] {
            assert!(policy.resolve(&body(tools)).is_err(), "{tools:?}");
        }
        let mut more = Body::new("x");
        more.permission_mode = Some("bypassPermissions".into());
        assert!(policy.resolve(&more).is_err());
        more.permission_mode = Some("plan".into());
        assert_eq!(policy.resolve(&more).unwrap().mode, "plan");
        more.permission_mode = Some("plan --x".into());
        assert!(policy.resolve(&more).is_err());
    }

    #[test]
    fn a_rule_in_the_ceiling_allows_only_itself() {
        let policy = policy(
            PermissionMode::DontAsk,
            "",
            Some("Bash(git status),WebFetch"),
        );
        assert!(
            policy
                .resolve(&body(&["Bash(git status)", "WebFetch"]))
                .is_ok()
        );
        assert!(policy.resolve(&body(&["Bash(git push)"])).is_err());
        assert!(policy.resolve(&body(&["Bash"])).is_err());
    }

    #[test]
    fn an_execution_that_asks_allows_nothing_by_itself() {
        let policy = policy(PermissionMode::DontAsk, "Bash,Edit", None);
        let asks = |mode: Option<&str>| {
            policy.resolve(&Body {
                permission_prompts: PermissionPrompts::Ask,
                permission_mode: mode.map(Into::into),
                ..Body::new("x")
            })
        };
        let permissions = asks(None).unwrap();
        assert_eq!(permissions.mode, "default");
        assert!(permissions.allowed.is_empty());
        let answers = permissions.answers.unwrap();
        assert_eq!(answers.tools, ["Bash", "Edit"]);
        assert_eq!(answers.denied, ["WebFetch"]);
        assert!(answers.accepts_plans);
        assert_eq!(asks(Some("plan")).unwrap().mode, "plan");
        assert!(asks(Some("acceptEdits")).is_err());
    }

    #[test]
    fn nobody_is_asked_if_the_operator_does_not_allow_it() {
        let mut policy = policy(PermissionMode::Plan, "Bash", None);
        let body = Body {
            permission_prompts: PermissionPrompts::Ask,
            ..Body::new("x")
        };
        let permissions = policy.resolve(&body).unwrap();
        assert_eq!(permissions.mode, "plan", "the ceiling plan stays");
        assert!(!permissions.answers.unwrap().accepts_plans);
        policy.prompts = PromptsCeiling::Deny;
        assert!(policy.resolve(&body).unwrap_err().contains("deny"));
    }
}

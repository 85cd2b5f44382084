//! The execution that the arguments and the environment of `ccb-claude` describe.

use protocol::message::ExecuteParams;
use protocol::rpc::OnDisconnect;
use protocol::{
    Body, BodyError, ExecutionId, Format, InputMode, Limits, PermissionPrompts, PromptMode,
    Thinking,
};
use serde_json::Value;

use super::arguments::Argument;
use super::environment::{Environment, resolve};
use super::flags::Meaning;
use super::values;

/// The permission mode that permits every tool.
const BYPASS: &str = "bypassPermissions";
/// The name of the only supported format of stdin and stdout.
const STREAM_JSON: &str = "stream-json";

/// The execution to run, and the steps before it.
#[derive(Debug)]
pub(super) struct Launch {
    pub(super) execute: ExecuteParams,
    /// Whether the newest conversation of the workspace is continued. Its id is only known once a
    /// connection to the bridge exists.
    pub(super) continues_newest: bool,
    /// Sentences for stderr.
    pub(super) warnings: Vec<String>,
}

impl Launch {
    /// Creates the execution. Reads the files that arguments name.
    ///
    /// # Errors
    /// An argument has a wrong value, does not work with this service, or lacks another argument.
    /// The text is one sentence for people, which names the flag.
    pub(super) fn new(arguments: &[Argument], environment: &Environment) -> Result<Self, String> {
        let mut body = Body::new("");
        body.format = Format::Events;
        body.input = InputMode::Stream;
        body.permission_prompts = PermissionPrompts::Client;
        // A message can switch commands off for itself, by `client_composed`.
        body.prompt_mode = PromptMode::Commands;
        body.include_partial_messages = false;
        let workspace = environment.workspaces.workspace_of(&environment.folder)?;
        workspace.clone_into(&mut body.workspace);
        body.sdk_env.clone_from(&environment.sdk);
        body.metadata.insert("client".into(), "ccb-claude".into());
        // Two processes with equal arguments have different bodies. So a used --session-id is
        // refused, as the CLI refuses it, and no process feeds the execution of another one.
        body.metadata
            .insert("start".into(), ExecutionId::random().to_string());
        if let Some(trace) = &environment.trace {
            body.set_trace(trace);
        }
        let mut execute = ExecuteParams::body(body);
        execute.on_disconnect = if environment.keeps {
            OnDisconnect::Continue
        } else {
            OnDisconnect::Cancel
        };
        let mut launch = Self {
            execute,
            continues_newest: false,
            warnings: Vec::new(),
        };
        for argument in arguments {
            launch.apply(argument, environment)?;
        }
        for name in ["--input-format", "--output-format"] {
            if !arguments.iter().any(|argument| argument.name() == name) {
                return Err(format!(
                    "{name} {STREAM_JSON} is missing, and no other format is supported; add it, or \
                     run one prompt with: ccb exec \"PROMPT\""
                ));
            }
        }
        let has_conversation = launch.execute.body.conversation.is_some();
        if launch.continues_newest && has_conversation {
            return Err("--continue and --resume exclude each other; give one of them".into());
        }
        if !launch.continues_newest {
            launch.check()?;
        }
        Ok(launch)
    }

    /// Checks the execution as the service does. The limits that an operator can change are left to
    /// the service.
    ///
    /// # Errors
    /// A field of the body has a wrong value, or needs another one.
    pub(super) fn check(&self) -> Result<(), String> {
        let body = &self.execute.body;
        if body.conversation.is_none() {
            for (flag, is_given) in [
                ("--fork-session", body.fork_conversation),
                ("--resume-session-at", body.resume_at.is_some()),
                ("--resume-drops-turn", body.resume_drops_turn.is_some()),
            ] {
                if is_given {
                    return Err(format!("{flag} needs a conversation; add --resume=UUID"));
                }
            }
        }
        let unlimited = Limits {
            prompt_bytes: u64::MAX,
            system_prompt_bytes: u64::MAX,
            ..Limits::default()
        };
        body.check(&unlimited).map_err(|error| match error {
            // Only the environment names a workspace.
            BodyError::Field {
                field: "workspace",
                mistake,
            } => {
                format!("CCB_MAP: the workspace {:?} {mistake}", body.workspace)
            }
            other => other.to_string(),
        })
    }

    fn apply(&mut self, argument: &Argument, environment: &Environment) -> Result<(), String> {
        let (name, text) = (argument.name(), argument.text());
        let body = &mut self.execute.body;
        match argument.flag.meaning {
            // The caller prints the help and the version.
            Meaning::Help | Meaning::Version | Meaning::Nothing => {}
            Meaning::Refused(advice) => {
                return Err(format!("{name} {text:?} is not supported: {advice}"));
            }
            Meaning::StreamJson => expect(name, text, STREAM_JSON)?,
            Meaning::Text(field) => *field(body) = Some(text.to_owned()),
            Meaning::TextFile(field) => *field(body) = Some(values::file(name, text)?),
            Meaning::Switch(field) => *field(body) = true,
            Meaning::Integer(field) => *field(body) = Some(values::number(name, text)?),
            Meaning::List(field) => {
                let list = field(body).get_or_insert_default();
                list.extend(values::list(text));
            }
            Meaning::Object(field) => *field(body) = Some(values::object(name, text)?),
            Meaning::BuiltInTools => {
                if text.trim() != "default" {
                    let tools = body.tools.get_or_insert_default();
                    tools.extend(values::list(text));
                }
            }
            Meaning::McpServers => {
                let mut config = values::object(name, text)?;
                let Some(Value::Object(servers)) = config.remove("mcpServers") else {
                    return Err(format!(
                        "{name} has no object \"mcpServers\"; put the servers under that member"
                    ));
                };
                body.mcp_servers.get_or_insert_default().extend(servers);
            }
            Meaning::TaskBudget => body.task_budget = Some(values::number(name, text)?),
            Meaning::BudgetUsd => body.max_budget_usd = Some(values::number(name, text)?),
            Meaning::Thinking => {
                body.thinking = Some(match text {
                    "adaptive" => Thinking::Adaptive,
                    "disabled" => Thinking::Disabled,
                    _ => {
                        return Err(format!("{name} is {text:?}; give adaptive or disabled"));
                    }
                });
            }
            Meaning::PromptTool => expect(name, text, "stdio")?,
            Meaning::SkipPermissions => body.permission_mode = Some(BYPASS.to_owned()),
            Meaning::SessionId => self.execute.execution_id = Some(id(name, text)?),
            Meaning::Resume => body.conversation = Some(id(name, text)?),
            Meaning::Continue => self.continues_newest = true,
            Meaning::SettingSources => {
                if values::list(text).any(|source| source != "user") {
                    self.warnings.push(format!(
                        "{name} {text:?} has no effect: the operator of the service decides which \
                         settings files the CLI reads"
                    ));
                }
            }
            Meaning::AddDir => add_folder(name, text, environment)?,
        }
        Ok(())
    }
}

/// Checks that a flag has the only supported value.
fn expect(flag: &str, text: &str, supported: &str) -> Result<(), String> {
    if text == supported {
        return Ok(());
    }
    let advice = if supported == STREAM_JSON {
        ", or run one prompt with: ccb exec \"PROMPT\""
    } else {
        ""
    };
    Err(format!(
        "{flag} {text:?} is not supported; give {flag} {supported}{advice}"
    ))
}

fn id(flag: &str, text: &str) -> Result<ExecutionId, String> {
    text.parse().map_err(|_| {
        format!(
            "{flag} {text:?} is not a UUID; {}",
            if flag == "--session-id" {
                "give a new UUID, or omit the flag"
            } else {
                "give the session_id of an earlier result (the service knows no titles, and has no \
                 picker)"
            }
        )
    })
}

/// Checks that a further folder belongs to the execution's workspace, so that nothing
/// else is needed.
fn add_folder(flag: &str, text: &str, environment: &Environment) -> Result<(), String> {
    let Environment {
        workspaces, folder, ..
    } = environment;
    let added = resolve(&folder.join(text));
    if workspaces.is_same_workspace(folder, &added) {
        return Ok(());
    }
    Err(format!(
        "{flag} {text:?} is not in the workspace of the working directory, and an execution has \
         only one workspace; remove the flag, or map the folder to the same workspace in CCB_MAP"
    ))
}

#[cfg(test)]
mod tests;

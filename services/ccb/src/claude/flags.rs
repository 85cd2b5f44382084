//! The flags of the Claude CLI that `ccb-claude` knows, and the meaning of each.

use protocol::Body;
use serde_json::{Map, Value};

/// The values that follow a flag, as the Claude CLI declares them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    /// The flag has no value.
    Nothing,
    /// The flag has exactly one value, which may begin with a dash.
    Value,
    /// The flag has at most one value. The next argument is the value unless it begins with a dash.
    OptionalValue,
    /// The flag has one value, and each further argument without a leading dash is one more.
    Values,
}

/// The meaning of a flag. A function selects the field of the body that the flag sets.
#[derive(Debug, Clone, Copy)]
pub(super) enum Meaning {
    /// Prints the help and exits.
    Help,
    /// Prints the version and exits.
    Version,
    /// The flag is accepted and changes nothing, because executions always work this way.
    Nothing,
    /// The flag is refused, with this advice.
    Refused(&'static str),
    /// The format of stdin or stdout, which must be `stream-json`.
    StreamJson,
    /// A text.
    Text(fn(&mut Body) -> &mut Option<String>),
    /// A file on this machine whose content is the text.
    TextFile(fn(&mut Body) -> &mut Option<String>),
    /// A switch, which is on if the flag is given.
    Switch(fn(&mut Body) -> &mut bool),
    /// An integer of 32 bits.
    Integer(fn(&mut Body) -> &mut Option<u32>),
    /// A list, separated by commas and white space outside parentheses.
    List(fn(&mut Body) -> &mut Option<Vec<String>>),
    /// A JSON object, or a file on this machine with one.
    Object(fn(&mut Body) -> &mut Option<Map<String, Value>>),
    /// The built-in tools, as a list. `default` is the default of the CLI.
    BuiltInTools,
    /// A JSON object or a file with MCP servers under `mcpServers`.
    McpServers,
    /// The number of tokens that a task may use.
    TaskBudget,
    /// The maximum cost in US dollars.
    BudgetUsd,
    /// Whether the model thinks.
    Thinking,
    /// The tool that answers permission prompts, which must be `stdio`.
    PromptTool,
    /// The permission mode `bypassPermissions`.
    SkipPermissions,
    /// The id of the new conversation, which becomes the id of the execution.
    SessionId,
    /// The conversation to continue.
    Resume,
    /// The newest conversation of the workspace is continued.
    Continue,
    /// The settings files that the CLI reads, which the operator decides.
    SettingSources,
    /// A further folder, which must belong to the same workspace.
    AddDir,
}

/// A flag with its names and its meaning.
#[derive(Debug)]
pub(super) struct Flag {
    /// The names with their dashes. The first one is the usual name.
    pub(super) names: &'static [&'static str],
    pub(super) takes: Takes,
    pub(super) meaning: Meaning,
}

const fn flag(names: &'static [&'static str], takes: Takes, meaning: Meaning) -> Flag {
    Flag {
        names,
        takes,
        meaning,
    }
}

/// The advice for `--plugin-dir`.
const NO_PLUGINS: &str =
    "the service cannot load plugins of this machine; remove the flag and the SDK's option plugins";

/// Every flag that `ccb-claude` knows. The Claude CLI has more; each other flag is an error.
pub(super) const FLAGS: &[Flag] = {
    use Meaning as M;
    use Takes::{Nothing, OptionalValue, Value, Values};
    &[
        flag(&["--help", "-h"], Nothing, M::Help),
        flag(&["--version", "-v"], Nothing, M::Version),
        flag(&["--print", "-p"], Nothing, M::Nothing),
        flag(&["--verbose"], Nothing, M::Nothing),
        flag(&["--debug", "-d"], OptionalValue, M::Nothing),
        flag(&["--debug-to-stderr"], Nothing, M::Nothing),
        flag(&["--debug-file"], Value, M::Nothing),
        flag(&["--output-format"], Value, M::StreamJson),
        flag(&["--input-format"], Value, M::StreamJson),
        flag(
            &["--system-prompt"],
            Value,
            M::Text(|b| &mut b.system_prompt),
        ),
        flag(
            &["--system-prompt-file"],
            Value,
            M::TextFile(|b| &mut b.system_prompt),
        ),
        flag(
            &["--append-system-prompt"],
            Value,
            M::Text(|b| &mut b.append_system_prompt),
        ),
        flag(
            &["--append-system-prompt-file"],
            Value,
            M::TextFile(|b| &mut b.append_system_prompt),
        ),
        flag(&["--model"], Value, M::Text(|b| &mut b.model)),
        flag(
            &["--fallback-model"],
            Value,
            M::Text(|b| &mut b.fallback_model),
        ),
        flag(&["--betas"], Values, M::List(|b| &mut b.betas)),
        flag(&["--effort"], Value, M::Text(|b| &mut b.effort)),
        flag(&["--thinking"], Value, M::Thinking),
        flag(
            &["--thinking-display"],
            Value,
            M::Text(|b| &mut b.thinking_display),
        ),
        flag(
            &["--max-thinking-tokens"],
            Value,
            M::Integer(|b| &mut b.max_thinking_tokens),
        ),
        flag(&["--max-turns"], Value, M::Integer(|b| &mut b.max_turns)),
        flag(&["--max-budget-usd"], Value, M::BudgetUsd),
        flag(&["--task-budget"], Value, M::TaskBudget),
        flag(&["--json-schema"], Value, M::Object(|b| &mut b.json_schema)),
        flag(
            &["--include-partial-messages"],
            Nothing,
            M::Switch(|b| &mut b.include_partial_messages),
        ),
        flag(
            &["--include-hook-events"],
            Nothing,
            M::Switch(|b| &mut b.include_hook_events),
        ),
        flag(
            &["--session-mirror"],
            Nothing,
            M::Switch(|b| &mut b.session_mirror),
        ),
        flag(
            &["--replay-user-messages"],
            Nothing,
            M::Switch(|b| &mut b.replay_user_messages),
        ),
        flag(&["--tools"], Values, M::BuiltInTools),
        flag(
            &["--allowedTools", "--allowed-tools"],
            Values,
            M::List(|b| &mut b.allowed_tools),
        ),
        flag(
            &["--disallowedTools", "--disallowed-tools"],
            Values,
            M::List(|b| &mut b.disallowed_tools),
        ),
        flag(
            &["--permission-mode"],
            Value,
            M::Text(|b| &mut b.permission_mode),
        ),
        flag(&["--permission-prompt-tool"], Value, M::PromptTool),
        flag(
            &["--dangerously-skip-permissions"],
            Nothing,
            M::SkipPermissions,
        ),
        // Only permits a later switch to that mode, which the operator's ceiling decides.
        flag(
            &["--allow-dangerously-skip-permissions"],
            Nothing,
            M::Nothing,
        ),
        flag(&["--agents"], Value, M::Object(|b| &mut b.agents)),
        flag(&["--settings"], Value, M::Object(|b| &mut b.settings)),
        flag(&["--setting-sources"], Value, M::SettingSources),
        flag(&["--mcp-config"], Values, M::McpServers),
        // An execution has no other MCP servers.
        flag(&["--strict-mcp-config"], Nothing, M::Nothing),
        flag(&["--session-id"], Value, M::SessionId),
        flag(&["--resume", "-r"], OptionalValue, M::Resume),
        flag(&["--continue", "-c"], Nothing, M::Continue),
        flag(
            &["--fork-session"],
            Nothing,
            M::Switch(|b| &mut b.fork_conversation),
        ),
        flag(
            &["--resume-session-at"],
            Value,
            M::Text(|b| &mut b.resume_at),
        ),
        flag(
            &["--resume-drops-turn"],
            Value,
            M::Text(|b| &mut b.resume_drops_turn),
        ),
        flag(&["--add-dir"], Values, M::AddDir),
        flag(&["--plugin-dir"], Value, M::Refused(NO_PLUGINS)),
    ]
};

/// Returns the flag with this name, for example `--model` or `-p`.
pub(super) fn find(name: &str) -> Option<&'static Flag> {
    FLAGS.iter().find(|flag| flag.names.contains(&name))
}

//! The help of `ccb-claude`.

/// The text of `ccb-claude --help`.
pub(super) const HELP: &str = "\
Runs an execution on a cc-bridge service, and speaks like the Claude CLI. Give its path to programs
that start `claude`: cli_path of the Python Agent SDK, pathToClaudeCodeExecutable of the TypeScript
SDK. They then work as before, and the CLI runs on the service.

Usage: ccb-claude --output-format stream-json --input-format stream-json [FLAGS]

Flags, with the meaning that the Claude CLI gives them:
  prompts        --system-prompt, --append-system-prompt, both also with -file; --json-schema
  model          --model, --fallback-model, --betas, --effort, --thinking, --thinking-display,
                 --max-thinking-tokens
  limits         --max-turns, --max-budget-usd, --task-budget
  permissions    --tools, --allowedTools, --disallowedTools, --permission-mode,
                 --permission-prompt-tool stdio, --dangerously-skip-permissions
  settings       --settings, --agents, --mcp-config, --strict-mcp-config, --setting-sources
  conversations  --session-id, --resume, --continue, --fork-session, --resume-session-at,
                 --resume-drops-turn
  output         --include-partial-messages, --include-hook-events, --session-mirror, --verbose
  folders        --add-dir

What differs from a local CLI:
  - The tools run on the service, in a workspace. CCB_MAP says which folder of this machine is which
    workspace. Files are not copied.
  - The operator's limits apply. A request beyond them is refused with a sentence.
  - Files named by --settings, --mcp-config, --agents and --system-prompt-file are read on this
    machine.
  - --resume needs a UUID. --plugin-dir is not supported, nor is a prompt as an argument: use
    ccb exec \"PROMPT\" for one prompt.
  - A lost connection is no error: ccb-claude reconnects and resumes at the exact byte.

Environment:
  CCB_URL            the bridge's address (default ws://127.0.0.1:8003/ws)
  CCB_TOKEN_FILE     the file with the token
  CCB_TOKEN          the token, when no file is named; without both, ~/.config/cc-bridge/token
  CCB_CA             a PEM file with certificates to trust for wss://
  CCB_MAP            folders and their workspaces: /home/me/src=shop:/home/me/docs=docs
                     Without it, the workspace is `default`
  CCB_KEEP           1: the execution continues when ccb-claude is gone
  CCB_START_SECONDS  time in which the execution must start (default 50; the SDKs wait 60)
  TRACEPARENT, TRACESTATE and the variables of the Agent SDK are passed on. Nothing else of the
  environment leaves this machine.

Signals: SIGTERM and SIGINT cancel the execution and wait up to 4 s for its end; a second one exits
immediately.

Exit codes: that of the Claude CLI; 1 for an error of ccb-claude or of the service, with a sentence
on stderr that begins with `cc-bridge:`; 143 after SIGTERM, 130 after SIGINT.
";

//! The commands `ccb exec` and `ccb attach`, which stream the output of an execution to stdout.

mod asker;
mod ctrl_c;
mod stream;
mod terminal;

use std::io::{IsTerminal, Read};

use client::{AttachParams, Client, Error, ExecuteParams, Options};
use protocol::question::{ClosedBy, Decision};
use protocol::rpc::code;
use protocol::{Body, ExecutionId, Limits, PermissionPrompts, TraceContext};
use serde::Deserialize;

use crate::args::{AttachArgs, Common, ExecArgs, OnDisconnect};
use crate::exit::{self, Exit};
use crate::stop::Stop;
use crate::{complain, question, values};

/// The execution whose output is streamed, either a new one (`exec`) or an existing one (`attach`).
pub(crate) enum Task {
    Execute {
        id: ExecutionId,
        execute: Box<ExecuteParams>,
        detach: bool,
        /// Whether questions are asked on the terminal.
        ask: bool,
    },
    Attach {
        attach: AttachParams,
        /// Whether questions are asked on the terminal.
        ask: bool,
    },
}

impl Task {
    /// Creates the task of `ccb exec` from its arguments. Reads the prompt from stdin if there is
    /// no prompt argument. The limits that an operator can change are left to claude-api; all other
    /// rules are checked here.
    ///
    /// # Errors
    /// The prompt cannot be read, or an argument or the prompt is not valid. The text is the
    /// message for the user.
    pub(crate) fn execute(args: ExecArgs) -> Result<Self, String> {
        let detach = args.detach;
        if detach && matches!(args.on_disconnect, OnDisconnect::Cancel) {
            return Err(concat!(
                "--detach exits after the acceptance, and --on-disconnect cancel would then end ",
                "the execution; give only one of them"
            )
            .into());
        }
        let prompt = match args.prompt.as_deref() {
            None | Some("-") => prompt_from_stdin()?,
            Some(prompt) => prompt.to_owned(),
        };
        let mut execute = ExecuteParams::body(body(prompt, &args));
        execute.execution_id = args.id.or(execute.execution_id);
        execute.on_disconnect = args.on_disconnect.into();
        execute.on_slow = args.on_slow.into();
        // The operator may change the size limits; all other rules are the same everywhere.
        let unlimited = Limits {
            prompt_bytes: u64::MAX,
            system_prompt_bytes: u64::MAX,
            ..Limits::default()
        };
        execute.body.check(&unlimited).map_err(|e| e.to_string())?;
        Ok(Self::Execute {
            id: execute.ensure_id(),
            execute: Box::new(execute),
            detach,
            ask: args.ask,
        })
    }

    pub(crate) fn attach(args: &AttachArgs) -> Self {
        Self::Attach {
            attach: AttachParams {
                execution_id: args.id,
                offset: args.offset,
                on_slow: args.on_slow.into(),
            },
            ask: args.ask,
        }
    }

    fn id(&self) -> ExecutionId {
        match self {
            Self::Execute { id, .. } => *id,
            Self::Attach { attach, .. } => attach.execution_id,
        }
    }
}

fn body(prompt: String, args: &ExecArgs) -> Body {
    let mut body = Body::new(prompt);
    body.prompt_mode = args.prompt_mode.into();
    body.format = args.format.into();
    body.lane.clone_from(&args.lane);
    body.model.clone_from(&args.model);
    body.system_prompt.clone_from(&args.system_prompt);
    body.append_system_prompt
        .clone_from(&args.append_system_prompt);
    body.allowed_tools = values::tools(&args.allowed_tools);
    body.disallowed_tools = values::tools(&args.disallowed_tools);
    body.permission_mode.clone_from(&args.permission_mode);
    if args.ask {
        body.permission_prompts = PermissionPrompts::Ask;
    }
    body.question_timeout_seconds = args.question_timeout;
    body.max_turns = args.max_turns;
    body.max_budget_usd = args.max_budget_usd;
    body.conversation = args.conversation;
    if let Some(workspace) = &args.workspace {
        body.workspace.clone_from(workspace);
    }
    body.env = args.env.iter().cloned().collect();
    body.idle_timeout_seconds = args.idle_timeout;
    body.deadline_seconds = args.deadline;
    body.metadata = args.metadata.iter().cloned().collect();
    let traceparent = args.traceparent.as_deref().unwrap_or_default();
    if let Some(trace) = TraceContext::parse(traceparent, args.tracestate.as_deref()) {
        body.set_trace(&trace);
    }
    body.webhook.clone_from(&args.webhook);
    body
}

fn prompt_from_stdin() -> Result<String, String> {
    let mut stdin = std::io::stdin();
    if stdin.is_terminal() {
        complain("type the prompt, then Ctrl-D (or give it as an argument: ccb exec \"prompt\")");
    }
    let mut prompt = Vec::new();
    stdin
        .read_to_end(&mut prompt)
        .map_err(|e| format!("could not read the prompt from stdin: {e}"))?;
    String::from_utf8(prompt).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        format!("the prompt on stdin is not UTF-8 (byte {at}); convert it, for example with iconv")
    })
}

/// Converts the command line options to the settings of the bridge client.
pub(crate) fn options(common: &Common) -> Options {
    Options {
        token: common.access.token.clone(),
        roots: common.access.roots.clone(),
        give_up: common.reconnect_for,
        ..Options::default()
    }
}

/// Connects to the bridge and streams the output of the execution to stdout, until the execution
/// ends, Ctrl-C is pressed, or stdout is closed. Prints an error on stderr, and returns the exit
/// code of `ccb`.
pub(crate) async fn run(task: Task, common: &Common) -> Exit {
    let mut stop = match Stop::new() {
        Ok(stop) => stop,
        Err(error) => {
            complain(&format!("cannot listen for Ctrl-C: {error}"));
            return exit::INTERNAL;
        }
    };
    let options = Options {
        raw: common.json,
        ..options(common)
    };
    let connect = Client::connect(common.url.as_str(), options);
    let client = tokio::select! {
        biased;
        () = stop.next() => return exit::CANCELLED, // no request was sent yet
        client = connect => client,
    };
    let result = match client {
        Ok(client) => stream::stream(client, task, common, stop).await,
        Err(error) => Err(error),
    };
    result.unwrap_or_else(|error| {
        complain(&explain(&error));
        exit::of_error(&error)
    })
}

/// The advice for a missing or wrong token.
const TOKEN_ADVICE: &str = "; give the token with --token-file FILE, CCB_TOKEN_FILE or CCB_TOKEN, \
                            or save it as ~/.config/cc-bridge/token";

/// Returns the message of an error, with advice for the person who called `ccb`.
pub(crate) fn explain(error: &Error) -> String {
    let advice = match error {
        Error::Unreachable { .. } => {
            "; start it with scripts/up, or give its address with --url or CCB_URL"
        }
        Error::Unauthorized { .. } => TOKEN_ADVICE,
        Error::Rpc(e) => match e.code {
            code::NOT_AUTHORISED => TOKEN_ADVICE,
            code::NO_SUCH_EXECUTION => "; `ccb list` shows the known executions",
            code::QUEUE_FULL => "; nothing was recorded; try again later",
            code::TOO_MANY_SESSIONS => "; try again later",
            code::OFFSET_NOT_KEPT => "; omit --offset to get all output that is kept",
            code::WRONG_STATE if e.data["closedBy"].is_string() => {
                return format!("{error}; {}", closing(&e.data));
            }
            code::ID_IN_USE => "; omit --id to get a new id",
            _ => "",
        },
        _ => "",
    };
    format!("{error}{advice}")
}

/// Returns how a question was closed, from the details of an error.
fn closing(data: &serde_json::Value) -> String {
    let Ok(closed_by) = ClosedBy::deserialize(&data["closedBy"]) else {
        return "the question was closed".to_owned();
    };
    let decision = Decision::deserialize(&data["decision"]).ok();
    question::describe_closing(closed_by, decision, data["principal"].as_str())
}

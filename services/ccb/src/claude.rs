//! The program `ccb-claude`. It takes the arguments of the Claude CLI and speaks its stdio
//! (stream-json), for programs that start `claude`, such as the Agent SDKs. It runs one execution
//! on a bridge and relays its streams.
//!
//! - `flags` has the flags of the CLI, and `arguments` the grammar in which they are written.
//! - `environment` has everything else that decides what runs, and `workspaces` the mapping of
//!   folders.
//! - `launch` builds an execution from both. `values` reads values and the files that they name.
//! - `relay` runs it: `input` sends the lines of stdin, and `output` writes stdout. `mirror`
//!   changes the paths of a mirrored transcript, and `outage` reports a lost connection.
//! - `leave` cancels an execution that still runs, and `end` decides the exit code.
//! - `executions` lists other executions, for `--continue` and for the message `server full`.

mod arguments;
mod end;
mod environment;
mod executions;
mod flags;
mod help;
mod input;
mod launch;
mod leave;
mod line;
mod lines;
mod mirror;
mod outage;
mod output;
mod relay;
mod signals;
mod values;
mod workspaces;

use std::io::{self, BufRead, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use client::{Client, Options};
use tokio::time::Instant;

use crate::access::{self, Access};
use crate::terminal_text;
use arguments::Argument;
use environment::Environment;
use flags::Meaning;
use launch::Launch;
use leave::leave;
use mirror::MirrorPaths;
use relay::Relay;
use signals::Signals;

/// The time after which the client no longer tries to reconnect.
const RECONNECT_TIME: Duration = Duration::from_secs(120);

/// The maximum time to wait for the first line of the caller before an early exit.
const FIRST_LINE_TIME: Duration = Duration::from_secs(1);

/// Runs the program with the arguments, the environment and the streams of this process. Returns
/// its exit code.
#[must_use]
pub fn main() -> ExitCode {
    let code = match prepare() {
        Ok(Some((launch, environment, options))) => start(launch, &environment, options),
        Ok(None) => 0,
        Err(mistake) => {
            complain(&mistake);
            wait_for_caller();
            end::FAILED
        }
    };
    ExitCode::from(code)
}

/// Waits for the first line of a program that writes to stdin, for a limited time. An SDK whose
/// first write fails reports that, and not the exit code.
fn wait_for_caller() {
    if io::stdin().is_terminal() {
        return;
    }
    let (sender, receiver) = std::sync::mpsc::channel();
    // The process does not wait for this thread, which may read for ever.
    std::thread::spawn(move || {
        let _ = io::stdin().lock().read_until(b'\n', &mut Vec::new());
        let _ = sender.send(());
    });
    let _ = receiver.recv_timeout(FIRST_LINE_TIME);
}

/// Reads the arguments and the environment. `None` if the arguments only asked for the help or the
/// version, which were printed.
fn prepare() -> Result<Option<(Launch, Environment, Options)>, String> {
    let words = std::env::args_os().skip(1).map(|word| {
        word.into_string().map_err(|word| {
            format!(
                "the argument {} is not UTF-8; correct it",
                word.to_string_lossy()
            )
        })
    });
    let arguments = arguments::parse(words.collect::<Result<Vec<_>, _>>()?)?;
    if let Some(text) = printed(&arguments) {
        // The reader may have closed the pipe, as `head` does.
        let _ = io::stdout().write_all(text.as_bytes());
        return Ok(None);
    }
    let environment = Environment::of_process()?;
    let launch = Launch::new(&arguments, &environment)?;
    let (token_file, ca) = (environment.token_file.as_deref(), environment.ca.as_deref());
    let access = Access::read(token_file, ca, &access::Environment::of_process())?;
    for warning in launch
        .warnings
        .iter()
        .chain(&access.warning(&environment.url))
    {
        complain(warning);
    }
    let options = Options {
        token: access.token,
        roots: access.roots,
        give_up: RECONNECT_TIME,
        ..Options::default()
    };
    Ok(Some((launch, environment, options)))
}

/// Returns the help or the version if an argument asks for it.
fn printed(arguments: &[Argument]) -> Option<String> {
    arguments
        .iter()
        .find_map(|argument| match argument.flag.meaning {
            Meaning::Help => Some(help::HELP.to_owned()),
            Meaning::Version => Some(format!("ccb-claude {}\n", env!("CARGO_PKG_VERSION"))),
            _ => None,
        })
}

fn start(launch: Launch, environment: &Environment, options: Options) -> u8 {
    // One thread is enough: the program waits for two streams.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("cannot start the async runtime: {error}"));
            return end::FAILED;
        }
    };
    let code = runtime.block_on(Box::pin(run(launch, environment, options)));
    // A read of stdin or a write to a full stdout may block forever; the exit does not wait for it.
    runtime.shutdown_background();
    code
}

/// Runs the execution to its end, and returns the exit code.
async fn run(launch: Launch, environment: &Environment, options: Options) -> u8 {
    let start_by = Instant::now() + environment.start_limit;
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => {
            complain(&format!("cannot listen for signals: {error}"));
            return end::FAILED;
        }
    };
    let client = tokio::select! {
        biased;
        exit = signals.next() => return exit, // nothing was sent yet
        connected = connect(launch, environment, options) => connected,
    };
    let (client, launch) = match client {
        Ok(connected) => connected,
        Err(sentence) => {
            complain(&sentence);
            wait_for_caller();
            return end::FAILED;
        }
    };
    let mirror = launch
        .execute
        .body
        .session_mirror
        .then(|| MirrorPaths::new(&environment.configuration, &environment.folder));
    let run = match client.execute(launch.execute) {
        Ok(run) => run,
        Err(error) => {
            complain(&end::of_error(&error));
            return end::FAILED;
        }
    };
    let id = run.id();
    let client = Arc::new(client);
    let relay = Relay::new(
        Arc::clone(&client),
        &mut signals,
        start_by,
        mirror,
        environment.keeps,
    );
    let end = relay.run(run).await;
    let code = leave(end, &client, id).await;
    if let Some(client) = Arc::into_inner(client) {
        client.close().await;
    }
    code
}

/// Connects to the bridge, and finds the conversation that `--continue` means.
async fn connect(
    mut launch: Launch,
    environment: &Environment,
    options: Options,
) -> Result<(Client, Launch), String> {
    let client = Client::connect(environment.url.as_str(), options).await;
    let client = client.map_err(|error| end::of_error(&error))?;
    if launch.continues_newest {
        let workspace = launch.execute.body.workspace.clone();
        let newest = executions::newest_conversation(&client, &workspace).await;
        let newest = newest.map_err(|error| end::of_error(&error))?;
        launch.execute.body.conversation = Some(newest.ok_or_else(|| {
            format!(
                "the workspace {workspace:?} has no conversation to continue; omit --continue to \
                 begin one"
            )
        })?);
        launch.check()?;
    }
    Ok((client, launch))
}

/// Prints a sentence of this program on stderr. Control characters in it are replaced, because text
/// of a service must not move the terminal's cursor.
fn complain(sentence: &str) {
    let sentence = terminal_text::message(sentence);
    let _ = writeln!(io::stderr(), "cc-bridge: {sentence}");
}

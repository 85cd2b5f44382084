//! `ccb`: the command line client of the bridge.

mod args;
mod doctor;
mod exec;
mod exit;
mod mcp_server;
mod progress;
mod query;
mod show;
mod stdout;
mod stop;
mod values;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use args::{Cli, Command};

/// The tip for a prompt that begins with a dash; clap gives it only when no option has a similar
/// name.
const DASH_TIP: &str =
    "  tip: a prompt that begins with a dash goes after --, as in: ccb exec -- \"--fix it\"";

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let asked = matches!(
                error.kind(),
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
            );
            let _ = error.print();
            if error.kind() == ErrorKind::UnknownArgument && executes() {
                let _ = writeln!(std::io::stderr(), "\n{DASH_TIP}");
            }
            return if asked {
                ExitCode::SUCCESS
            } else {
                exit::USAGE.into()
            };
        }
    };
    // Before anything runs, so that Ctrl-C while the prompt is typed simply ends the program.
    let task = match cli.command {
        Command::Exec(args) => match exec::Task::execute(*args) {
            Ok(task) => Work::Run(task),
            Err(mistake) => {
                complain(&mistake);
                return exit::USAGE.into();
            }
        },
        Command::Attach(args) => Work::Run(exec::Task::attach(&args)),
        Command::Doctor(args) => Work::Doctor(args),
        Command::Mcp => Work::Mcp,
        other => Work::Query(other),
    };
    // One thread: a command line client has one stream to wait for.
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("cannot start: {error}"));
            return exit::INTERNAL.into();
        }
    };
    let code = runtime.block_on(async {
        match task {
            Work::Run(task) => Box::pin(exec::run(task, &cli.common)).await,
            Work::Doctor(args) => Box::pin(doctor::run(args, &cli.common)).await,
            Work::Mcp => Box::pin(mcp_server::run(&cli.common)).await,
            Work::Query(command) => Box::pin(query::run(command, &cli.common)).await,
        }
    });
    // A write to a stdout that nobody reads may hang for ever; it must not keep us.
    runtime.shutdown_background();
    code.into()
}

/// Whether the command line has `exec` and no `--`.
fn executes() -> bool {
    let has = |wanted: &str| std::env::args_os().any(|argument| argument == wanted);
    has("exec") && !has("--")
}

enum Work {
    Run(exec::Task),
    Doctor(args::DoctorArgs),
    Mcp,
    Query(Command),
}

/// One line on stderr. What others wrote loses its control characters, which could move a terminal's cursor.
fn complain(message: &str) {
    let _ = writeln!(std::io::stderr(), "ccb: {}", show::message(message));
}

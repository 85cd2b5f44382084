//! `ccb`, the command line client of cc-bridge. It runs prompts through a bridge, streams their
//! output, and controls executions.

mod args;
mod doctor;
mod exec;
mod exit;
mod failure;
mod mcp_server;
mod progress;
mod query;
mod question;
mod questions;
mod secret_output;
mod show;
mod stdout;
mod stop;
mod token;
mod values;
mod webhook;
mod whole_input;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use args::{Cli, Command, Common};
use ccb::access::{self, Access, Environment};

/// The tip that is printed for a prompt with a leading dash, which clap takes for an option. clap
/// prints a tip of its own only if no option has a similar name.
const DASH_TIP: &str =
    "  tip: a prompt that begins with a dash goes after --, as in: ccb exec -- \"--fix it\"";

fn main() -> ExitCode {
    let mut cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let help = matches!(
                error.kind(),
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
            );
            let _ = error.print();
            if error.kind() == ErrorKind::UnknownArgument && has_exec_without_dashes() {
                let _ = writeln!(std::io::stderr(), "\n{DASH_TIP}");
            }
            return if help {
                ExitCode::SUCCESS
            } else {
                exit::USAGE.into()
            };
        }
    };
    if let Command::Token(args) = cli.command {
        return token::run(args.command, &cli.common).into();
    }
    if let Command::Webhook(args) = cli.command {
        return webhook::run(args.command, &cli.common).into();
    }
    if let Err(mistake) = read_access(&mut cli.common) {
        complain(&mistake);
        return exit::USAGE.into();
    }
    // The prompt is read before the runtime starts: Ctrl-C while it is typed ends the program.
    let work = match cli.command {
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
    // One thread is enough: ccb waits for one stream.
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("cannot start the async runtime: {error}"));
            return exit::INTERNAL.into();
        }
    };
    let code = runtime.block_on(async {
        match work {
            Work::Run(task) => Box::pin(exec::run(task, &cli.common)).await,
            Work::Doctor(args) => Box::pin(doctor::run(args, &cli.common)).await,
            Work::Mcp => Box::pin(mcp_server::run(&cli.common)).await,
            Work::Query(command) => Box::pin(query::run(command, &cli.common)).await,
        }
    });
    // A write to a full stdout without a reader may block forever; the exit does not wait for it.
    runtime.shutdown_background();
    code.into()
}

/// Reads the token and the certificates into the arguments, and warns if the network could read the
/// token.
fn read_access(common: &mut Common) -> Result<(), String> {
    let (token_file, ca) = (common.token_file.as_deref(), common.ca.as_deref());
    common.access = Access::read(token_file, ca, &Environment::of_process())?;
    if let (Some(warning), false) = (common.access.warning(&common.url), common.quiet) {
        complain(&warning);
    }
    Ok(())
}

/// Returns whether the command line is `ccb exec` without `--`. An unknown option may then be a
/// prompt with a leading dash.
fn has_exec_without_dashes() -> bool {
    let has = |word: &str| std::env::args_os().any(|argument| argument == word);
    has("exec") && !has("--")
}

/// The parsed command of `ccb`, grouped by the module that runs it.
enum Work {
    Run(exec::Task),
    Doctor(args::DoctorArgs),
    Mcp,
    Query(Command),
}

/// Prints an error message on stderr. Control characters in it are replaced, because text of a
/// service or a model must not move the terminal's cursor.
fn complain(message: &str) {
    let _ = writeln!(std::io::stderr(), "ccb: {}", show::message(message));
}

//! The command `ccb token new`, which makes a token and its entry for the operator's token file.
//! It needs no bridge.
//!
//! The token is written once, to a terminal, a new file or a pipe. The entry has only the SHA-256
//! of the token. It is added to the token file with `--add`, or printed.

mod addition;
mod file;

use std::io::Write;
use std::path::Path;

use jiff::civil::Date;
use protocol::Token;

use crate::args::{Common, NewTokenArgs, TokenCommand};
use crate::exit::{self, Exit};
use crate::failure::Failure;
use crate::secret_output::Output;
use crate::{access, complain};
use file::{Entry, TokenFile};

/// Runs `ccb token`, prints its answer, and returns the exit code of `ccb`.
pub(crate) fn run(command: TokenCommand, common: &Common) -> Exit {
    let TokenCommand::New(args) = command;
    match new(&args, common.quiet) {
        Ok(()) => exit::OK,
        Err(Failure(exit, message)) => {
            complain(&message);
            exit
        }
    }
}

fn new(args: &NewTokenArgs, quiet: bool) -> Result<(), Failure> {
    access::hide_memory().map_err(Failure::system)?;
    let output = Output::choose(args.out.as_deref(), "token").map_err(Failure::usage)?;
    let token = Token::generate()
        .map_err(|error| Failure::system(format!("could not make a token: {error}")))?;
    let entry = entry(args, &token);
    let block = file::block(&entry).map_err(Failure::system)?;
    // Everything that can fail is done before the token is written, except the last renaming.
    let addition = match &args.add {
        Some(path) => Some(addition::prepare(path, &entry)?),
        None => {
            TokenFile::of(entry).check().map_err(Failure::usage)?;
            None
        }
    };
    let written = output.write("token", token.secret().expose())?;
    if let (Some(addition), Some(path)) = (addition, &args.add) {
        addition.finish()?;
        say(
            quiet,
            &format!("added {:?} to {}", args.name, path.display()),
        );
    } else {
        say(
            quiet,
            "add this entry to the file that CLAUDE_API_TOKENS_FILE names:",
        );
        print(&block, output.is_file());
    }
    if let Some(path) = written.keep() {
        say(quiet, &used(path));
    } else {
        say(
            quiet,
            "this is the only time that the token is shown; save it in a file of mode 600",
        );
    }
    Ok(())
}

fn entry(args: &NewTokenArgs, token: &Token) -> Entry {
    Entry {
        name: args.name.clone(),
        sha256: token.secret().hash().to_string(),
        role: args.role,
        // Stated even if it is the name, so that a second token of the principal is no mistake.
        principal: Some(args.principal.clone().unwrap_or_else(|| args.name.clone())),
        workspaces: args.workspaces.clone(),
        max_budget_usd: args.max_budget_usd,
        budget_usd_per_day: args.budget_usd_per_day,
        running: args.running,
        expires: args.expires.map(datetime),
    }
}

/// Converts a day to a TOML date without a time.
fn datetime(day: Date) -> toml::value::Datetime {
    let number = |n: i8| u8::try_from(n).unwrap_or_default();
    let date = toml::value::Date {
        year: u16::try_from(day.year()).unwrap_or_default(),
        month: number(day.month()),
        day: number(day.day()),
    };
    date.into()
}

/// Prints the entry. If the token went to a file, the entry goes to stdout, so that `>> FILE` adds
/// it. Otherwise the entry goes to stderr, beside the token.
fn print(block: &str, on_stdout: bool) {
    // A reader that has closed its end has seen enough.
    let _ = if on_stdout {
        std::io::stdout().write_all(block.as_bytes())
    } else {
        std::io::stderr().write_all(block.as_bytes())
    };
}

fn used(path: &Path) -> String {
    let path = path.display();
    format!("wrote the token to {path}; use it with: ccb --token-file {path} list")
}

fn say(quiet: bool, text: &str) {
    if !quiet {
        complain(text);
    }
}

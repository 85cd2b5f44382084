//! Every wrong value at once, where clap alone stops at the first: a value that does not parse is noted, replaced by one that
//! does, and the rest is looked at.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command, Error, Parser};

/// What came of the command line.
#[derive(Debug)]
pub enum Parsed<T> {
    /// Values that parse, and what was wrong with those that did not.
    Values(Box<T>, Vec<String>),
    /// Help, the version, or a command line that cannot be understood.
    Other(Error),
}

/// Parses the command line and the environment.
pub fn parse_all<T: Parser>(args: impl IntoIterator<Item = OsString>) -> Parsed<T> {
    let mut args: Vec<OsString> = args.into_iter().collect();
    let mut mistakes = Vec::new();
    loop {
        let error = match T::try_parse_from(&args) {
            Ok(values) => return Parsed::Values(Box::new(values), mistakes),
            Err(error) => error,
        };
        let command = T::command();
        let wrong = matches!(
            error.kind(),
            ErrorKind::ValueValidation | ErrorKind::InvalidValue
        );
        let Some(arg) = wrong.then(|| named(&error, &command)).flatten() else {
            return Parsed::Other(error);
        };
        let flag = format!("--{}", arg.get_long().unwrap_or_default());
        let stays = format!("{flag}={}", harmless(arg));
        if args.iter().any(|a| *a == *stays) {
            return Parsed::Other(error);
        }
        mistakes.push(first_line(&error));
        args = without(args, &flag);
        args.push(stays.into());
    }
}

/// The argument that the error is about.
fn named<'a>(error: &Error, command: &'a Command) -> Option<&'a Arg> {
    let ContextValue::String(text) = error.get(ContextKind::InvalidArg)? else {
        return None;
    };
    let name = text.strip_prefix("--")?.split([' ', '=']).next()?;
    command
        .get_arguments()
        .find(|arg| arg.get_long() == Some(name))
}

/// A value that parses: the default, one of the possible ones, or a number.
fn harmless(arg: &Arg) -> String {
    let default = arg
        .get_default_values()
        .first()
        .and_then(|v| v.to_str())
        .filter(|v| !v.is_empty());
    let possible = arg.get_possible_values();
    default
        .map(str::to_owned)
        .or(possible.first().map(|v| v.get_name().to_owned()))
        .unwrap_or_else(|| "1".to_owned())
}

fn first_line(error: &Error) -> String {
    let text = error.to_string();
    let lines = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.is_empty());
    lines
        .collect::<Vec<_>>()
        .join(" ")
        .trim_start_matches("error: ")
        .to_owned()
}

/// The command line without this flag and its value.
fn without(args: Vec<OsString>, flag: &str) -> Vec<OsString> {
    let mut kept = Vec::new();
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        if *arg == *flag {
            args.next();
        } else if !arg.to_str().is_some_and(|a| {
            a.strip_prefix(flag)
                .is_some_and(|rest| rest.starts_with('='))
        }) {
            kept.push(arg);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Cli;

    fn parsed(args: &[&str]) -> Parsed<Cli> {
        parse_all(
            std::iter::once("claude-api")
                .chain(args.iter().copied())
                .map(Into::into),
        )
    }

    #[test]
    fn every_wrong_value_is_told() {
        let args = [
            "--port",
            "99999",
            "--log-format=xml",
            "--queued=x",
            "--permission-mode",
            "yolo",
            "--host=h",
            "--kill-ms=7",
        ];
        let Parsed::Values(cli, mistakes) = parsed(&args) else {
            panic!("{args:?}")
        };
        assert_eq!(mistakes.len(), 5, "{mistakes:#?}");
        for word in ["99999", "xml", "--queued", "yolo", "--host"] {
            assert!(
                mistakes.iter().any(|m| m.contains(word)),
                "{word}: {mistakes:#?}"
            );
        }
        assert_eq!(cli.serve.limits.kill_ms, Some(7));
    }

    #[test]
    fn what_cannot_be_understood_stays_claps() {
        assert!(matches!(parsed(&["--prot", "1"]), Parsed::Other(_)));
        assert!(matches!(parsed(&["--help"]), Parsed::Other(_)));
        let Parsed::Values(_, mistakes) = parsed(&[]) else {
            panic!("no arguments")
        };
        assert_eq!(mistakes, [""; 0]);
    }
}

//! Parsing of the command line that reports all wrong values together, although clap stops at the
//! first one. Each value that does not parse is noted and replaced by a valid one; then parsing
//! starts again.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command, Error, Parser};

/// The result of [`parse_all`].
#[derive(Debug)]
pub enum Parsed<T> {
    /// The parsed values, and one text for each value that did not parse and was replaced. The
    /// service must not start with replaced values: a caller reports the texts and exits.
    Values(Box<T>, Vec<String>),
    /// clap's message to print: the help or the version, or an error in the command line that is
    /// not a wrong value, such as an unknown flag.
    Other(Error),
}

/// Parses the command line and the environment into `T`. A value that does not parse is noted as a
/// mistake in the result and replaced by a valid one, so all wrong values are reported together.
pub fn parse_all<T: Parser>(args: impl IntoIterator<Item = OsString>) -> Parsed<T> {
    let mut args: Vec<OsString> = args.into_iter().collect();
    let mut mistakes = Vec::new();
    loop {
        let error = match T::try_parse_from(&args) {
            Ok(values) => return Parsed::Values(Box::new(values), mistakes),
            Err(error) => error,
        };
        let command = T::command();
        let is_wrong_value = matches!(
            error.kind(),
            ErrorKind::ValueValidation | ErrorKind::InvalidValue
        );
        let arg = is_wrong_value.then(|| argument_in(&error, &command));
        let Some(arg) = arg.flatten() else {
            return Parsed::Other(error);
        };
        let flag = format!("--{}", arg.get_long().unwrap_or_default());
        let replacement = format!("{flag}={}", valid_value(arg));
        if args.iter().any(|a| *a == *replacement) {
            return Parsed::Other(error);
        }
        mistakes.push(message(&error));
        args = remove_flag(args, &flag);
        args.push(replacement.into());
    }
}

/// Returns the clap argument whose value is wrong according to `error`. `None` if the error names
/// no flag of `command`.
fn argument_in<'a>(error: &Error, command: &'a Command) -> Option<&'a Arg> {
    let ContextValue::String(text) = error.get(ContextKind::InvalidArg)? else {
        return None;
    };
    let name = text.strip_prefix("--")?.split([' ', '=']).next()?;
    command
        .get_arguments()
        .find(|arg| arg.get_long() == Some(name))
}

/// Returns a value for `arg` that parses: its default, else its first possible value, else `1`.
fn valid_value(arg: &Arg) -> String {
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

/// Returns the first paragraph of clap's error as one line, without the prefix `error: `.
fn message(error: &Error) -> String {
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

/// Returns the command line without the flag and its value, in both forms, `--flag value` and
/// `--flag=value`.
fn remove_flag(args: Vec<OsString>, flag: &str) -> Vec<OsString> {
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
    fn every_wrong_value_is_reported() {
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
    fn an_unknown_flag_and_help_are_left_to_clap() {
        assert!(matches!(parsed(&["--prot", "1"]), Parsed::Other(_)));
        assert!(matches!(parsed(&["--help"]), Parsed::Other(_)));
        let Parsed::Values(_, mistakes) = parsed(&[]) else {
            panic!("no arguments")
        };
        assert_eq!(mistakes, [""; 0]);
    }
}

//! A stand-in for the Claude CLI; `cc_tests::stand_in` describes its behaviour.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args_os()
        .skip(1)
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    cc_tests::stand_in::main(&arguments)
}

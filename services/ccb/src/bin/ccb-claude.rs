//! `ccb-claude`, which takes the arguments of the Claude CLI and runs an execution on a bridge.

use std::process::ExitCode;

fn main() -> ExitCode {
    ccb::claude::main()
}

//! The programs of `tests/agent_sdk`.

use std::process::Stdio;
use std::time::Duration;

use cc_tests::harness::binary;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use super::World;

/// Time limit of one program. The slowest takes 25 s on an idle machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// A running program.
#[derive(Debug)]
pub(super) struct Program {
    child: Child,
    stdin: ChildStdin,
    lines: tokio::io::Lines<BufReader<ChildStdout>>,
}

/// Returns the path of the Python that `scripts/lib/agent-sdk-python` prepares.
pub(super) fn python() -> &'static str {
    static PYTHON: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    PYTHON.get_or_init(|| {
        let script = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../scripts/lib/agent-sdk-python"
        );
        let output = std::process::Command::new(script).output();
        let output = output.expect("scripts/lib/agent-sdk-python starts");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "no Python with the SDK: {errors}");
        let path = String::from_utf8(output.stdout).expect("a path");
        path.trim().to_owned()
    })
}

/// Returns a command that runs Python in the environment of a user of the services.
pub(super) fn command(world: &World) -> Command {
    let mut command = Command::new(python());
    command
        .arg("-B")
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/agent_sdk"))
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        // The token file of the user who runs the tests must not count.
        .env("HOME", "/nonexistent")
        .env("CCB_CLAUDE", binary("ccb-claude"))
        .env("CCB_URL", format!("ws://{}/ws", world.stack.ws_addr()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    command
}

impl Program {
    /// Starts a program. Its stderr is that of the test.
    pub(super) fn new(world: &World, program: &str, arguments: &[&str]) -> Self {
        let mut command = command(world);
        command.arg(program).args(arguments);
        let mut child = command.spawn().expect("Python starts");
        let stdin = child.stdin.take().expect("stdin is a pipe");
        let stdout = child.stdout.take().expect("stdout is a pipe");
        Self {
            child,
            stdin,
            lines: BufReader::new(stdout).lines(),
        }
    }

    /// Returns the next line that the program prints, or `None` at its end.
    pub(super) async fn line(&mut self) -> Option<String> {
        let line = timeout(PATIENCE, self.lines.next_line()).await;
        line.expect("a line in time").expect("stdout is UTF-8")
    }

    /// Writes an empty line to the program's stdin.
    pub(super) async fn answer(&mut self) {
        self.stdin.write_all(b"\n").await.expect("it is read");
    }

    /// Waits for the end of the program, which must succeed and print `ok`.
    pub(super) async fn succeed(mut self) {
        let printed = self.line().await;
        self.end().await;
        assert_eq!(printed.as_deref(), Some("ok"));
    }

    /// Waits for the end of the program, which must print nothing more and have the exit code 0.
    pub(super) async fn end(mut self) {
        assert_eq!(self.line().await, None);
        let status = timeout(PATIENCE, self.child.wait()).await;
        let status = status.expect("an end in time").expect("an exit status");
        assert!(status.success(), "{status}");
    }
}

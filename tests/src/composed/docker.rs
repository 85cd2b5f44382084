//! The docker client, as a process with a time limit.

use std::{ffi::OsStr, process::Stdio, time::Duration};

use anyhow::Context;
use tokio::{io::AsyncWriteExt, process::Command};

/// The timeout of a single call.
const LIMIT: Duration = Duration::from_secs(120);

/// The result of a call.
#[derive(Debug, Clone)]
pub struct Ran {
    /// Its exit code; `None` when it was killed.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: String,
}

impl Ran {
    /// The standard output as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

/// The command `docker`, killed when it is dropped.
#[must_use]
pub fn command<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new("docker");
    command.args(arguments).kill_on_drop(true);
    command
}

/// Runs a command to its end with this standard input, whatever its exit code is.
///
/// # Errors
/// If it cannot be started, or takes longer than two minutes.
pub async fn ran(mut command: Command, stdin: &[u8]) -> anyhow::Result<Ran> {
    let what = format!("{:?}", command.as_std());
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting {what}"))?;
    let mut input = child.stdin.take().context("a pipe")?;
    let fed = async move {
        // A command may end without reading its input.
        let _ = input.write_all(stdin).await;
    };
    let whole = async { tokio::join!(fed, child.wait_with_output()).1 };
    let output = tokio::time::timeout(LIMIT, whole)
        .await
        .with_context(|| format!("{what} took longer than {LIMIT:?}"))??;
    Ok(Ran {
        code: output.status.code(),
        stdout: output.stdout,
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// Runs `docker ARGUMENTS` and returns its standard output.
///
/// # Errors
/// If the command fails: its output.
pub async fn docker(arguments: &[&str]) -> anyhow::Result<String> {
    let ran = ran(command(arguments), b"").await?;
    anyhow::ensure!(
        ran.code == Some(0),
        "docker {} ended with {:?}: {}{}",
        arguments.join(" "),
        ran.code,
        ran.text(),
        ran.stderr
    );
    Ok(ran.text())
}

/// Runs `docker ARGUMENTS`, blocking, and returns nothing on failure. For destructors.
pub(super) fn docker_now(arguments: &[&str]) -> Option<String> {
    let output = std::process::Command::new("docker")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

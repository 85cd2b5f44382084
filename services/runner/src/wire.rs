//! What goes over the control socket: one JSON object per line, commands to the runner, events from it.

use std::{fmt, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use crate::sandbox::Sandbox;

/// What to run. It travels over the control socket, never in an argv or environment of the runner.
#[derive(Clone, Serialize, Deserialize)]
pub struct Spec {
    /// The program; without a slash it is looked up in the `PATH` of `env`.
    pub program: PathBuf,
    /// Its arguments, without argv\[0\].
    pub args: Vec<String>,
    /// The whole environment: nothing is inherited.
    pub env: Vec<(String, String)>,
    /// Its working directory; it must exist.
    pub cwd: PathBuf,
    /// The wished capacity of the stdout pipe in bytes, at most 256 KiB. Not getting it is normal.
    pub stdout_pipe_bytes: usize,
    /// How long the start is retried while the machine is short of processes, memory or
    /// descriptors.
    pub start_patience: Duration,
    /// What the program and everything it starts may use; without one, all that the service may.
    pub sandbox: Option<Sandbox>,
}

impl fmt::Debug for Spec {
    /// Values of the environment are secrets and arguments may be prompts of the operator: neither is shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spec")
            .field("program", &self.program)
            .field("args", &self.args.len())
            .field(
                "env",
                &self.env.iter().map(|(name, _)| name).collect::<Vec<_>>(),
            )
            .field("cwd", &self.cwd)
            .finish_non_exhaustive()
    }
}

/// A line from claude-api to its runner. All of them may be repeated.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub(crate) enum Command {
    /// The first one, together with the read end of the CLI's stdin.
    Run(Spec),
    Pause,
    Resume,
    Terminate {
        kill_after_ms: u64,
    },
    Kill,
}

impl Command {
    pub(crate) fn terminate(kill_after: Duration) -> Self {
        let kill_after_ms = u64::try_from(kill_after.as_millis()).unwrap_or(u64::MAX);
        Self::Terminate { kill_after_ms }
    }
}

/// What was asked of a runner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// SIGSTOP to the whole tree.
    Pause,
    /// SIGCONT to the whole tree.
    Resume,
    /// SIGTERM to the whole tree, SIGKILL after a grace.
    Terminate,
    /// SIGKILL to the whole tree.
    Kill,
}

/// The reports of a runner, in this order: `Spawned`, then any others, then `Exited`, then `Done`.
/// A CLI that did not start gives `SpawnFailed`, preceded at most by warnings and the signal of an
/// end. `Failed` may occur at any time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The CLI runs: `exec` has succeeded.
    Spawned {
        /// The CLI's process id, as seen from the runner's PID namespace.
        pid: u32,
        /// When it started, in clock ticks since the boot (field 22 of `/proc/PID/stat`): tells it from a later process of the same id.
        start_ticks: u64,
        /// The boot this was in, as the kernel names it.
        boot_id: String,
    },
    /// The CLI could not be started. The last event: nothing runs and nothing follows.
    SpawnFailed {
        /// What failed, with the path and the system's reason.
        message: String,
    },
    /// The first signal of a command has been sent. Every command is answered by one of these, also a repeated one,
    /// except after the CLI has exited.
    Signalled {
        /// The command.
        action: Action,
    },
    /// The whole tree stands still.
    Paused {
        /// How many processes stand.
        processes: u32,
        /// From the command to the end of the walk, in microseconds.
        took_us: u64,
    },
    /// The whole tree goes on.
    Resumed,
    /// The CLI was reaped. What it left behind is being killed.
    Exited {
        /// Its exit code, if it has one.
        code: Option<i32>,
        /// The signal that ended it, if one did.
        signal: Option<i32>,
    },
    /// A long sweep continues: sent about once a second, so that a busy runner is not taken for a
    /// hung one.
    Sweeping {
        /// How many processes are left.
        left: u32,
    },
    /// Nothing is left (ECHILD), except for what `unkillable` names. The last event.
    Done {
        /// The CLI's exit code, if it has one.
        code: Option<i32>,
        /// The signal that ended the CLI, if one did.
        signal: Option<i32>,
        /// How many processes, the CLI aside, were reaped after our SIGKILL.
        killed: u32,
        /// The processes that outlived SIGKILL; normally empty.
        unkillable: Vec<Unkillable>,
    },
    /// The runner itself failed and ends now; claude-api sweeps its processes. This is the last
    /// event.
    Failed {
        /// The failure, in words.
        message: String,
    },
    /// Something did not go as it should; the execution goes on.
    Warning {
        /// A stable name.
        code: String,
        /// What happened.
        message: String,
    },
}

impl Event {
    /// What went wrong without harm to the execution.
    pub(crate) fn warning(code: &str, message: String) -> Self {
        Self::Warning {
            code: code.to_owned(),
            message,
        }
    }
}

/// A process that outlived SIGKILL: it is in an uninterruptible wait, for example for a dead
/// network disk, or belongs to another user and may not be signalled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unkillable {
    /// Its process id.
    pub pid: u32,
    /// Its name, at most 15 bytes (`comm`).
    pub command: String,
    /// Its state letter (proc(5)): `D` is an uninterruptible wait.
    pub state: char,
}

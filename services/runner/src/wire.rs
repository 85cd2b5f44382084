//! The messages on the control socket: one JSON object per line, commands to the runner and events
//! from it.

use std::{fmt, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use crate::sandbox::Sandbox;

/// The program that a runner is to run (the CLI, or a hook), with its arguments, environment and
/// sandbox. Sent over the control socket, because other processes could read it in the runner's
/// arguments or environment.
#[derive(Clone, Serialize, Deserialize)]
pub struct Spec {
    /// The path of the program. A name without a slash is searched in the `PATH` of `env`.
    pub program: PathBuf,
    /// The arguments, without argv\[0\].
    pub args: Vec<String>,
    /// The whole environment; nothing is inherited.
    pub env: Vec<(String, String)>,
    /// The working directory, which must exist.
    pub cwd: PathBuf,
    /// The requested capacity of the stdout pipe in bytes, at most 256 KiB. The pipe may stay
    /// smaller.
    pub stdout_pipe_bytes: usize,
    /// How long a failed start is retried while the machine is short of processes, memory or
    /// descriptors.
    pub start_patience: Duration,
    /// The restrictions on the program and everything it starts. None means no restriction: it has
    /// the rights of the service.
    pub sandbox: Option<Sandbox>,
}

impl fmt::Debug for Spec {
    /// Hides the values of the environment, which are secrets, and the arguments, which may be
    /// prompts of the operator.
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

/// A command from claude-api to a runner. Every command may be repeated.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub(crate) enum Command {
    /// The first command, sent together with the read end of the CLI's stdin.
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

/// The kind of a command that a runner carried out, in [`Event::Signalled`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// All processes of the execution are sent SIGSTOP.
    Pause,
    /// All processes of the execution are sent SIGCONT.
    Resume,
    /// All processes of the execution are sent SIGTERM, and SIGKILL after a grace period.
    Terminate,
    /// All processes of the execution are sent SIGKILL.
    Kill,
}

/// The reports of a runner to claude-api. Their order: `Spawned`, then any others, then `Exited`,
/// then `Done`. If the CLI did not start: only warnings and the `Signalled` of an end, then
/// `SpawnFailed`. `Failed` may occur at any time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The CLI was started: `exec` succeeded.
    Spawned {
        /// The CLI's process id, in the runner's PID namespace.
        pid: u32,
        /// The start time in clock ticks since the boot (field 22 of `/proc/PID/stat`). It
        /// distinguishes the CLI from a later process with the same id.
        start_ticks: u64,
        /// The kernel's id of the present boot.
        boot_id: String,
    },
    /// The CLI could not be started. This is the last event, and no process is left.
    SpawnFailed {
        /// The failure, with the path and the system's error.
        message: String,
    },
    /// A command was carried out: its first signal was sent. Answers every command, including
    /// repeated ones, except after the CLI has exited.
    Signalled {
        /// Which command was carried out.
        action: Action,
    },
    /// Every process of the execution is stopped, except those that a preceding `pause_incomplete`
    /// warning counts.
    Paused {
        /// The number of processes that are stopped.
        processes: u32,
        /// The time from the command to this report, in microseconds.
        took_us: u64,
    },
    /// The processes of the execution run again.
    Resumed,
    /// The CLI has ended. Processes that it left are being killed.
    Exited {
        /// The CLI's exit code; None if a signal ended it.
        code: Option<i32>,
        /// The number of the signal that ended the CLI; None if it exited by itself.
        signal: Option<i32>,
    },
    /// Killing the remaining processes takes long and continues. Sent about once a second, to
    /// distinguish a busy runner from a hung one.
    Sweeping {
        /// The number of processes that are left.
        left: u32,
    },
    /// No process of the execution is left (waitpid(2) returned ECHILD), except those in
    /// `unkillable`. This is the last event.
    Done {
        /// The CLI's exit code; None if a signal ended it or it was not reaped.
        code: Option<i32>,
        /// The number of the signal that ended the CLI; None if it exited by itself or was not
        /// reaped.
        signal: Option<i32>,
        /// The number of processes, without the CLI, that the runner had to kill with SIGKILL.
        killed: u32,
        /// The processes that survived SIGKILL; normally empty.
        unkillable: Vec<Unkillable>,
    },
    /// The runner itself failed and ends now; claude-api kills its processes. This is the last
    /// event.
    Failed {
        /// The failure, in words.
        message: String,
    },
    /// Something went wrong that does not affect the execution, which continues.
    Warning {
        /// The stable name of the problem, such as `start_delayed`.
        code: String,
        /// A description of the problem, for people.
        message: String,
    },
}

impl Event {
    /// Creates a warning with the stable name `code` and a description for people.
    pub(crate) fn warning(code: &str, message: String) -> Self {
        Self::Warning {
            code: code.to_owned(),
            message,
        }
    }
}

/// A process that survived SIGKILL. It is in an uninterruptible wait, for example for a dead
/// network disk, or belongs to another user and may not be signalled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unkillable {
    /// The process id.
    pub pid: u32,
    /// The process name (`comm`), at most 15 bytes.
    pub command: String,
    /// The state letter (proc(5)); `D` means an uninterruptible wait.
    pub state: char,
}

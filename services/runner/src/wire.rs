//! The messages on the control socket between claude-api and a runner process: commands to the
//! runner, and reports (events) from it. Each message is one JSON object on one line.

use std::{fmt, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use crate::sandbox::Sandbox;

/// The program that a runner process starts (the CLI or a hook), with its arguments, environment
/// and sandbox. It is sent over the control socket. Other processes could read it in the runner's
/// arguments or environment.
#[derive(Clone, Serialize, Deserialize)]
pub struct Spec {
    /// The path of the program. A name without a slash is searched in the `PATH` of `env`.
    pub program: PathBuf,
    /// The arguments of the program, without its own name (argv\[0\]).
    pub args: Vec<String>,
    /// The whole environment of the program as pairs of name and value. Nothing is inherited from
    /// the service.
    pub env: Vec<(String, String)>,
    /// The working directory of the program, which must exist.
    pub cwd: PathBuf,
    /// The requested capacity of the stdout pipe in bytes; at most 256 KiB are used. The pipe keeps
    /// the kernel's size if the user's quota of pipe memory is exhausted.
    pub stdout_pipe_bytes: usize,
    /// How long a failed start is retried while the machine is short of processes, memory or
    /// descriptors. Zero means that the start is not retried.
    pub start_patience: Duration,
    /// The restrictions on the program and everything it starts. `None` means no restriction: the
    /// program has all rights of the service's user.
    pub sandbox: Option<Sandbox>,
}

impl fmt::Debug for Spec {
    /// Prints the spec without secrets. Leaves out the values of the environment, and prints only
    /// the number of arguments, because they may be prompts of the operator.
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

/// A command from claude-api to a runner process. Every command may be repeated.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub(crate) enum Command {
    /// Starts the program. Always the first command, sent together with the descriptor of the CLI's
    /// end of its stdin.
    Run(Spec),
    /// Suspends all processes of the execution with SIGSTOP.
    Pause,
    /// Continues all processes of the execution with SIGCONT.
    Resume,
    /// Asks all processes of the execution to end with SIGTERM, and kills the rest with SIGKILL
    /// later.
    Terminate {
        /// The time until the rest is killed, in milliseconds.
        kill_after_ms: u64,
    },
    /// Kills all processes of the execution with SIGKILL.
    Kill,
}

impl Command {
    /// Creates a [`Command::Terminate`] from a duration, rounded down to milliseconds.
    pub(crate) fn terminate(kill_after: Duration) -> Self {
        let kill_after_ms = u64::try_from(kill_after.as_millis()).unwrap_or(u64::MAX);
        Self::Terminate { kill_after_ms }
    }
}

/// The kind of command that a runner process carried out, as reported in [`Event::Signalled`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// The processes of the execution are being suspended with SIGSTOP.
    Pause,
    /// The processes of the execution are continued with SIGCONT.
    Resume,
    /// The processes of the execution were asked to end with SIGTERM. Those that are left after the
    /// grace period are killed with SIGKILL.
    Terminate,
    /// The processes of the execution are killed with SIGKILL.
    Kill,
}

/// The reports of a runner process to claude-api about its execution.
///
/// If the CLI starts, the order is `Spawned`, then any others, then `Exited`, then `Done`. If it
/// does not start, there are only warnings and perhaps the `Signalled` of a terminate or kill, then
/// `SpawnFailed`. `Failed` may occur at any time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The CLI was started, and `exec` succeeded.
    Spawned {
        /// The CLI's process id, in the runner's PID namespace.
        pid: u32,
        /// The start time in clock ticks since the boot (field 22 of `/proc/PID/stat`). It
        /// distinguishes the CLI from a later process with the same id.
        start_ticks: u64,
        /// The kernel's random id of the present boot. After a restart of the machine, `pid` and
        /// `start_ticks` mean nothing.
        boot_id: String,
    },
    /// The CLI could not be started. This is the last event, and no process of the execution is
    /// left.
    SpawnFailed {
        /// A sentence for the client, with the path, the system's error, and what to do.
        message: String,
    },
    /// A command was carried out, which means that its first signal was sent. Every command is
    /// answered by this event, including repeated ones, except after the CLI has exited.
    Signalled {
        /// The kind of the command that was carried out.
        action: Action,
    },
    /// Every process of the execution is suspended. Processes that could not be stopped within 2 s
    /// are counted by the `pause_incomplete` warning before this event.
    Paused {
        /// The number of processes that are suspended.
        processes: u32,
        /// The time from the pause command to this report, in microseconds.
        took_us: u64,
    },
    /// The processes of the execution run again after a pause. Also sent if they were not paused.
    Resumed,
    /// The CLI has ended and was reaped. Processes that it left are being killed.
    Exited {
        /// The CLI's exit code; `None` if a signal ended it.
        code: Option<i32>,
        /// The number of the signal that ended the CLI, such as 9 for SIGKILL; `None` if it exited
        /// by itself.
        signal: Option<i32>,
    },
    /// The remaining processes are being killed, which takes longer than usual. Sent about once a
    /// second, so that a busy runner is not mistaken for a hung one.
    Sweeping {
        /// The number of processes that are still alive.
        left: u32,
    },
    /// No process of the execution is left (waitpid(2) returned ECHILD), except the ones in
    /// `unkillable`. This is the last event.
    Done {
        /// The CLI's exit code; `None` if a signal ended it or it was not reaped.
        code: Option<i32>,
        /// The number of the signal that ended the CLI; `None` if it exited by itself or was not
        /// reaped.
        signal: Option<i32>,
        /// The number of processes, without the CLI, that had not ended and were killed with
        /// SIGKILL.
        killed: u32,
        /// The processes that survived SIGKILL; normally empty.
        unkillable: Vec<Unkillable>,
    },
    /// The runner process itself failed and ends now. This is the last event. claude-api kills the
    /// processes that it leaves.
    Failed {
        /// The reason, as a sentence for the log.
        message: String,
    },
    /// A problem that does not end the execution, for example a start that has to be retried.
    Warning {
        /// The stable name of the problem, such as `start_delayed`, for programs.
        code: String,
        /// A description of the problem, for people.
        message: String,
    },
}

impl Event {
    /// Creates an [`Event::Warning`] with the stable name `code` and a description for people.
    pub(crate) fn warning(code: &str, message: String) -> Self {
        Self::Warning {
            code: code.to_owned(),
            message,
        }
    }
}

/// A process that is still alive although it was sent SIGKILL. Either it waits uninterruptibly in
/// the kernel, for example for a dead network disk, or it belongs to another user and may not be
/// signalled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unkillable {
    /// The process id, in the PID namespace of the service.
    pub pid: u32,
    /// The name of the process (`comm` in `/proc`), at most 15 bytes.
    pub command: String,
    /// The state letter of the process (proc(5)). `D` means an uninterruptible wait in the kernel.
    pub state: char,
}

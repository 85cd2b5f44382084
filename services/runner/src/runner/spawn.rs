//! Starts the CLI.

use std::{
    fs, io,
    os::{fd::OwnedFd, unix::process::CommandExt},
    process::{Command, Stdio},
};

use rustix::stdio::{dup2_stderr, dup2_stdout};

use super::{control::dev_null, warning};
use crate::{
    process::{boot_id, look},
    wire::{Event, Spec},
};

/// When memory runs out the kernel takes a CLI or a tool of it, not the services (proc_pid_oom_score_adj(5), 1000 at most).
const OOM_SCORE_ADJ: &str = "500";

pub(super) struct Spawned {
    pub(super) pid: u32,
    start_ticks: u64,
    /// What went wrong without harm to the execution.
    pub(super) problems: Vec<Event>,
}

impl Spawned {
    pub(super) fn event(&self) -> Event {
        Event::Spawned {
            pid: self.pid,
            start_ticks: self.start_ticks,
            boot_id: boot_id(),
        }
    }
}

/// Runs the CLI in a process group of its own, its stdin the pipe given, its stdout and stderr the runner's own; then
/// lets go of these, or end of file would never come.
///
/// # Errors
/// A text that names what is missing: the program, or the directory.
pub(super) fn spawn(spec: &Spec, stdin: OwnedFd) -> Result<Spawned, String> {
    let mut command = Command::new(&spec.program);
    command
        .args(&spec.args)
        .env_clear()
        .envs(spec.env.iter().map(|(name, value)| (name, value)))
        .current_dir(&spec.cwd)
        .process_group(0)
        .stdin(Stdio::from(stdin))
        .stdout(Stdio::inherit())
        .stderr(Stdio::inherit());
    // The Child is not kept: the runner reaps everything with one wait, and dropping it does nothing to the process.
    let pid = command.spawn().map_err(|error| explain(spec, &error))?.id();
    drop(command);
    let mut problems = Vec::new();
    if let Err(error) = let_go_of_output() {
        problems.push(warning(
            "output_kept",
            format!("the runner could not close its copies of the CLI's output: {error}"),
        ));
    }
    if let Err(error) = fs::write(format!("/proc/{pid}/oom_score_adj"), OOM_SCORE_ADJ)
        && error.kind() != io::ErrorKind::NotFound
    {
        problems.push(warning(
            "oom_score",
            format!("the CLI is not preferred when memory runs out: {error}"),
        ));
    }
    // It is not reaped yet, so even one that has already ended is there.
    let start_ticks = look(pid).map_or(0, |stat| stat.id.start_ticks);
    Ok(Spawned {
        pid,
        start_ticks,
        problems,
    })
}

fn let_go_of_output() -> io::Result<()> {
    let null = dev_null()?;
    dup2_stdout(&null)?;
    dup2_stderr(&null)?;
    Ok(())
}

/// `exec` says "no such file" for a missing directory, a missing program and a missing interpreter alike.
fn explain(spec: &Spec, error: &io::Error) -> String {
    let Spec { program, cwd, .. } = spec;
    let program = program.display();
    match fs::metadata(cwd) {
        Err(reason) => {
            return format!(
                "cannot start {program}: working directory {}: {reason}",
                cwd.display()
            );
        }
        Ok(found) if !found.is_dir() => {
            return format!(
                "cannot start {program}: working directory {} is not a directory",
                cwd.display()
            );
        }
        Ok(_) => {}
    }
    if error.kind() == io::ErrorKind::NotFound && spec.program.is_file() {
        return format!(
            "cannot start {program}: the file is there, its interpreter or loader is not ({error})"
        );
    }
    format!("cannot start {program}: {error}")
}

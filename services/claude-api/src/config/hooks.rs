//! Settings for hooks. A hook is a program of the operator that runs before or after each
//! execution.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::builder::RangedU64ValueParser;
use clap::{Args, ValueEnum};

/// The flags for hooks.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Hooks")]
pub struct HookArgs {
    /// Program to run before the CLI of each execution starts, in its workspace, with the status as
    /// JSON on stdin; empty for none
    #[arg(long, env = "CLAUDE_API_HOOK_BEFORE", value_name = "PATH")]
    pub hook_before: Option<OsString>,
    /// Effect of a failure of the hook before: `advisory` adds a warning and the CLI starts,
    /// `required` ends the execution without starting the CLI
    #[arg(
        long,
        env = "CLAUDE_API_HOOK_BEFORE_MODE",
        value_enum,
        default_value = "advisory"
    )]
    pub hook_before_mode: HookMode,
    /// Program to run after the end of each execution, in its workspace, with the terminal status
    /// as JSON on stdin; empty for none
    #[arg(long, env = "CLAUDE_API_HOOK_AFTER", value_name = "PATH")]
    pub hook_after: Option<OsString>,
    /// Effect of a failure of the hook after: both add a warning; `required` also logs an error
    #[arg(
        long,
        env = "CLAUDE_API_HOOK_AFTER_MODE",
        value_enum,
        default_value = "advisory"
    )]
    pub hook_after_mode: HookMode,
    /// Time limit of a hook, ms; then its processes are killed
    #[arg(
        long,
        env = "CLAUDE_API_HOOK_TIMEOUT_MS",
        value_name = "N",
        default_value_t = 10_000,
        value_parser = RangedU64ValueParser::<u64>::new().range(1..=3_600_000)
    )]
    pub hook_timeout_ms: u64,
}

/// The effect of a hook that fails, which means that it cannot start, exits with an error or takes
/// too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum HookMode {
    /// The status gets a warning
    Advisory,
    /// Before: the execution ends without starting the CLI. After: the failure is also logged as an
    /// error
    Required,
}

impl HookMode {
    /// Returns the mode as it is written in settings and in warnings of a status.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Advisory => "advisory",
            Self::Required => "required",
        }
    }
}

/// When a hook runs: before or after an execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookMoment {
    /// In the workspace, before the CLI of the execution starts.
    Before,
    /// In the workspace, after the terminal status of the execution was written to disk.
    After,
}

impl HookMoment {
    /// Returns the moment as it is written in settings and in warnings of a status.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::After => "after",
        }
    }
}

/// A hook: a program of the operator that runs before or after each execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// Whether the hook runs before or after an execution.
    pub moment: HookMoment,
    /// The absolute path of the program. A relative path would be resolved in the workspace, where
    /// the hook runs.
    pub program: PathBuf,
    /// The effect of a failure of the hook on the execution and on the log.
    pub mode: HookMode,
}

impl Hook {
    /// Creates a hook with the absolute path of its program. `None` if `path` is missing or empty.
    fn new(moment: HookMoment, path: Option<&OsStr>, mode: HookMode) -> Option<Self> {
        let path = path.filter(|path| !path.is_empty())?;
        // Absolute, because hooks run in the workspace, where a relative path names another file.
        let program = std::path::absolute(path).unwrap_or_else(|_| path.into());
        Some(Self {
            moment,
            program,
            mode,
        })
    }

    /// Checks whether the hook's program is an executable file now. Returns `None` if it is,
    /// otherwise the reason and a remedy, as a text for the operator. Blocks on the disk.
    #[must_use]
    pub fn obstacle(&self) -> Option<String> {
        let reason = execution_obstacle(&self.program)?;
        Some(format!(
            "--hook-{} {} cannot be run: {reason}; give an executable file, or leave the setting \
             out",
            self.moment.as_str(),
            self.program.display()
        ))
    }
}

/// Returns the reason why this user cannot execute the file `program` now; `None` if it can be
/// executed.
fn execution_obstacle(program: &Path) -> Option<String> {
    match std::fs::metadata(program) {
        Err(error) => Some(error.to_string()),
        Ok(meta) if !meta.is_file() => Some("it is no file".to_owned()),
        Ok(_) => match rustix::fs::access(program, rustix::fs::Access::EXEC_OK) {
            Ok(()) => None,
            Err(_) => Some("this user may not execute it".to_owned()),
        },
    }
}

/// The hooks that the operator has set, and their common time limit.
#[derive(Debug, Clone)]
pub struct Hooks {
    /// The hook that runs before the CLI of each execution starts. `None` if the operator set none.
    pub before: Option<Hook>,
    /// The hook that runs after the end of each execution. `None` if the operator set none.
    pub after: Option<Hook>,
    /// How long one run of a hook may take. Then its processes are killed, and the run has failed.
    pub limit: Duration,
}

impl Hooks {
    /// Checks whether the programs of all configured hooks can be run now. Returns one text with a
    /// remedy for each that cannot; empty if all can. Blocks on the disk.
    #[must_use]
    pub fn obstacles(&self) -> Vec<String> {
        let hooks = [&self.before, &self.after].into_iter().flatten();
        hooks.filter_map(Hook::obstacle).collect()
    }
}

impl HookArgs {
    /// Returns the hooks that the arguments set. If the program of a `required` hook cannot be run,
    /// the reason is added to `mistakes`, and the service does not start. For an `advisory` hook,
    /// the start only logs a warning.
    pub(super) fn check(&self, mistakes: &mut Vec<String>) -> Hooks {
        let hook = |moment, path: &Option<OsString>, mode| Hook::new(moment, path.as_deref(), mode);
        let hooks = Hooks {
            before: hook(HookMoment::Before, &self.hook_before, self.hook_before_mode),
            after: hook(HookMoment::After, &self.hook_after, self.hook_after_mode),
            limit: Duration::from_millis(self.hook_timeout_ms),
        };
        let required = [&hooks.before, &hooks.after].into_iter().flatten();
        let required = required.filter(|hook| hook.mode == HookMode::Required);
        mistakes.extend(required.filter_map(Hook::obstacle));
        hooks
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        hooks: HookArgs,
    }

    fn check(flags: &[&str]) -> (Hooks, Vec<String>) {
        let args = std::iter::once("claude-api").chain(flags.iter().copied());
        let mut mistakes = Vec::new();
        let hooks = <Cli as clap::Parser>::parse_from(args)
            .hooks
            .check(&mut mistakes);
        (hooks, mistakes)
    }

    #[test]
    fn hooks_are_off_by_default_and_when_the_setting_is_empty() {
        for flags in [&[][..], &["--hook-before=", "--hook-after="]] {
            let (hooks, mistakes) = check(flags);
            assert_eq!((hooks.before, hooks.after), (None, None));
            assert_eq!(hooks.limit, Duration::from_secs(10));
            assert_eq!(mistakes, [""; 0]);
        }
    }

    #[test]
    fn a_hook_that_cannot_be_run_is_a_mistake_only_if_it_is_required() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("hook");
        std::fs::write(&file, "#!/bin/sh\n").unwrap();
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).unwrap();
        let missing = dir.path().join("missing");
        for (path, part) in [
            (missing.as_path(), "No such file"),
            (dir.path(), "no file"),
            (&file, "may not execute"),
        ] {
            let flag = format!("--hook-after={}", path.display());
            let (hooks, mistakes) = check(&[&flag]);
            assert_eq!(mistakes, [""; 0]);
            let obstacles = hooks.obstacles();
            assert!(obstacles[0].contains(part), "{obstacles:?}");
            let (_, mistakes) = check(&[&flag, "--hook-after-mode=required"]);
            assert!(mistakes[0].contains(part), "{mistakes:?}");
        }
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).unwrap();
        let flag = format!("--hook-before={}", file.display());
        let (hooks, mistakes) = check(&[&flag, "--hook-before-mode=required"]);
        assert_eq!((hooks.obstacles().len(), mistakes.len()), (0, 0));
    }

    #[test]
    fn the_relative_path_of_a_hook_becomes_absolute() {
        let (hooks, _) = check(&["--hook-before=hooks/before"]);
        assert!(hooks.before.unwrap().program.is_absolute());
    }
}

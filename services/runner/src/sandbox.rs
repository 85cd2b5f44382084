//! The sandbox of an execution restricts the CLI and its tools. It has two parts: a Landlock domain
//! (landlock(7)), which limits access to files, and a filter of system calls (seccomp(2)). Every
//! process of the execution inherits both and cannot leave them.
//!
//! Inside the domain only the listed paths can be used. Signals, ptrace(2) and connections to
//! abstract UNIX sockets do not reach processes outside it. `/proc/PID/{environ,mem,fd,root,cwd}`
//! of other processes cannot be read, because the kernel requires the right to trace them. Each
//! execution has its own domain, and its runner is outside, so no tool can end the runner.
//!
//! Not protected: the process list, names and sizes of files, the network, named UNIX sockets, and
//! modes and times of files of the same user.

mod seccomp;

use std::io;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, PathFdError,
    Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};
use seccompiler::BpfProgram;
use serde::{Deserialize, Serialize};

/// The newest version of the kernel's Landlock interface that the sandbox uses (landlock(7)). An
/// older kernel lacks some protections, which [`missing_protections`] reports.
const NEWEST: ABI = ABI::V6;

/// The files and shared memory that an execution (the CLI and its tools) may use. The kernel
/// refuses access to all other files. A folder includes everything below it; a path that does not
/// exist is skipped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sandbox {
    /// Paths that may be read and executed, but not changed.
    pub read_only: Vec<PathBuf>,
    /// Paths that may be read, executed and written, and below which files may be created and
    /// removed.
    pub read_write: Vec<PathBuf>,
    /// Whether shared memory, semaphores and message queues (System V and POSIX) may be used. All
    /// processes of a user share these objects, so executions could then read and change each
    /// other's.
    pub allow_ipc: bool,
}

/// A protection of the sandbox that the running kernel cannot provide, so that tools can do more
/// than they should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingProtection {
    /// There is no sandbox of files at all. The kernel has no Landlock, or its version cannot allow
    /// moves of files between folders (before Linux 5.19), without which git does not work.
    Landlock,
    /// Tools can empty files that they may not read or write (before Linux 6.2).
    Truncate,
    /// Tools can send signals to every process of the same user, and connect to their abstract UNIX
    /// sockets (before Linux 6.12).
    Signals,
    /// Tools can change limits, priorities and System V shared memory of every process of the same
    /// user, because the kernel or the architecture has no filters of system calls (seccomp(2)).
    Seccomp,
}

impl MissingProtection {
    /// Returns a sentence that says what tools can do because the protection is missing, for logs
    /// and health pages.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Landlock => {
                "this kernel has no usable Landlock (Linux 5.19 or later, enabled at boot): tools \
                 can read and change everything that the service can"
            }
            Self::Truncate => {
                "this kernel (before Linux 6.2) lets tools empty files that they cannot read"
            }
            Self::Signals => {
                "this kernel (before Linux 6.12) lets tools send signals to other executions, stop \
                 the service with SIGTERM, and connect to abstract sockets"
            }
            Self::Seccomp => {
                "this kernel or architecture has no seccomp filters: tools can change limits and \
                 priorities of the service, and use memory that other executions share"
            }
        }
    }
}

/// Returns the protections of the sandbox that the running kernel cannot provide; empty if it
/// provides all. Only asks the kernel and does not restrict the caller.
#[must_use]
pub fn missing_protections() -> Vec<MissingProtection> {
    let has = |ruleset: Result<Ruleset, RulesetError>| ruleset.is_ok();
    let hard = || Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    if !has(hard().handle_access(AccessFs::Refer)) {
        return vec![MissingProtection::Landlock];
    }
    let mut missing = Vec::new();
    if !has(hard().handle_access(AccessFs::Truncate)) {
        missing.push(MissingProtection::Truncate);
    }
    if !has(hard().scope(Scope::from_all(NEWEST))) {
        missing.push(MissingProtection::Signals);
    }
    if !seccomp::is_supported() {
        missing.push(MissingProtection::Seccomp);
    }
    missing
}

/// A sandbox that a forked child can enter with few system calls. Its paths are open, and its
/// filter of system calls is compiled.
pub(crate) struct Prepared {
    /// The Landlock ruleset with the allowed paths.
    ruleset: RulesetCreated,
    /// The compiled filter of system calls; `None` if the kernel or architecture has none.
    filter: Option<BpfProgram>,
}

impl Prepared {
    /// Puts the calling process, and everything that it starts, into the sandbox permanently. Runs
    /// in the forked child before exec. Returns false if the kernel refused.
    pub(crate) fn enter(self) -> bool {
        use RulesetStatus::{FullyEnforced, PartiallyEnforced};
        let entered = self.ruleset.restrict_self().map(|entered| entered.ruleset);
        matches!(entered, Ok(FullyEnforced | PartiallyEnforced))
            && self
                .filter
                .is_none_or(|filter| seccompiler::apply_filter(&filter).is_ok())
    }
}

impl Sandbox {
    /// Opens each allowed path, and creates the Landlock ruleset and the filter of system calls.
    ///
    /// # Errors
    /// The error of the operating system if an existing path could not be opened or the kernel
    /// refused the ruleset. A shortage of descriptors (EMFILE, ENFILE) is temporary.
    pub(crate) fn prepare(&self) -> io::Result<Prepared> {
        let filter = || seccomp::filter(self.allow_ipc);
        Ok(Prepared {
            ruleset: self.ruleset()?,
            filter: seccomp::is_supported().then(filter).transpose()?,
        })
    }

    /// Opens each allowed path, and creates the Landlock ruleset that permits it.
    ///
    /// # Errors
    /// The error of the operating system if an existing path could not be opened or the kernel
    /// refused the ruleset.
    fn ruleset(&self) -> io::Result<RulesetCreated> {
        let mut rules = Vec::new();
        for (paths, access) in [
            (&self.read_only, AccessFs::from_read(NEWEST)),
            (&self.read_write, AccessFs::from_all(NEWEST)),
        ] {
            for path in paths {
                rules.extend(rule(path, access)?);
            }
        }
        let build = || {
            Ruleset::default()
                .handle_access(AccessFs::from_all(NEWEST))?
                .scope(Scope::from_all(NEWEST))?
                .create()?
                .add_rules(rules.into_iter().map(Ok::<_, RulesetError>))
        };
        build().map_err(|error| {
            io::Error::other(format!("could not create a Landlock ruleset: {error}"))
        })
    }
}

/// Returns the Landlock rule that permits `access` to `path` and everything below it. `None` if the
/// path does not exist or this user cannot reach it, because the program could not use it either.
///
/// # Errors
/// Any other error of opening the path.
fn rule(path: &Path, access: BitFlags<AccessFs>) -> io::Result<Option<PathBeneath<PathFd>>> {
    let opened = match PathFd::new(path) {
        Ok(opened) => opened,
        Err(PathFdError::OpenCall { source, .. }) => {
            use io::ErrorKind::{NotADirectory, NotFound, PermissionDenied};
            return match source.kind() {
                NotFound | NotADirectory | PermissionDenied => Ok(None),
                _ => Err(source),
            };
        }
        Err(error) => return Err(io::Error::other(error)),
    };
    let access = if path.is_dir() {
        access
    } else {
        access & AccessFs::from_file(NEWEST)
    };
    Ok(Some(PathBeneath::new(opened, access)))
}

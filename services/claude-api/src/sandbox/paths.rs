//! The paths that every execution may use: the system, the programs, devices, and what the operator
//! opened.

use std::path::{Path, PathBuf};

use crate::cli::Environment;
use crate::config::ServeArgs;

/// Folders of programs, libraries and the machine's configuration. `/run` is not among them,
/// because secrets are mounted there.
const SYSTEM: [&str; 13] = [
    "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/opt", "/nix",
    "/proc", "/sys", "/var",
];

/// The folder of POSIX shared memory. An operator who opens it also allows System V shared memory.
const SHARED_MEMORY: &str = "/dev/shm";

/// Devices that hold no data of another process. [`SHARED_MEMORY`] is not among them.
const DEVICES: [&str; 8] = [
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
    "/dev/tty",
    "/dev/ptmx",
    "/dev/pts",
];

/// Variables that name files or folders which the CLI reads. Every execution may read these, too.
const NAMING_READABLE: [&str; 4] = [
    "NODE_EXTRA_CA_CERTS",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "GOOGLE_APPLICATION_CREDENTIALS",
];

/// The paths that every execution may use, whatever its workspace and its conversation.
#[derive(Debug, Clone)]
pub(super) struct SharedPaths {
    /// The system, the folders of programs, and files that the environment names.
    pub(super) read_only: Vec<PathBuf>,
    /// Devices, and the paths that the operator opened.
    pub(super) read_write: Vec<PathBuf>,
    /// Whether the operator opened [`SHARED_MEMORY`].
    pub(super) allow_ipc: bool,
}

impl SharedPaths {
    /// Returns the paths for these arguments.
    pub(super) fn new(args: &ServeArgs, environment: &Environment) -> Self {
        let mut read_only: Vec<PathBuf> = SYSTEM.iter().map(PathBuf::from).collect();
        read_only.extend(program_folders(environment));
        read_only.extend(folder_of_program(&args.claude_bin));
        let named = NAMING_READABLE
            .iter()
            .filter_map(|name| environment.get(name));
        read_only.extend(named.map(PathBuf::from));
        let mut read_write: Vec<PathBuf> = DEVICES.iter().map(PathBuf::from).collect();
        read_write.extend(args.sandbox_paths().cloned());
        let mut opened = args.sandbox_paths();
        Self {
            read_only,
            read_write,
            allow_ipc: opened.any(|path| Path::new(SHARED_MEMORY).starts_with(path)),
        }
    }

    /// Returns an error if a private folder is below one of these paths.
    /// `what` describes the private folder in the error's text.
    pub(super) fn refuse_exposed(&self, folder: &Path, what: &str) -> Result<(), String> {
        // A folder that does not exist yet has an ancestor that does.
        let real = folder
            .ancestors()
            .find_map(|part| part.canonicalize().ok())
            .unwrap_or_else(|| folder.to_owned());
        let open = self.read_only.iter().chain(&self.read_write);
        let mut open = open.filter_map(|open| open.canonicalize().ok());
        match open.find(|open| real.starts_with(open)) {
            None => Ok(()),
            Some(open) => Err(format!(
                "--sandbox: {what}, {}, would be open to every execution, because {} is: remove \
                 that from --sandbox-paths (CLAUDE_API_SANDBOX_PATHS) or PATH, or move one of \
                 them",
                folder.display(),
                open.display()
            )),
        }
    }
}

/// Returns the absolute folders of `PATH`.
fn program_folders(environment: &Environment) -> Vec<PathBuf> {
    let path = environment.get("PATH").unwrap_or_default();
    std::env::split_paths(path)
        .filter(|folder| folder.is_absolute())
        .collect()
}

/// Returns the folder of a program after its links are followed; `None` if the program does not
/// exist.
fn folder_of_program(program: &Path) -> Option<PathBuf> {
    let real = program.canonicalize().ok()?;
    real.parent().map(Path::to_owned)
}

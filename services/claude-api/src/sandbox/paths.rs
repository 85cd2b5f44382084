//! The paths that every execution may use in its sandbox: the system, the programs, some devices,
//! and the paths that the operator opened.

use std::path::{Path, PathBuf};

use runner::Sandbox;

use crate::cli::Environment;
use crate::config::ServeArgs;

/// The folders of programs, libraries and the machine's configuration, which every execution may
/// read. `/run` is not among them, because secrets are mounted there.
const SYSTEM: [&str; 13] = [
    "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/opt", "/nix",
    "/proc", "/sys", "/var",
];

/// The folder of POSIX shared memory. If the operator opens it to executions, System V shared
/// memory is allowed as well.
const SHARED_MEMORY: &str = "/dev/shm";

/// The devices that every execution may use, because they hold no data of other processes.
/// `/dev/shm` is not among them.
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

/// The environment variables that name certificate or credential files which the CLI reads. Every
/// execution may read the named paths.
const NAMING_READABLE: [&str; 4] = [
    "NODE_EXTRA_CA_CERTS",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "GOOGLE_APPLICATION_CREDENTIALS",
];

/// Returns the paths that every execution may use, in any workspace and conversation. Executions
/// may only read the system, the folders of programs and the files that the environment names. They
/// may also write devices and the paths that the operator opened.
pub(super) fn shared(args: &ServeArgs, environment: &Environment) -> Sandbox {
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
    Sandbox {
        read_only,
        read_write,
        allow_ipc: opened.any(|path| Path::new(SHARED_MEMORY).starts_with(path)),
    }
}

/// Checks that a private folder is not inside one of the `open` paths. `what` describes the private
/// folder in the error's text. Links are resolved, and `folder` need not exist.
///
/// # Errors
/// The folder would be open to every execution. The text names both folders and the remedy.
pub(super) fn refuse_exposed(open: &Sandbox, folder: &Path, what: &str) -> Result<(), String> {
    // A folder that does not exist yet has an ancestor that does.
    let real = folder
        .ancestors()
        .find_map(|part| part.canonicalize().ok())
        .unwrap_or_else(|| folder.to_owned());
    let open = open.read_only.iter().chain(&open.read_write);
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

/// Returns the folders in `PATH`. Relative ones are left out.
fn program_folders(environment: &Environment) -> Vec<PathBuf> {
    let path = environment.get("PATH").unwrap_or_default();
    std::env::split_paths(path)
        .filter(|folder| folder.is_absolute())
        .collect()
}

/// Returns the folder that contains a program, with links resolved. `None` if the program does not
/// exist.
fn folder_of_program(program: &Path) -> Option<PathBuf> {
    let real = program.canonicalize().ok()?;
    real.parent().map(Path::to_owned)
}

//! What an execution may touch: the system, its workspace, its home, and a temporary folder of its
//! conversation. The spool, the credentials' files, other workspaces and other executions' temporary
//! files are outside. The runner puts the walls up ([`runner::Walls`]).

use std::io;
use std::path::{Path, PathBuf};

use runner::Gap;

use crate::cli::{Environment, create_private};
use crate::config::ServeArgs;
use crate::readiness::Obstacle;

/// Programs, libraries and the machine's configuration. `/run` is not among them: secrets are
/// mounted there.
const SYSTEM: [&str; 13] = [
    "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/opt", "/nix",
    "/proc", "/sys", "/var",
];

/// Devices that hold nothing of anybody. `/dev/shm` is not among them: all executions would share
/// it.
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

/// Variables that name files or folders which the CLI reads.
const READ_BY_NAME: [&str; 4] = [
    "NODE_EXTRA_CA_CERTS",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "GOOGLE_APPLICATION_CREDENTIALS",
];

/// Variables that get the temporary folder.
const TEMPORARY: [&str; 4] = ["TMPDIR", "TMP", "TEMP", "CLAUDE_CODE_TMPDIR"];

/// The beginning of the name of a conversation's temporary folder.
const PREFIX: &str = "ccb-";

/// What is open although walls could stand there, for logs and `/health/ready`.
pub(crate) fn open(args: &ServeArgs) -> Vec<Obstacle> {
    if !args.walls {
        return vec![Obstacle::new(
            "walls-off",
            "there are no walls: what the model runs can read and change whatever this service can",
            "run claude-api in its image, or set CLAUDE_API_WALLS=true",
        )];
    }
    let gaps = runner::gaps().into_iter();
    gaps.map(|gap| {
        Obstacle::new(
            "walls-open",
            gap.text(),
            "run a kernel of Linux 6.12 or later with Landlock, or trust every prompt",
        )
    })
    .collect()
}

/// The walls of every execution of this service.
#[derive(Debug)]
pub(crate) struct Walls {
    read: Vec<PathBuf>,
    /// Devices, and the home that all executions share.
    write: Vec<PathBuf>,
    /// Where the temporary folders are.
    temporary: PathBuf,
}

/// What one execution gets.
pub(crate) struct Place {
    pub(crate) walls: runner::Walls,
    /// The variables that name its temporary folder.
    pub(crate) variables: Vec<(String, String)>,
}

impl Walls {
    /// The walls that the arguments ask for; none when they ask for none, or the kernel has none.
    ///
    /// # Errors
    /// The walls would have a hole: a folder that executions must not touch lies in one that they
    /// may. The text names both.
    pub(crate) fn new(args: &ServeArgs, environment: &Environment) -> Result<Option<Self>, String> {
        if !args.walls || runner::gaps().contains(&Gap::Everything) {
            return Ok(None);
        }
        let mut read: Vec<PathBuf> = SYSTEM.iter().map(PathBuf::from).collect();
        read.extend(programs(environment));
        read.extend(program_folder(&args.claude_bin));
        let named = READ_BY_NAME.iter().filter_map(|name| environment.get(name));
        read.extend(named.map(PathBuf::from));
        let mut write: Vec<PathBuf> = DEVICES.iter().map(PathBuf::from).collect();
        write.extend(environment.get("HOME").map(PathBuf::from));
        write.push(environment.config_dir());
        let walls = Self {
            read,
            write,
            temporary: environment.get("TMPDIR").unwrap_or("/tmp").into(),
        };
        walls.check(&args.spool_dir, "the spool")?;
        walls.check(&args.workspace_root, "the workspaces")?;
        walls.check(&walls.temporary, "temporary files of all executions")?;
        Ok(Some(walls))
    }

    fn check(&self, folder: &Path, what: &str) -> Result<(), String> {
        // A folder that is still to be made has a parent that is there.
        let real = folder
            .ancestors()
            .find_map(|part| part.canonicalize().ok())
            .unwrap_or_else(|| folder.to_owned());
        let open = self.read.iter().chain(&self.write);
        let open = open.filter_map(|open| open.canonicalize().ok());
        match open.into_iter().find(|open| real.starts_with(open)) {
            None => Ok(()),
            Some(open) => Err(format!(
                "--walls: {what}, {}, would be open to every execution, because {} is; move one of \
                 them",
                folder.display(),
                open.display()
            )),
        }
    }

    /// The walls of one execution. Makes the temporary folder of its conversation. Blocks on the
    /// disk.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub(crate) fn place(&self, workspace: &Path, conversation: &str) -> io::Result<Place> {
        create_private(&self.temporary)?;
        let temporary = self.temporary.join(format!("{PREFIX}{conversation}"));
        create_private(&temporary)?;
        let shown = temporary.to_string_lossy().into_owned();
        let variables = TEMPORARY
            .iter()
            .map(|name| ((*name).to_owned(), shown.clone()))
            .collect();
        let mut write = self.write.clone();
        write.extend([workspace.to_owned(), temporary]);
        let read = self.read.clone();
        Ok(Place {
            walls: runner::Walls { read, write },
            variables,
        })
    }

    /// Removes the temporary folders of conversations that are not `known` any more. Blocks on the
    /// disk.
    ///
    /// # Errors
    /// The folder cannot be listed.
    pub(crate) fn expire(&self, known: impl Fn(&str) -> bool) -> io::Result<()> {
        for entry in std::fs::read_dir(&self.temporary)?.flatten() {
            let name = entry.file_name();
            let conversation = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
            if conversation.is_some_and(|conversation| !known(conversation)) {
                // What a tool made unremovable stays until the next time.
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
        Ok(())
    }
}

/// The folders in which programs are looked up.
fn programs(environment: &Environment) -> Vec<PathBuf> {
    let path = environment.get("PATH").unwrap_or_default();
    std::env::split_paths(path)
        .filter(|folder| folder.is_absolute())
        .collect()
}

/// The folder of the CLI's own file, wherever links lead.
fn program_folder(program: &Path) -> Option<PathBuf> {
    let real = program.canonicalize().ok()?;
    real.parent().map(Path::to_owned)
}

#[cfg(test)]
mod tests;

//! What an execution may touch: the system, its workspace, a home of the workspace, and a temporary
//! folder and a transcript of its conversation. The spool, the credentials' files, other workspaces
//! and the files of other conversations are outside. The runner puts the walls up
//! ([`runner::Walls`]).

mod configuration;
mod home;
mod open;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) use open::open;
use runner::Gap;

use crate::cli::{Environment, create_private};
use crate::config::ServeArgs;

/// Programs, libraries and the machine's configuration. `/run` is not among them: secrets are
/// mounted there.
const SYSTEM: [&str; 13] = [
    "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/opt", "/nix",
    "/proc", "/sys", "/var",
];

/// Where the memory is that programs share. Whoever opens it opens System V memory too.
const SHARED_MEMORY: &str = "/dev/shm";

/// Devices that hold nothing of anybody. [`SHARED_MEMORY`] is not among them.
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

/// The CLI takes messages for its conversation on a socket in this folder, and gives each tool the
/// word that opens it. Without the folder it has no socket. Measured with 2.1.329.
const NO_SOCKETS: [(&str, &str); 1] = [("XDG_RUNTIME_DIR", "/proc/none")];

/// The beginning of the name of a conversation's temporary folder.
const PREFIX: &str = "ccb-";

/// The walls of every execution of this service.
#[derive(Debug)]
pub(crate) struct Walls {
    read: Vec<PathBuf>,
    /// Devices, and the paths that the operator opened.
    write: Vec<PathBuf>,
    /// Whether the operator opened [`SHARED_MEMORY`].
    share_memory: bool,
    /// Where the temporary folders are.
    temporary: PathBuf,
    environment: Arc<Environment>,
    home: PathBuf,
}

/// What one execution gets.
pub(crate) struct Place {
    pub(crate) walls: runner::Walls,
    /// Variables that name its folders; nobody else may set them.
    pub(crate) variables: Vec<(String, String)>,
}

impl Walls {
    /// The walls that the arguments ask for; none when they ask for none, or the kernel has none.
    ///
    /// # Errors
    /// The walls would have a hole: a folder that executions must not touch lies in one that they
    /// may. The text names both.
    pub(crate) fn new(
        args: &ServeArgs,
        environment: &Arc<Environment>,
    ) -> Result<Option<Self>, String> {
        if !args.walls || runner::gaps().contains(&Gap::Everything) {
            return Ok(None);
        }
        let mut read: Vec<PathBuf> = SYSTEM.iter().map(PathBuf::from).collect();
        read.extend(programs(environment));
        read.extend(program_folder(&args.claude_bin));
        let named = READ_BY_NAME.iter().filter_map(|name| environment.get(name));
        read.extend(named.map(PathBuf::from));
        let mut write: Vec<PathBuf> = DEVICES.iter().map(PathBuf::from).collect();
        write.extend(args.walls_open.iter().cloned());
        let walls = Self {
            read,
            write,
            share_memory: args
                .walls_open
                .iter()
                .any(|path| Path::new(SHARED_MEMORY).starts_with(path)),
            temporary: environment.get("TMPDIR").unwrap_or("/tmp").into(),
            environment: Arc::clone(environment),
            home: environment.get("HOME").unwrap_or("/").into(),
        };
        // The whole home is open where the CLI's own login is used.
        let mut open = [walls.read.clone(), walls.write.clone()].concat();
        check(&open, &walls.home, "the homes of all executions")?;
        open.extend([walls.home.clone(), environment.config_dir()]);
        check(&open, &args.spool_dir, "the spool")?;
        check(&open, &args.workspace_root, "the workspaces")?;
        check(&open, &walls.temporary, "temporary files of all executions")?;
        Ok(Some(walls))
    }

    /// The walls of one execution, and its folders, which are made. Blocks on the disk.
    ///
    /// # Errors
    /// A folder cannot be made.
    pub(crate) fn place(
        &self,
        folder: &Path,
        workspace: &str,
        conversation: &str,
    ) -> io::Result<Place> {
        create_private(&self.temporary)?;
        let temporary = self.temporary.join(format!("{PREFIX}{conversation}"));
        create_private(&temporary)?;
        let mut variables: Vec<_> = TEMPORARY.map(|name| (name, temporary.clone())).to_vec();
        variables.extend(NO_SOCKETS.map(|(name, value)| (name, value.into())));
        let mut walls = runner::Walls {
            read: self.read.clone(),
            write: self.write.clone(),
            share_memory: self.share_memory,
        };
        walls.write.extend([folder.to_owned(), temporary.clone()]);
        if self.environment.logs_in() {
            walls.write.push(self.home.clone());
            walls.write.push(self.environment.config_dir());
        } else {
            let home = home::make(&self.home, workspace)?;
            let configuration = configuration::make(
                temporary.with_extension("configuration"),
                &self.environment.config_dir(),
                &self.environment.config_file(),
                conversation,
            )?;
            variables.push(("HOME", home.folder.clone()));
            variables.push(("CLAUDE_CONFIG_DIR", configuration.folder));
            walls.read.extend(home.read);
            walls.read.extend(configuration.read);
            walls.write.push(home.folder);
            walls.write.extend(configuration.write);
        }
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        let variables = variables
            .into_iter()
            .map(|(name, path)| (name.to_owned(), text(path)));
        Ok(Place {
            walls,
            variables: variables.collect(),
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
            let conversation = conversation.map(|name| name.trim_end_matches(".configuration"));
            if conversation.is_some_and(|conversation| !known(conversation)) {
                // What a tool made unremovable stays until the next time.
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
        Ok(())
    }
}

/// Refuses a folder that lies in an open one.
fn check(open: &[PathBuf], folder: &Path, what: &str) -> Result<(), String> {
    // A folder that is still to be made has a parent that is there.
    let real = folder
        .ancestors()
        .find_map(|part| part.canonicalize().ok())
        .unwrap_or_else(|| folder.to_owned());
    let mut open = open.iter().filter_map(|open| open.canonicalize().ok());
    match open.find(|open| real.starts_with(open)) {
        None => Ok(()),
        Some(open) => Err(format!(
            "--walls: {what}, {}, would be open to every execution, because {} is; move one of \
             them",
            folder.display(),
            open.display()
        )),
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

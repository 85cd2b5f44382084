//! The home of what the model runs: one for each workspace, below the home of the service. Caches and
//! settings of tools last there, and reach no other workspace.

use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::cli::create_private;

/// Where the homes are, below the home of the service.
const FOLDER: &str = ".workspace-homes";

/// What a person may have put into the service's home for git and its like. A home gets a link to
/// each, and every execution can read them.
const LINKED: [&str; 6] = [
    ".gitconfig",
    ".git-credentials",
    ".ssh",
    ".netrc",
    ".npmrc",
    ".pypirc",
];

/// A workspace's home, and what it links to.
#[derive(Debug)]
pub(super) struct Home {
    pub(super) folder: PathBuf,
    pub(super) read: Vec<PathBuf>,
}

/// Makes the home of a workspace, and the links that are missing.
///
/// # Errors
/// The disk's.
pub(super) fn make(own: &Path, workspace: &str) -> io::Result<Home> {
    let homes = own.join(FOLDER);
    create_private(&homes)?;
    let folder = homes.join(workspace);
    create_private(&folder)?;
    let mut read = Vec::new();
    for name in LINKED {
        let from = own.join(name);
        if !from.exists() {
            continue;
        }
        match symlink(&from, folder.join(name)) {
            // A tool may keep a file of its own there.
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => read.push(from),
        }
    }
    Ok(Home { folder, read })
}

//! The home of what the model runs: one for each workspace, below the home of the service. Caches and
//! settings of tools last there, and reach no other workspace.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::cli::create_private;

/// Where the homes are, below the home of the service.
const FOLDER: &str = ".workspace-homes";

/// What a person may have put into the service's home for git and its like. A home gets a link to
/// each, and every execution can read them.
const LINKED: [&str; 5] = [".git-credentials", ".ssh", ".netrc", ".npmrc", ".pypirc"];

/// The person's settings of git.
const GIT: &str = ".gitconfig";

/// A workspace's home, and what it links to.
#[derive(Debug)]
pub(super) struct Home {
    pub(super) folder: PathBuf,
    pub(super) read: Vec<PathBuf>,
}

/// Makes the home of a workspace, and what is missing in it. `own` is the service's home, `config_dir`
/// the CLI's configuration there.
///
/// # Errors
/// The disk's.
pub(super) fn make(own: &Path, workspace: &str, config_dir: &Path) -> io::Result<Home> {
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
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => read.push(from),
        }
    }
    let git = own.join(GIT);
    if git.exists() {
        include(&git, &folder.join(GIT))?;
        read.push(git);
    }
    link_configuration(&folder, config_dir)?;
    Ok(Home { folder, read })
}

/// Makes a file for git that includes the person's. `git config --global` writes beside the file that a
/// link leads to, so a link could not be changed.
fn include(person: &Path, own: &Path) -> io::Result<()> {
    let path = person.display().to_string();
    let path = path.replace('\\', "\\\\").replace('"', "\\\"");
    // Follows no link that a tool left.
    match File::create_new(own) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        file => file?.write_all(format!("[include]\n\tpath = \"{path}\"\n").as_bytes()),
    }
}

/// Makes `~/.claude` lead to what the person configured, for hooks that are named so. What tools put
/// there is set aside. They may do so again: a hook that must run is named by its absolute path.
fn link_configuration(home: &Path, config_dir: &Path) -> io::Result<()> {
    let link = home.join(".claude");
    if fs::read_link(&link).is_ok_and(|target| target == config_dir) {
        return Ok(());
    }
    // Never removed as a tree: a tool of this workspace may run, and put a link into the way.
    let aside = home.join(format!(".claude-{}", Uuid::new_v4()));
    match fs::rename(&link, aside) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    match symlink(config_dir, &link) {
        // Two executions of this workspace start at once.
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_persons_settings_are_linked_or_included_and_those_of_tools_stay() {
        let dir = tempfile::tempdir().unwrap();
        let own = dir.path().join("home");
        let config = own.join(".claude");
        fs::create_dir_all(own.join(".ssh")).unwrap();
        fs::create_dir_all(&config).unwrap();
        fs::write(own.join(".gitconfig"), "[user]\n").unwrap();
        let home = make(&own, "shop", &config).unwrap();
        assert_eq!(home.read, [own.join(".ssh"), own.join(".gitconfig")]);
        let git = home.folder.join(".gitconfig");
        let included = format!(
            "[include]\n\tpath = \"{}\"\n",
            own.join(".gitconfig").display()
        );
        assert_eq!(fs::read_to_string(&git).unwrap(), included);
        fs::write(&git, "mine").unwrap();
        let claude = home.folder.join(".claude");
        assert_eq!(fs::read_link(&claude).unwrap(), config);
        fs::remove_file(&claude).unwrap();
        fs::create_dir(&claude).unwrap();
        fs::write(claude.join("planted"), "x").unwrap();
        make(&own, "shop", &config).unwrap();
        assert_eq!(fs::read_to_string(git).unwrap(), "mine");
        assert_eq!(fs::read_link(claude).unwrap(), config);
    }
}

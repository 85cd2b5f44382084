//! The home folder of the commands that the model runs. Each workspace has its own, below the home
//! of the service. Caches and settings of tools are kept there, and are not visible in other
//! workspaces.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::cli::create_private;

/// The name of the folder that holds the homes of all workspaces, in the home of the service.
const FOLDER: &str = ".workspace-homes";
/// The name of the folder that holds a folder of workspace homes for each principal, in the home of
/// the service.
const FOLDER_OF_PRINCIPALS: &str = ".principal-homes";

/// The files and folders with settings and credentials for git and similar tools that a person may
/// have put into the service's home. Each workspace's home gets a link to each, and every execution
/// can read them.
const LINKED: [&str; 5] = [".git-credentials", ".ssh", ".netrc", ".npmrc", ".pypirc"];

/// The file of the git settings of the person who runs the service.
const GIT: &str = ".gitconfig";

/// The home folder that all executions of one principal in one workspace share.
#[derive(Debug)]
pub(super) struct Home {
    /// The path of the home folder, which the execution may write.
    pub(super) folder: PathBuf,
    /// The targets of the links in the home folder, which the execution may only read.
    pub(super) readable: Vec<PathBuf>,
}

/// Creates the home folder of a workspace, or the parts of it that are missing. Each principal has
/// a home of its own there. `own` is the service's home, and `config_dir` the CLI's configuration
/// folder. Files that a tool has created in the home stay as they are. Blocks on the disk.
///
/// # Errors
/// A file, link or folder cannot be created.
pub(super) fn create(
    own: &Path,
    principal: Option<&str>,
    workspace: &str,
    config_dir: &Path,
) -> io::Result<Home> {
    let mut homes = own.join(FOLDER);
    if let Some(principal) = principal {
        homes = own.join(FOLDER_OF_PRINCIPALS);
        create_private(&homes)?;
        homes = homes.join(principal);
    }
    create_private(&homes)?;
    let folder = homes.join(workspace);
    create_private(&folder)?;
    let mut readable = Vec::new();
    for name in LINKED {
        let from = own.join(name);
        if !from.exists() {
            continue;
        }
        match symlink(&from, folder.join(name)) {
            // A tool may have created its own file there.
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => readable.push(from),
        }
    }
    let git = own.join(GIT);
    if git.exists() {
        include_git_settings(&git, &folder.join(GIT))?;
        readable.push(git);
    }
    link_configuration(&folder, config_dir)?;
    Ok(Home { folder, readable })
}

/// Creates a git settings file `own` that includes the file `person`, unless `own` exists. A link
/// would not work: `git config --global` writes a temporary file next to the link's target, which
/// the execution may not do.
fn include_git_settings(person: &Path, own: &Path) -> io::Result<()> {
    let path = person.display().to_string();
    let path = path.replace('\\', "\\\\").replace('"', "\\\"");
    // `create_new` follows no link that a tool may have created.
    match File::create_new(own) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        file => file?.write_all(format!("[include]\n\tpath = \"{path}\"\n").as_bytes()),
    }
}

/// Makes `~/.claude` in the workspace's home a link to the person's configuration, for hooks that
/// are named by that path. A file or folder that a tool put there is renamed. Tools may replace the
/// link again, so a hook that must run should be named by its absolute path.
fn link_configuration(home: &Path, config_dir: &Path) -> io::Result<()> {
    let link = home.join(".claude");
    if fs::read_link(&link).is_ok_and(|target| target == config_dir) {
        return Ok(());
    }
    // Renamed, not removed as a tree: a running tool of this workspace could put a link into the
    // tree.
    let aside = home.join(format!(".claude-{}", Uuid::new_v4()));
    match fs::rename(&link, aside) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    match symlink(config_dir, &link) {
        // Another execution of this workspace starts at the same time.
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_the_person_are_linked_or_included_and_those_of_tools_stay() {
        let dir = tempfile::tempdir().unwrap();
        let own = dir.path().join("home");
        let config = own.join(".claude");
        fs::create_dir_all(own.join(".ssh")).unwrap();
        fs::create_dir_all(&config).unwrap();
        fs::write(own.join(".gitconfig"), "[user]\n").unwrap();
        let home = create(&own, None, "shop", &config).unwrap();
        assert_eq!(home.readable, [own.join(".ssh"), own.join(".gitconfig")]);
        let other = create(&own, Some("team-a"), "shop", &config).unwrap();
        assert_eq!(other.folder, own.join(".principal-homes/team-a/shop"));
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
        create(&own, None, "shop", &config).unwrap();
        assert_eq!(fs::read_to_string(git).unwrap(), "mine");
        assert_eq!(fs::read_link(claude).unwrap(), config);
    }
}

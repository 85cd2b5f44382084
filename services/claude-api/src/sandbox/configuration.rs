//! The configuration that the CLI reads in its sandbox: made anew for each start, and read-only. It
//! links to what the person who runs the service configured, which no tool can change; what the CLI has
//! to keep goes to a folder of the conversation.
//!
//! Which files the pinned CLI reads and writes was measured: docs/claude-cli.md.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::cli::create_private;

/// Files that a person may put into the CLI's configuration folder. The login is not among them:
/// executions get a key or a token. Every file `*.md` is linked, too: a `CLAUDE.md` may include it.
const LINKED: [&str; 9] = [
    "settings.json",
    "rules",
    "hooks",
    "scripts",
    "skills",
    "agents",
    "commands",
    "output-styles",
    "plugins",
];

/// Folders that the CLI writes and that are empty at each start: it runs scripts from `session-env` when
/// it continues a conversation.
const EMPTIED: [&str; 3] = ["shell-snapshots", "session-env", "plans"];

/// The configuration of one start.
#[derive(Debug)]
pub(super) struct Configuration {
    /// What its links lead to.
    pub(super) read: Vec<PathBuf>,
    pub(super) write: Vec<PathBuf>,
}

/// Makes the configuration of `conversation` in `folder`, which is empty. `own` is the
/// folder that the person configures, and `own_file` the CLI's file beside or in it.
///
/// # Errors
/// The disk's.
pub(super) fn make(
    folder: &Path,
    own: &Path,
    own_file: &Path,
    conversation: &str,
) -> io::Result<Configuration> {
    let mut read = Vec::new();
    create_private(own)?;
    for entry in fs::read_dir(own)?.flatten() {
        let name = entry.file_name();
        let text = name.to_str().unwrap_or_default();
        if LINKED.contains(&text) || text.ends_with(".md") {
            symlink(entry.path(), folder.join(&name))?;
            read.push(entry.path());
        }
    }
    identify(own_file)?;
    symlink(own_file, folder.join(".claude.json"))?;
    read.push(own_file.to_owned());
    let kept = kept(own, conversation)?;
    symlink(&kept, folder.join("projects"))?;
    let tasks = kept.join(".tasks");
    create_private(&tasks)?;
    symlink(&tasks, folder.join("tasks"))?;
    let mut write = vec![kept];
    for name in EMPTIED {
        let path = folder.join(name);
        create_private(&path)?;
        write.push(path);
    }
    Ok(Configuration { read, write })
}

/// Moves a transcript that was written in a sandbox to where a CLI without one looks for it. Blocks on
/// the disk.
///
/// # Errors
/// The disk's.
pub(crate) fn restore_transcript(own: &Path, conversation: &str) -> io::Result<()> {
    let projects = own.join("projects");
    let name = format!("{conversation}.jsonl");
    let kept = match fs::read_dir(projects.join(conversation)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        kept => kept?,
    };
    for project in kept.flatten() {
        let transcript = project.path().join(&name);
        // Tools may have written anything there.
        let of_cli = project.file_name().as_encoded_bytes().starts_with(b"-");
        let is_file = |path: &Path| fs::symlink_metadata(path).is_ok_and(|found| found.is_file());
        if of_cli && project.file_type()?.is_dir() && is_file(&transcript) {
            let folder = projects.join(project.file_name());
            create_private(&folder)?;
            fs::rename(transcript, folder.join(&name))?;
        }
    }
    Ok(())
}

/// The folder in which a conversation's transcript is kept. One from before the sandbox moves there.
fn kept(own: &Path, conversation: &str) -> io::Result<PathBuf> {
    let projects = own.join("projects");
    create_private(own)?;
    create_private(&projects)?;
    let kept = projects.join(conversation);
    create_private(&kept)?;
    let name = format!("{conversation}.jsonl");
    for project in fs::read_dir(&projects)?.flatten() {
        // The CLI's own folders are named by paths. Others belong to conversations, whose tools may
        // write any name there.
        let of_cli = project.file_name().as_encoded_bytes().starts_with(b"-");
        let old = project.path().join(&name);
        if of_cli && old.is_file() {
            let folder = kept.join(project.file_name());
            create_private(&folder)?;
            fs::rename(old, folder.join(&name))?;
        }
    }
    Ok(kept)
}

/// Makes `.claude.json` with ids: the CLI cannot write it in its sandbox, and would call itself another
/// device in each run.
fn identify(own_file: &Path) -> io::Result<()> {
    if own_file.exists() {
        return Ok(());
    }
    if let Some(folder) = own_file.parent() {
        create_private(folder)?;
    }
    let id = || {
        let [one, two] = [uuid::Uuid::new_v4(), uuid::Uuid::new_v4()];
        format!("{}{}", one.simple(), two.simple())
    };
    let text = serde_json::json!({"userID": id(), "machineID": id()}).to_string();
    // Whole at once: two executions may start at the same time, and the CLI refuses half a file.
    let staged = own_file.with_extension(format!("json.{}", uuid::Uuid::new_v4().simple()));
    fs::write(&staged, text)?;
    let taken = fs::hard_link(&staged, own_file);
    fs::remove_file(&staged)?;
    match taken {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

//! The CLI's configuration folder inside a sandbox. It is created anew for each start and is
//! read-only. Its entries link to the configuration of the person who runs the service, which no
//! tool can change. Files that the CLI has to keep are in a folder of the conversation.
//!
//! docs/claude-cli.md lists the files that the pinned CLI reads and writes (measured).

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::cli::create_private;

/// The entries of the CLI's configuration folder that every execution can read through links. The
/// login is not among them, because executions get a key or a token. Every file `*.md` is linked,
/// too, because a `CLAUDE.md` may include it.
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

/// The folders in the CLI's configuration that it writes and that are empty at each start. The CLI
/// runs scripts from `session-env` when it continues a conversation, so no script of an earlier
/// execution may remain.
const EMPTIED: [&str; 3] = ["shell-snapshots", "session-env", "plans"];

/// The paths that the sandbox must open so that the CLI can use its configuration.
#[derive(Debug)]
pub(super) struct Configuration {
    /// The targets of the links in the configuration folder, which the execution may only read.
    pub(super) readable: Vec<PathBuf>,
    /// The folders that the execution may write, such as the transcripts of its conversation.
    pub(super) writable: Vec<PathBuf>,
}

/// Creates the CLI's configuration for `conversation` in the empty folder `folder`, and returns the
/// paths that the sandbox must open. `own` is the configuration folder of the person who runs the
/// service, and `own_file` that person's `.claude.json`. Blocks on the disk.
///
/// # Errors
/// A file or folder cannot be read or created.
pub(super) fn create(
    folder: &Path,
    own: &Path,
    own_file: &Path,
    conversation: &str,
) -> io::Result<Configuration> {
    let mut readable = Vec::new();
    create_private(own)?;
    for entry in fs::read_dir(own)?.flatten() {
        let name = entry.file_name();
        let text = name.to_str().unwrap_or_default();
        if LINKED.contains(&text) || text.ends_with(".md") {
            symlink(entry.path(), folder.join(&name))?;
            readable.push(entry.path());
        }
    }
    create_ids(own_file)?;
    symlink(own_file, folder.join(".claude.json"))?;
    readable.push(own_file.to_owned());
    let kept = kept_folder(own, conversation)?;
    symlink(&kept, folder.join("projects"))?;
    let tasks = kept.join(".tasks");
    create_private(&tasks)?;
    symlink(&tasks, folder.join("tasks"))?;
    let mut writable = vec![kept];
    for name in EMPTIED {
        let path = folder.join(name);
        create_private(&path)?;
        writable.push(path);
    }
    Ok(Configuration { readable, writable })
}

/// Moves the transcript of a conversation out of its sandbox folder into the folder in which a CLI
/// without a sandbox looks for it. Does nothing if the conversation has no sandbox folder. Blocks
/// on the disk.
///
/// # Errors
/// A folder cannot be read or created, or the transcript cannot be moved.
pub(crate) fn restore_transcript(own: &Path, conversation: &str) -> io::Result<()> {
    let projects = own.join("projects");
    let name = format!("{conversation}.jsonl");
    let kept = match fs::read_dir(projects.join(conversation)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        kept => kept?,
    };
    for project in kept.flatten() {
        let transcript = project.path().join(&name);
        // Tools may have written any file there.
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

/// Returns the folder that keeps a conversation's transcripts. A missing folder is created. A
/// transcript that was written without a sandbox is moved into it.
fn kept_folder(own: &Path, conversation: &str) -> io::Result<PathBuf> {
    let projects = own.join("projects");
    create_private(own)?;
    create_private(&projects)?;
    let kept = projects.join(conversation);
    create_private(&kept)?;
    let name = format!("{conversation}.jsonl");
    for project in fs::read_dir(&projects)?.flatten() {
        // The CLI's own folders are named after paths and begin with `-`. The others belong to
        // conversations, whose tools may write any name there.
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

/// Creates the CLI's file `.claude.json` with random ids of user and machine, unless the file
/// exists. The CLI cannot write the file in its sandbox, and without ids it would appear as another
/// device in each run.
fn create_ids(own_file: &Path) -> io::Result<()> {
    if own_file.exists() {
        return Ok(());
    }
    if let Some(folder) = own_file.parent() {
        create_private(folder)?;
    }
    let id = || {
        let [first, second] = [uuid::Uuid::new_v4(), uuid::Uuid::new_v4()];
        format!("{}{}", first.simple(), second.simple())
    };
    let text = serde_json::json!({"userID": id(), "machineID": id()}).to_string();
    // The link makes the whole file appear in one step: two executions may start at the same time,
    // and the CLI refuses half a file.
    let staged = own_file.with_extension(format!("json.{}", uuid::Uuid::new_v4().simple()));
    fs::write(&staged, text)?;
    let linked = fs::hard_link(&staged, own_file);
    fs::remove_file(&staged)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

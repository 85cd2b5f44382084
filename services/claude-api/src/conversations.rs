//! Which conversations exist, in which workspace, and whether the CLI has begun them: one small file each.
//!
//! An acceptance and a start do not wait for the disk here: what a power cut takes is had again from elsewhere. A note itself
//! comes back at the next start, from the records of the executions that were accepted last; that
//! the CLI has begun it, from its transcript.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::cli::Conversation;

#[derive(Debug, Serialize, Deserialize)]
struct Note {
    workspace: String,
    begun: bool,
}

/// The folder of notes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Conversations {
    dir: Arc<PathBuf>,
}

impl Conversations {
    /// Opens the folder, made when missing.
    ///
    /// # Errors
    /// The disk's.
    pub fn open(dir: PathBuf) -> std::io::Result<Self> {
        spool::private_dir(&dir)?;
        Ok(Self { dir: Arc::new(dir) })
    }

    /// The workspace of a conversation; `None` when it is unknown.
    #[must_use]
    pub fn workspace(&self, conversation: &str) -> Option<String> {
        self.read(conversation).map(|note| note.workspace)
    }

    /// Notes a new conversation; an old one stays as it is.
    ///
    /// # Errors
    /// The disk's.
    pub fn add(&self, conversation: &str, workspace: &str) -> std::io::Result<()> {
        if self.read(conversation).is_some() {
            // It is in use: its time begins anew.
            return File::open(self.dir.join(conversation))?.set_modified(SystemTime::now());
        }
        let note = Note {
            workspace: workspace.to_owned(),
            begun: false,
        };
        let staged = self.dir.join(format!("{conversation}.new"));
        let mut file = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&staged)?;
        file.write_all(&serde_json::to_vec(&note)?)?;
        std::fs::rename(staged, self.dir.join(conversation))
    }

    /// Removes the notes that were last used more than `age` before `now`. Blocks on the disk.
    ///
    /// # Errors
    /// The folder cannot be listed.
    pub fn expire(&self, age: Duration, now: SystemTime) -> std::io::Result<u64> {
        let mut removed = 0;
        for note in std::fs::read_dir(&*self.dir)?.flatten() {
            let old = note
                .metadata()
                .map(|found| spool::last_change(&found))
                .is_ok_and(|at| now.duration_since(at).is_ok_and(|passed| passed > age));
            if old && std::fs::remove_file(note.path()).is_ok() {
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// The CLI has begun it: from here on it is resumed. A note that cannot be written is no harm while the CLI's own
    /// transcript is there.
    pub fn mark_begun(&self, conversation: &str) {
        if let Some(note) = self.read(conversation)
            && !note.begun
        {
            let begun = true;
            let written = self.change(conversation, &Note { begun, ..note });
            warn(conversation, written.map(drop));
        }
    }

    /// Whether the CLI begins it or goes on in it. Blocks on the disk.
    #[must_use]
    pub fn kind(&self, conversation: &str, config_dir: &Path) -> Conversation {
        if self.read(conversation).is_some_and(|note| note.begun)
            || transcript(config_dir, conversation)
        {
            Conversation::Continued
        } else {
            Conversation::New
        }
    }

    /// Whether the CLI can go on in it, from its transcript alone: what was killed at its start has begun and left nothing.
    /// Then it begins anew. Blocks on the disk.
    pub fn settle(&self, conversation: &str, config_dir: &Path) -> Conversation {
        if transcript(config_dir, conversation) {
            return Conversation::Continued;
        }
        if let Some(note) = self.read(conversation).filter(|note| note.begun) {
            let begun = false;
            // No transcript could tell this one.
            let written = self.change(conversation, &Note { begun, ..note });
            warn(conversation, written.and_then(|file| file.sync_data()));
        }
        Conversation::New
    }

    fn read(&self, conversation: &str) -> Option<Note> {
        let json = std::fs::read(self.dir.join(conversation)).ok()?;
        serde_json::from_slice(&json).ok()
    }

    /// In place and of the same length: a power cut leaves the old one or the new one, and never none.
    fn change(&self, conversation: &str, note: &Note) -> std::io::Result<File> {
        let path = self.dir.join(conversation);
        let file = File::options().write(true).open(path)?;
        let mut json = serde_json::to_vec(note)?;
        let len = usize::try_from(file.metadata()?.len()).unwrap_or(0);
        json.resize(json.len().max(len), b' ');
        file.write_all_at(&json, 0)?;
        Ok(file)
    }
}

fn warn(conversation: &str, written: std::io::Result<()>) {
    if let Err(error) = written {
        tracing::warn!(%error, conversation, "the conversation's note was not written");
    }
}

/// Whether the CLI holds a transcript of this name for any folder: it refuses to begin one twice.
fn transcript(config_dir: &Path, conversation: &str) -> bool {
    transcripts(config_dir, conversation).next().is_some()
}

/// The CLI's transcripts of this conversation: one, in a folder that is named by the path of its
/// workspace (`-` for each `/`), in the sandbox below a folder of the conversation.
fn transcripts(config_dir: &Path, conversation: &str) -> impl Iterator<Item = PathBuf> {
    let name = format!("{conversation}.jsonl");
    let projects = config_dir.join("projects");
    let dirs = [projects.join(conversation), projects];
    let entries = dirs.into_iter().flat_map(std::fs::read_dir).flatten();
    entries
        .flatten()
        // In the folder of another conversation, its tools may have written any name.
        .filter(|entry| entry.file_name().as_encoded_bytes().starts_with(b"-"))
        .map(move |dir| dir.path().join(&name))
        // Not a pipe, which would be waited for.
        .filter(|path| std::fs::symlink_metadata(path).is_ok_and(|file| file.is_file()))
}

/// How many bytes the CLI has written of a conversation's transcript, up to its last whole line.
/// Blocks on the disk.
#[must_use]
pub fn transcript_bytes(config_dir: &Path, conversation: &str) -> u64 {
    let whole = |path: PathBuf| {
        let file = File::open(path).ok()?;
        let len = file.metadata().ok()?.len();
        let mut last = [0];
        // A full disk may cut the last line, and the CLI cannot read a part of a line.
        file.read_exact_at(&mut last, len.checked_sub(1)?).ok()?;
        (last == *b"\n").then_some(len)
    };
    transcripts(config_dir, conversation)
        .filter_map(whole)
        .max()
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn begins_once_then_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("config");
        let conversations = Conversations::open(dir.path().join("c")).unwrap();
        assert_eq!(conversations.workspace("a"), None);
        conversations.add("a", "one").unwrap();
        conversations.add("a", "two").unwrap();
        assert_eq!(conversations.workspace("a").as_deref(), Some("one"));
        assert_eq!(conversations.kind("a", &config), Conversation::New);
        conversations.mark_begun("a");
        assert_eq!(conversations.kind("a", &config), Conversation::Continued);
        assert_eq!(conversations.workspace("a").as_deref(), Some("one"));
    }

    #[test]
    fn what_nobody_asks_for_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let conversations = Conversations::open(dir.path().to_owned()).unwrap();
        let hour = Duration::from_secs(3600);
        let begun = SystemTime::now();
        for name in ["old", "used"] {
            conversations.add(name, "w").unwrap();
        }
        let used = File::open(dir.path().join("used")).unwrap();
        used.set_modified(begun - 2 * hour).unwrap();
        conversations.add("used", "w").unwrap();
        assert!(used.metadata().unwrap().modified().unwrap() >= begun);
        // As it would be had it been used so much later.
        used.set_modified(begun + 2 * hour).unwrap();
        assert_eq!(conversations.expire(hour, begun + 2 * hour).unwrap(), 1);
        assert_eq!(conversations.workspace("old"), None);
        assert!(conversations.workspace("used").is_some());
    }

    #[test]
    fn what_left_no_transcript_begins_anew() {
        let dir = tempfile::tempdir().unwrap();
        let conversations = Conversations::open(dir.path().join("c")).unwrap();
        conversations.add("a", "one").unwrap();
        conversations.mark_begun("a");
        assert_eq!(conversations.settle("a", dir.path()), Conversation::New);
        assert_eq!(conversations.kind("a", dir.path()), Conversation::New);
        let project = dir.path().join("projects/-w");
        std::fs::create_dir_all(&project).unwrap();
        std::fs::write(project.join("a.jsonl"), "").unwrap();
        conversations.mark_begun("a");
        assert_eq!(
            conversations.settle("a", dir.path()),
            Conversation::Continued
        );
        assert_eq!(conversations.workspace("a").as_deref(), Some("one"));
    }

    /// Field case C13.
    #[test]
    fn an_empty_or_cut_transcript_counts_for_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let project = dir.path().join("projects/-w");
        std::fs::create_dir_all(&project).unwrap();
        let bytes = |text: &str| {
            std::fs::write(project.join("a.jsonl"), text).unwrap();
            transcript_bytes(dir.path(), "a")
        };
        assert_eq!(transcript_bytes(dir.path(), "a"), 0);
        assert_eq!(bytes(""), 0);
        assert_eq!(bytes("{}\n"), 3);
        assert_eq!(bytes("{}\n{\"a\":"), 0);
    }

    #[test]
    fn a_transcript_on_disk_is_enough() {
        let dir = tempfile::tempdir().unwrap();
        let conversations = Conversations::open(dir.path().join("c")).unwrap();
        conversations.add("a", "one").unwrap();
        let project = dir.path().join("projects/-w");
        std::fs::create_dir_all(&project).unwrap();
        std::fs::write(project.join("a.jsonl"), "").unwrap();
        assert_eq!(conversations.kind("a", dir.path()), Conversation::Continued);
    }
}

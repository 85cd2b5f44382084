//! The known conversations: sessions of the Claude CLI that later executions can continue. Each has
//! a note, a small file with its workspace and whether the CLI has begun it.
//!
//! Notes are not flushed to the disk (fsync), so that accepting and starting executions does not
//! wait for it. A note that a power cut destroys is rebuilt from the records of the executions that
//! were accepted last. Whether the CLI has begun the conversation is then known from the CLI's
//! transcript.

mod fork;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::cli::Conversation;
pub use fork::copy_transcript;

/// The note of one conversation, which is a file of JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// The name of the workspace in which the conversation takes place.
    pub workspace: String,
    /// The principal whose conversation it is. `None` if the service had no token file when the
    /// conversation was begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
    /// Whether the CLI has begun the conversation, so that the next start must use `--resume`.
    begun: bool,
}

/// The folder that holds one note (a small JSON file) for each known conversation. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Conversations {
    /// The path of the folder. A note has its conversation's id as its name.
    dir: Arc<PathBuf>,
}

impl Conversations {
    /// Opens the folder of notes. A missing folder is created with mode 0700.
    ///
    /// # Errors
    /// The folder cannot be created.
    pub fn open(dir: PathBuf) -> std::io::Result<Self> {
        spool::private_dir(&dir)?;
        Ok(Self { dir: Arc::new(dir) })
    }

    /// Returns the note of a conversation. `None` if the conversation is unknown, or if its note
    /// cannot be read or is damaged.
    #[must_use]
    pub fn find(&self, conversation: &str) -> Option<Note> {
        let json = std::fs::read(self.dir.join(conversation)).ok()?;
        serde_json::from_slice(&json).ok()
    }

    /// Writes the note of a new conversation. If the conversation is known already, only the
    /// modification time of its note is renewed, so that it expires later; its workspace and its
    /// principal do not change.
    ///
    /// # Errors
    /// The note cannot be written.
    pub fn add(
        &self,
        conversation: &str,
        workspace: &str,
        principal: Option<&str>,
    ) -> std::io::Result<()> {
        if self.find(conversation).is_some() {
            // The conversation is in use: its note expires later.
            return File::open(self.dir.join(conversation))?.set_modified(SystemTime::now());
        }
        let note = Note {
            workspace: workspace.to_owned(),
            principal: principal.map(str::to_owned),
            begun: false,
        };
        let staged = self.dir.join(format!("{conversation}.new"));
        spool::write_private(&staged, &serde_json::to_vec(&note)?)?;
        std::fs::rename(staged, self.dir.join(conversation))
    }

    /// Removes the notes of conversations that were not used for longer than `age`, and returns
    /// their number. `now` is the current time. A note that cannot be removed is skipped. Blocks on
    /// the disk.
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

    /// Notes that the CLI has begun the conversation, so that later executions resume it. An
    /// unknown conversation is ignored. A failed write is only logged: the CLI's own transcript has
    /// the same information.
    pub fn mark_begun(&self, conversation: &str) {
        if let Some(note) = self.find(conversation)
            && !note.begun
        {
            let begun = true;
            let written = self.change(conversation, &Note { begun, ..note });
            warn(conversation, written.map(drop));
        }
    }

    /// Returns how the next start of the CLI treats the conversation: `Continued` if the note says
    /// that it was begun or a transcript exists in `config_dir` (the CLI's configuration folder),
    /// otherwise `New`. The CLI fails when a begun conversation is begun again. Blocks on the disk.
    #[must_use]
    pub fn kind(&self, conversation: &str, config_dir: &Path) -> Conversation {
        if self.find(conversation).is_some_and(|note| note.begun)
            || has_transcript(config_dir, conversation)
        {
            Conversation::Continued
        } else {
            Conversation::New
        }
    }

    /// Returns whether the CLI can continue the conversation, from its transcript alone, and
    /// corrects the note. A CLI that was killed during its start has begun the conversation but
    /// left no transcript; the result is then `New`. Blocks on the disk.
    pub fn settle(&self, conversation: &str, config_dir: &Path) -> Conversation {
        if has_transcript(config_dir, conversation) {
            return Conversation::Continued;
        }
        if let Some(note) = self.find(conversation).filter(|note| note.begun) {
            let begun = false;
            // Flushed, because no transcript could restore this fact after a power cut.
            let written = self.change(conversation, &Note { begun, ..note });
            warn(conversation, written.and_then(|file| file.sync_data()));
        }
        Conversation::New
    }

    /// Overwrites a note in place, padded with spaces to its old length. A power cut then leaves
    /// the old note or the new one, but never an empty file.
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

/// Logs a failed update of a conversation's note.
fn warn(conversation: &str, written: std::io::Result<()>) {
    if let Err(error) = written {
        tracing::warn!(
            %error,
            conversation,
            "could not update the note of a conversation; its next execution may begin the \
             conversation instead of continuing it, or the other way round, and fail"
        );
    }
}

/// Returns whether the CLI has a transcript of the conversation in any workspace. The CLI refuses
/// to begin a conversation (`--session-id`) that has one.
fn has_transcript(config_dir: &Path, conversation: &str) -> bool {
    transcripts(config_dir, conversation).next().is_some()
}

/// Returns the paths of the CLI's transcripts of this conversation, usually one or none. The CLI
/// puts a transcript into a folder named after the path of the workspace, with `-` for each `/`. In
/// the sandbox, that folder is inside a folder of the conversation.
fn transcripts(config_dir: &Path, conversation: &str) -> impl Iterator<Item = PathBuf> {
    let name = format!("{conversation}.jsonl");
    let projects = config_dir.join("projects");
    let dirs = [projects.join(conversation), projects];
    let entries = dirs.into_iter().flat_map(std::fs::read_dir).flatten();
    entries
        .flatten()
        // Folders of conversations do not begin with `-`. Their tools may have written any name
        // there.
        .filter(|entry| entry.file_name().as_encoded_bytes().starts_with(b"-"))
        .map(move |dir| dir.path().join(&name))
        // The open of a pipe would block.
        .filter(|path| std::fs::symlink_metadata(path).is_ok_and(|file| file.is_file()))
}

/// Returns the length of the conversation's longest transcript in bytes. It is 0 if there is none,
/// or if its last line was cut (as by a full disk), because the CLI cannot read that. Blocks on the
/// disk.
#[must_use]
pub fn transcript_bytes(config_dir: &Path, conversation: &str) -> u64 {
    let whole_length = |path: PathBuf| {
        let file = File::open(path).ok()?;
        let len = file.metadata().ok()?.len();
        let mut last = [0];
        // A full disk may cut the last line, and the CLI cannot read a part of a line.
        file.read_exact_at(&mut last, len.checked_sub(1)?).ok()?;
        (last == *b"\n").then_some(len)
    };
    transcripts(config_dir, conversation)
        .filter_map(whole_length)
        .max()
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conversation_begins_once_and_is_then_continued() {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("config");
        let conversations = Conversations::open(dir.path().join("c")).unwrap();
        assert_eq!(conversations.find("a"), None);
        conversations.add("a", "one", None).unwrap();
        conversations.add("a", "two", None).unwrap();
        assert_eq!(
            conversations
                .find("a")
                .map(|note| note.workspace)
                .as_deref(),
            Some("one")
        );
        assert_eq!(conversations.kind("a", &config), Conversation::New);
        conversations.mark_begun("a");
        assert_eq!(conversations.kind("a", &config), Conversation::Continued);
        assert_eq!(
            conversations
                .find("a")
                .map(|note| note.workspace)
                .as_deref(),
            Some("one")
        );
    }

    #[test]
    fn the_note_of_an_unused_conversation_expires() {
        let dir = tempfile::tempdir().unwrap();
        let conversations = Conversations::open(dir.path().to_owned()).unwrap();
        let hour = Duration::from_secs(3600);
        let begun = SystemTime::now();
        for name in ["old", "used"] {
            conversations.add(name, "w", None).unwrap();
        }
        let used = File::open(dir.path().join("used")).unwrap();
        used.set_modified(begun - 2 * hour).unwrap();
        conversations.add("used", "w", None).unwrap();
        assert!(used.metadata().unwrap().modified().unwrap() >= begun);
        // The time of a use two hours later.
        used.set_modified(begun + 2 * hour).unwrap();
        assert_eq!(conversations.expire(hour, begun + 2 * hour).unwrap(), 1);
        assert_eq!(conversations.find("old"), None);
        assert!(conversations.find("used").is_some());
    }

    #[test]
    fn a_begun_conversation_without_a_transcript_begins_anew() {
        let dir = tempfile::tempdir().unwrap();
        let conversations = Conversations::open(dir.path().join("c")).unwrap();
        conversations.add("a", "one", None).unwrap();
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
        assert_eq!(
            conversations
                .find("a")
                .map(|note| note.workspace)
                .as_deref(),
            Some("one")
        );
    }

    #[test]
    fn an_empty_or_cut_transcript_has_no_length() {
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
    fn a_conversation_with_a_transcript_is_continued_without_a_note() {
        let dir = tempfile::tempdir().unwrap();
        let conversations = Conversations::open(dir.path().join("c")).unwrap();
        conversations.add("a", "one", None).unwrap();
        let project = dir.path().join("projects/-w");
        std::fs::create_dir_all(&project).unwrap();
        std::fs::write(project.join("a.jsonl"), "").unwrap();
        assert_eq!(conversations.kind("a", dir.path()), Conversation::Continued);
    }
}

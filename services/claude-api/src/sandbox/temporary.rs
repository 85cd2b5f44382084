//! The temporary folders of conversations. A folder is created when the first execution of its
//! conversation starts, and is kept for later ones. It is removed when the conversation is
//! forgotten or the disk is nearly full.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use rustix::fs::statvfs;
use uuid::Uuid;

use super::remove::remove_tree;
use crate::cli::create_private;

/// The suffix of the name of a conversation's private folder. That folder is next to the temporary
/// folder and is created anew at each start.
const PRIVATE: &str = ".private";
/// The free part of the disk (0.10 is a tenth) below which unused temporary folders are removed.
const LOW_FREE_PART: f64 = 0.10;
/// The free part of the disk (0.25 is a quarter) at which the removal of temporary folders stops.
const TARGET_FREE_PART: f64 = 0.25;

/// The temporary folders of all conversations, and the number of executions that use each.
///
/// - The start of an execution creates the folders of its conversation. They stay while the
///   execution runs, and then until the conversation is forgotten or less than a tenth of the disk
///   is free.
/// - No caller waits for another. If no unused folder is left to remove, the service is not ready
///   (`no-room`).
/// - A conversation has one temporary folder, which all its executions share.
#[derive(Debug)]
pub(super) struct Temporary {
    /// The folder in which all temporary folders are created, usually `/tmp`.
    pub(super) root: PathBuf,
    /// The beginning of the names of this service's folders. It distinguishes them from the folders
    /// of another service with the same root.
    prefix: String,
    /// The conversations whose folders are in use.
    in_use: Arc<Mutex<Conversations>>,
}

/// The number of running executions by conversation id. A conversation without executions is
/// absent.
type Conversations = HashMap<String, usize>;

/// The temporary folders of one execution. They are not removed while this value exists.
#[derive(Debug)]
pub(crate) struct Folders {
    /// The folder for temporary files, which all executions of the conversation share.
    pub(super) temporary: PathBuf,
    /// The folder for the CLI's configuration and the system prompts of one execution. It is empty
    /// at each start. It is outside the temporary folder, because the execution must not write to
    /// it.
    pub(super) private: PathBuf,
    /// The id of the conversation.
    conversation: String,
    /// The table of folders in use, from which this execution is removed when the value is dropped.
    in_use: Arc<Mutex<Conversations>>,
}

impl Drop for Folders {
    fn drop(&mut self) {
        let mut in_use = lock(&self.in_use);
        if let Some(count) = in_use.get_mut(&self.conversation) {
            *count -= 1;
            if *count == 0 {
                in_use.remove(&self.conversation);
            }
        }
    }
}

// Held to read or change the map, or for a rename; never across an await.
fn lock(in_use: &Mutex<Conversations>) -> MutexGuard<'_, Conversations> {
    in_use.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Temporary {
    /// Creates the set of temporary folders below `root`, without touching the disk's content. The
    /// path `spool` is unique to this service and gives its folders their own names.
    pub(super) fn new(root: PathBuf, spool: &Path) -> Self {
        let spool = spool.canonicalize().unwrap_or_else(|_| spool.to_owned());
        let name = crc32fast::hash(spool.as_os_str().as_encoded_bytes());
        Self {
            root,
            prefix: format!("ccb-{name:08x}-"),
            in_use: Arc::default(),
        }
    }

    /// Creates the folders of an execution that starts in this conversation, and empties the
    /// private one. They stay until the returned value is dropped. Blocks on the disk.
    ///
    /// # Errors
    /// A folder cannot be created or emptied.
    pub(super) fn create(&self, conversation: &str) -> io::Result<Folders> {
        create_private(&self.root)?;
        *lock(&self.in_use)
            .entry(conversation.to_owned())
            .or_default() += 1;
        let folders = Folders {
            temporary: self.temporary(conversation),
            private: self.private(conversation),
            conversation: conversation.to_owned(),
            in_use: Arc::clone(&self.in_use),
        };
        create_private(&folders.temporary)?;
        remove_tree(&folders.private)?;
        create_private(&folders.private)?;
        Ok(folders)
    }

    /// Removes the folders of conversations that no execution uses and for which `known` returns
    /// false. A folder that cannot be removed is skipped. Blocks on the disk.
    ///
    /// # Errors
    /// The root cannot be listed.
    pub(super) fn expire(&self, known: impl Fn(&str) -> bool) -> io::Result<()> {
        for conversation in self.conversations()? {
            if !known(&conversation) {
                self.remove(&conversation);
            }
        }
        Ok(())
    }

    /// Removes folders of conversations that no execution uses, if less than a tenth of the disk is
    /// free. The least recently used are removed first, until a quarter is free. Returns the number
    /// of conversations whose folders were removed. Blocks on the disk.
    ///
    /// # Errors
    /// The root cannot be read.
    pub(super) fn make_room(&self) -> io::Result<usize> {
        self.make_room_with(|| free_part(&self.root))
    }

    /// Implements [`Self::make_room`]. `free` returns the free part of the disk, from 0 to 1; tests
    /// replace it.
    fn make_room_with(&self, free: impl Fn() -> io::Result<f64>) -> io::Result<usize> {
        if free()? >= LOW_FREE_PART {
            return Ok(0);
        }
        let mut oldest_first: Vec<_> = self
            .conversations()?
            .into_iter()
            .map(|conversation| (self.last_start(&conversation), conversation))
            .collect();
        oldest_first.sort();
        let mut removed = 0;
        for (_, conversation) in oldest_first {
            if free()? >= TARGET_FREE_PART {
                break;
            }
            removed += usize::from(self.remove(&conversation));
        }
        Ok(removed)
    }

    /// Returns the path of a conversation's temporary folder, which may not exist.
    fn temporary(&self, conversation: &str) -> PathBuf {
        self.root.join(format!("{}{conversation}", self.prefix))
    }

    /// Returns the path of a conversation's private folder, which may not exist.
    fn private(&self, conversation: &str) -> PathBuf {
        self.root
            .join(format!("{}{conversation}{PRIVATE}", self.prefix))
    }

    /// Returns the ids of the conversations that have folders on disk, including leftovers of a
    /// failed removal.
    fn conversations(&self) -> io::Result<BTreeSet<String>> {
        let entries = match std::fs::read_dir(&self.root) {
            // No execution was started yet.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
            entries => entries?.flatten(),
        };
        let own = entries.filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let conversation = name.strip_prefix(&self.prefix)?;
            let conversation = conversation.strip_suffix(PRIVATE).unwrap_or(conversation);
            Some(conversation.to_owned())
        });
        Ok(own.collect())
    }

    /// Returns when an execution of the conversation was last started, from the time of its private
    /// folder, which each start creates anew. The Unix epoch if that folder is missing.
    fn last_start(&self, conversation: &str) -> SystemTime {
        let meta = std::fs::symlink_metadata(self.private(conversation));
        meta.map_or(SystemTime::UNIX_EPOCH, |meta| spool::last_change(&meta))
    }

    /// Removes the folders of a conversation unless an execution uses them. Returns true if they
    /// are gone, and false if they are in use or could not be removed completely.
    fn remove(&self, conversation: &str) -> bool {
        let mut aside = Vec::new();
        {
            // An execution that starts now waits for the renames, and then creates new folders.
            let in_use = lock(&self.in_use);
            if in_use.contains_key(conversation) {
                return false;
            }
            for folder in [self.temporary(conversation), self.private(conversation)] {
                // This is the name of no conversation, so the next pass removes the rest after a
                // failure.
                let to = self.temporary(&format!("removed-{}", Uuid::new_v4()));
                match std::fs::rename(&folder, &to) {
                    Ok(()) => aside.push(to),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(_) => return false,
                }
            }
        }
        aside.iter().all(|folder| match remove_tree(folder) {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(
                    %error,
                    folder = %folder.display(),
                    "could not remove all temporary files of a conversation; the next cleanup \
                     retries"
                );
                false
            }
        })
    }
}

/// Returns the part of a folder's file system that is free for unprivileged users, from 0 to 1. It
/// is 1 if the folder does not exist.
fn free_part(folder: &Path) -> io::Result<f64> {
    let stat = match statvfs(folder) {
        Err(rustix::io::Errno::NOENT) => return Ok(1.0),
        stat => stat?,
    };
    #[expect(clippy::cast_precision_loss, reason = "a part, not a count")]
    let part = stat.f_bavail as f64 / stat.f_blocks.max(1) as f64;
    Ok(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(root: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(root).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn only_unused_folders_of_this_service_expire() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("tmp");
        let one = Temporary::new(root.clone(), Path::new("/spool/one"));
        let other = Temporary::new(root.clone(), Path::new("/spool/other"));
        drop((one.create("kept").unwrap(), one.create("old").unwrap()));
        drop(other.create("old").unwrap());
        let used = one.create("used").unwrap();
        let used_again = one.create("used").unwrap();
        std::fs::write(root.join("foreign"), "x").unwrap();
        let all = names(&root);
        one.expire(|conversation| conversation == "kept").unwrap();
        let gone = |left: &[String]| -> Vec<_> {
            let gone = all.iter().filter(|name| !left.contains(name)).cloned();
            gone.collect()
        };
        let old = format!("{}old", one.prefix);
        assert_eq!(gone(&names(&root)), [old.clone(), format!("{old}.private")]);
        drop(used);
        one.expire(|_| false).unwrap();
        assert!(used_again.temporary.exists() && used_again.private.exists());
        drop(used_again);
        one.expire(|_| false).unwrap();
        let left: Vec<_> = names(&root);
        let others = format!("{}old", other.prefix);
        assert_eq!(
            left,
            [
                others.clone(),
                format!("{others}.private"),
                "foreign".to_owned()
            ]
        );
    }

    #[test]
    fn the_least_recently_used_folders_are_removed_first() {
        let dir = tempfile::tempdir().unwrap();
        let temporary = Temporary::new(dir.path().join("tmp"), Path::new("/spool"));
        let used = temporary.create("a").unwrap();
        for conversation in ["b", "c", "d", "b"] {
            let before = SystemTime::now();
            // The clock of the file system advances in steps.
            while temporary.last_start(conversation) < before {
                drop(temporary.create(conversation).unwrap());
            }
        }
        let there = |conversation: &str| {
            let folder = format!("{}{conversation}", temporary.prefix);
            temporary.root.join(folder).exists()
        };
        assert_eq!(temporary.make_room_with(|| Ok(0.1)).unwrap(), 0);
        // c is the least recently used.
        let gone = temporary.make_room_with(|| Ok(if there("c") { 0.09 } else { 0.25 }));
        assert_eq!(gone.unwrap(), 1);
        assert_eq!(["a", "b", "c", "d"].map(there), [true, true, false, true]);
        temporary.make_room_with(|| Ok(0.0)).unwrap();
        assert_eq!(["a", "b", "c", "d"].map(there), [true, false, false, false]);
        drop(used);
    }

    #[test]
    fn a_private_folder_is_empty_at_each_start() {
        let dir = tempfile::tempdir().unwrap();
        let temporary = Temporary::new(dir.path().join("tmp"), Path::new("/spool"));
        let first = temporary.create("one").unwrap();
        std::fs::write(first.private.join("planted"), "x").unwrap();
        std::fs::write(first.temporary.join("kept"), "x").unwrap();
        drop(first);
        let second = temporary.create("one").unwrap();
        assert!(names(&second.private).is_empty());
        assert_eq!(names(&second.temporary), ["kept"]);
    }
}

//! The file with the shares of an execution. A share opens one execution to somebody without a
//! token; the caller chooses its format. The file is in the execution's folder, so it is removed
//! with the execution.
//!
//! ```text
//! 0   magic
//! 8   the CRC-32 of the execution's id and the shares
//! 12  the shares
//! ```
//!
//! Most executions have no shares, and so no such file. A new version is written in `staging`,
//! which the start of the service empties, and renamed: readers get the old version or the new one.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use uuid::Uuid;

use super::{Store, name};
use crate::files::{sync_dir, u32_at, write_private};

/// The most bytes that the shares of one execution may have (64 KiB).
pub const SHARES_BYTES_MAX: usize = 64 << 10;
/// The first bytes of a file with shares; they also name the version of the format.
const MAGIC: [u8; 8] = *b"ccshare1";
/// The length of the magic and the checksum, in bytes.
const HEAD_BYTES: usize = 12;

impl Store {
    /// Reads the shares of an execution with one open(2), whether it exists or not. Empty if it has
    /// none, does not exist or was deleted.
    ///
    /// # Errors
    /// `InvalidData` if the file is damaged or of another execution, or the error of the operating
    /// system. The shares then open nothing.
    pub(crate) fn shares(&self, id: Uuid) -> io::Result<Vec<u8>> {
        let file = match File::open(self.shares_path(id)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::new();
        let longest = HEAD_BYTES + SHARES_BYTES_MAX;
        file.take(longest as u64 + 1).read_to_end(&mut bytes)?;
        let whole = (HEAD_BYTES..=longest).contains(&bytes.len())
            && bytes[..8] == MAGIC
            && u32_at(&bytes, 8) == checksum(id, &bytes[HEAD_BYTES..]);
        if !whole {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the shares are damaged",
            ));
        }
        bytes.drain(..HEAD_BYTES);
        Ok(bytes)
    }

    /// Replaces the shares of an execution, and waits until they are on disk. Without shares, the
    /// file is removed, which works on a full disk. The caller holds the id (see [`Store::hold`]),
    /// so that no other task writes or deletes them now.
    ///
    /// # Errors
    /// `InvalidInput` if the shares are longer than [`SHARES_BYTES_MAX`], or the error of the
    /// operating system. On an error the old shares stay, or the new ones may not survive a power
    /// cut.
    pub(crate) fn write_shares(&self, id: Uuid, shares: &[u8]) -> io::Result<()> {
        if shares.len() > SHARES_BYTES_MAX {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the shares of one execution are longer than 64 KiB",
            ));
        }
        let path = self.shares_path(id);
        if shares.is_empty() {
            remove(&path)?;
        } else {
            let staged = self.staged_shares_path(id);
            let written =
                write_synced(&staged, id, shares).and_then(|()| fs::rename(&staged, &path));
            if written.is_err() {
                // A file that stays is removed by the next start.
                let _ = fs::remove_file(&staged);
            }
            written?;
        }
        sync_dir(&self.folder(id))
    }

    /// Returns the path of the file with the shares of an execution.
    pub(crate) fn shares_path(&self, id: Uuid) -> PathBuf {
        self.folder(id).join("shares")
    }

    /// Returns the path at which the shares of an execution are written before they replace the old
    /// ones.
    pub(crate) fn staged_shares_path(&self, id: Uuid) -> PathBuf {
        self.dir
            .join("staging")
            .join(format!("{}.shares", name(id)))
    }
}

/// Removes the file `path`. A missing file counts as removed.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Writes a file with the shares of the execution `id`, and waits until its content is on disk.
fn write_synced(path: &Path, id: Uuid, shares: &[u8]) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(HEAD_BYTES + shares.len());
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&checksum(id, shares).to_le_bytes());
    bytes.extend_from_slice(shares);
    write_private(path, &bytes)?.sync_all()
}

/// Returns the checksum of an execution's shares. It covers the id, so that a file in the wrong
/// folder is recognised.
fn checksum(id: Uuid, shares: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(id.as_bytes());
    crc.update(shares);
    crc.finalize()
}

//! The keys by which bridges count the sessions of principals and of shares.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use protocol::SecretHash;
use protocol::access::base64url;
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use spool::Owner;

/// The length of the key on disk, in bytes (HMAC with SHA-256).
const KEY_BYTES: usize = 32;
/// The length of a key that stands for a principal or a share, in bytes.
const QUOTA_BYTES: usize = 12;

/// Makes the keys that stand for principals and shares in `Me`. A key tells nothing about the name
/// of its principal, and stays the same when the service restarts: it is an HMAC with a random key
/// that is kept on disk.
///
/// No token is made or checked with that key. So whoever reads it learns which `quota` stands for
/// which principal, and cannot forge a token.
pub(crate) struct QuotaKeys {
    key: hmac::Key,
}

impl QuotaKeys {
    /// Reads the key from the file `path`, which belongs to this service alone (mode 0600). Creates
    /// it if it is missing. A damaged file is replaced and logged: bridges then count sessions
    /// anew. Blocks on the disk.
    ///
    /// # Errors
    /// The file cannot be read or written, or the system has no random numbers.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let bytes = match read(path)? {
            Some(bytes) => bytes,
            None => create(path)?,
        };
        Ok(Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, &bytes),
        })
    }

    /// Returns the key of a principal and its shares.
    pub(crate) fn of_owner(&self, owner: Owner) -> String {
        self.of(b"owner", owner.as_bytes())
    }

    /// Returns the key of one share, from the hash of its token.
    pub(crate) fn of_share(&self, share: &SecretHash) -> String {
        self.of(b"share", share.as_bytes())
    }

    fn of(&self, kind: &[u8], bytes: &[u8]) -> String {
        let signature = hmac::sign(&self.key, &[kind, bytes].concat());
        base64url(&signature.as_ref()[..QUOTA_BYTES])
    }
}

/// Reads the key. `None` if the file is missing or damaged.
fn read(path: &Path) -> io::Result<Option<[u8; KEY_BYTES]>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(KEY_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    let key = bytes.try_into().ok();
    if key.is_none() {
        tracing::warn!(
            path = %path.display(),
            "the key of the quotas is damaged; replacing it, and bridges count sessions anew"
        );
    }
    Ok(key)
}

/// Writes a random key to the disk, and returns it once it is there.
fn create(path: &Path) -> io::Result<[u8; KEY_BYTES]> {
    let mut bytes = [0; KEY_BYTES];
    let random = SystemRandom::new().fill(&mut bytes);
    random.map_err(|_| io::Error::other("the system has no random numbers"))?;
    let staged = path.with_extension("new");
    // The mode of a file that an earlier attempt left would stay as it is.
    match std::fs::remove_file(&staged) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&staged)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    std::fs::rename(staged, path)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn keys_survive_a_restart_and_differ_between_services() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("quota.key");
        let keys = QuotaKeys::open(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
        let [a, b] = ["a", "b"].map(Owner::of);
        assert_ne!(keys.of_owner(a), keys.of_owner(b));
        let share = SecretHash::of(b"share");
        assert_ne!(keys.of_share(&share), keys.of_owner(a));
        let again = QuotaKeys::open(&path).unwrap();
        assert_eq!(again.of_owner(a), keys.of_owner(a));
        assert_eq!(again.of_share(&share), keys.of_share(&share));
        let other = QuotaKeys::open(&dir.path().join("other.key")).unwrap();
        assert_ne!(other.of_owner(a), keys.of_owner(a));
    }

    #[test]
    fn a_damaged_key_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("quota.key");
        for damaged in [&b""[..], &[7; KEY_BYTES - 1], &[7; KEY_BYTES + 1]] {
            std::fs::write(&path, damaged).unwrap();
            std::fs::write(path.with_extension("new"), "left behind").unwrap();
            QuotaKeys::open(&path).unwrap();
            let bytes = std::fs::read(&path).unwrap();
            assert_eq!(bytes.len(), KEY_BYTES);
            assert_ne!(bytes, [7; KEY_BYTES]);
        }
    }
}

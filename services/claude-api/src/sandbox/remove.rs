//! The removal of folders that tools of the model may have filled with a tree of any depth and any
//! file modes.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use uuid::Uuid;

/// Removes a folder and everything in it. A missing folder is not an error. No process may use the
/// folder at the same time. Blocks on the disk.
///
/// `fs::remove_dir_all` recurses, and a tree of 16,000 levels made the service crash. So this
/// function moves each nested folder up to `root` before it empties it: the stack and the number of
/// file descriptors do not grow with the depth. Modes that forbid the removal are changed first.
///
/// # Errors
/// A file or folder cannot be removed. What was removed before stays removed.
pub(super) fn remove_tree(root: &Path) -> io::Result<()> {
    loop {
        match fs::remove_dir(root) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => {}
            removed => return removed,
        }
        for child in list(root)? {
            let child = child?;
            let path = child.path();
            if !child.file_type()?.is_dir() {
                fs::remove_file(path)?;
                continue;
            }
            for grandchild in list(&path)? {
                let grandchild = grandchild?;
                if grandchild.file_type()?.is_dir() {
                    // A move changes the `..` of a folder, so the folder must be writable, too.
                    allow_access(&grandchild.path())?;
                    fs::rename(grandchild.path(), root.join(Uuid::new_v4().to_string()))?;
                } else {
                    fs::remove_file(grandchild.path())?;
                }
            }
            fs::remove_dir(path)?;
        }
    }
}

/// Sets a folder's mode to 0700 and lists its entries.
fn list(folder: &Path) -> io::Result<fs::ReadDir> {
    allow_access(folder)?;
    fs::read_dir(folder)
}

/// Sets a folder's mode to 0700, so that its entries can be listed and removed.
fn allow_access(folder: &Path) -> io::Result<()> {
    fs::set_permissions(folder, Permissions::from_mode(0o700))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `std::fs` cannot create or remove such a tree: the path is too long, and the stack too
    /// small.
    #[test]
    fn a_tree_of_any_depth_is_removed() {
        const LEVELS: usize = 20_000;
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        fs::create_dir_all(root.join("wide")).unwrap();
        for number in 0..100 {
            fs::write(root.join(format!("wide/{number}")), "").unwrap();
        }
        // The tree is built from the innermost folder to the outermost one.
        let (inner, outer) = (dir.path().join("inner"), dir.path().join("outer"));
        fs::create_dir(&inner).unwrap();
        for _ in 0..LEVELS {
            fs::create_dir(&outer).unwrap();
            fs::rename(&inner, outer.join("d")).unwrap();
            fs::rename(&outer, &inner).unwrap();
        }
        fs::rename(&inner, root.join("deep")).unwrap();
        remove_tree(&root).unwrap();
        assert!(!root.exists());
        remove_tree(&root).unwrap();
    }

    #[test]
    fn modes_do_not_prevent_a_removal_and_links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (root, other) = (dir.path().join("root"), dir.path().join("other"));
        fs::create_dir_all(root.join("a/b/c")).unwrap();
        fs::create_dir(&other).unwrap();
        fs::write(other.join("kept"), "").unwrap();
        for link in ["link", "a/link", "a/b/link"] {
            std::os::unix::fs::symlink(&other, root.join(link)).unwrap();
        }
        for folder in ["a/b/c", "a/b", "a", ""] {
            fs::set_permissions(root.join(folder), Permissions::from_mode(0o000)).unwrap();
        }
        remove_tree(&root).unwrap();
        assert!(!root.exists() && other.join("kept").exists());
    }
}

//! Removes folders that tools could fill as they like.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use uuid::Uuid;

/// Removes a folder with all that is in it; that it is not there is no error. Nothing else may use it
/// meanwhile. Blocks on the disk.
///
/// Needs the same stack and few descriptors however deep the folders are: `fs::remove_dir_all` recurses,
/// and one of 16,000 levels ended the service. So a folder in a folder is moved up before it is
/// emptied. A mode that forbids the removal is changed first.
///
/// # Errors
/// The disk's; what was removed before stays so.
pub(super) fn remove_tree(root: &Path) -> io::Result<()> {
    loop {
        match fs::remove_dir(root) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => {}
            removed => return removed,
        }
        for child in open(root)? {
            let child = child?;
            let path = child.path();
            if !child.file_type()?.is_dir() {
                fs::remove_file(path)?;
                continue;
            }
            for grandchild in open(&path)? {
                let grandchild = grandchild?;
                if grandchild.file_type()?.is_dir() {
                    // Moving a folder changes its `..`, so it must be writable, too.
                    allow(&grandchild.path())?;
                    fs::rename(grandchild.path(), root.join(Uuid::new_v4().to_string()))?;
                } else {
                    fs::remove_file(grandchild.path())?;
                }
            }
            fs::remove_dir(path)?;
        }
    }
}

/// Lists a folder, which may be changed from then on.
fn open(folder: &Path) -> io::Result<fs::ReadDir> {
    allow(folder)?;
    fs::read_dir(folder)
}

fn allow(folder: &Path) -> io::Result<()> {
    fs::set_permissions(folder, Permissions::from_mode(0o700))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `std::fs` cannot make or remove, because the path is too long or its stack too short.
    #[test]
    fn a_folder_of_any_depth_goes() {
        const LEVELS: usize = 20_000;
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        fs::create_dir_all(root.join("wide")).unwrap();
        for number in 0..100 {
            fs::write(root.join(format!("wide/{number}")), "").unwrap();
        }
        // From the innermost to the outermost: each gets the one before.
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
    fn neither_modes_nor_links_hinder_or_mislead() {
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

//! Modes of folders and files: only the owner may read prompts and outputs.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::Path,
};

/// The mode of folders in the spool, whatever the umask: only the owner may read prompts and
/// outputs.
const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// Returns options with which a new file has mode 0600.
pub(crate) fn private() -> OpenOptions {
    let mut options = File::options();
    options.mode(FILE_MODE);
    options
}

/// Opens a file for reading and writing, and creates it with mode 0600 if it is missing.
pub(crate) fn create_or_open(path: &Path) -> io::Result<File> {
    private()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(path)
}

/// Creates a folder with mode 0700.
pub(crate) fn create_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(FOLDER_MODE).create(path)
}

/// Creates a missing folder, and its missing parents, with mode 0700. Narrows the modes of an
/// existing folder: its contents first, so that an interrupted start repeats the work.
///
/// The mode of another owner's folder stays; its contents are still narrowed.
///
/// # Errors
/// The folder cannot be created or listed, or a mode cannot be changed.
pub fn private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(FOLDER_MODE)
        .create(path)?;
    if is_open_to_others(&fs::metadata(path)?) {
        narrow_contents(path)?;
        narrow(path, FOLDER_MODE)?;
    }
    Ok(())
}

fn is_open_to_others(metadata: &fs::Metadata) -> bool {
    metadata.permissions().mode() & 0o077 != 0
}

fn narrow_contents(dir: &Path) -> io::Result<()> {
    for found in fs::read_dir(dir)? {
        let found = found?;
        let metadata = found.metadata()?;
        if metadata.is_dir() {
            narrow_contents(&found.path())?;
        }
        // A link has no mode of its own.
        if !metadata.is_symlink() && is_open_to_others(&metadata) {
            let mode = if metadata.is_dir() {
                FOLDER_MODE
            } else {
                FILE_MODE
            };
            narrow(&found.path(), mode)?;
        }
    }
    Ok(())
}

fn narrow(path: &Path, mode: u32) -> io::Result<()> {
    match fs::set_permissions(path, Permissions::from_mode(mode)) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            tracing::debug!(path = %path.display(), "could not change the mode of another owner's folder");
            Ok(())
        }
        narrowed => narrowed,
    }
}

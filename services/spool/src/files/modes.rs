//! Permissions of the spool's folders and files. Only their owner may read them, because they hold
//! prompts and outputs.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::Path,
};

/// The mode of the spool's folders (0700, only the owner may enter), whatever the umask.
const FOLDER_MODE: u32 = 0o700;
/// The mode of the spool's files (0600, only the owner may read and write), whatever the umask.
const FILE_MODE: u32 = 0o600;

/// Returns options for opening files that give a newly created file the mode 0600, whatever the
/// umask.
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

/// Writes `bytes` as the whole content of a file, and creates it with mode 0600 if it is missing.
/// Returns the open file. The content may not be on disk yet: a caller that needs that syncs the
/// file.
///
/// # Errors
/// The file cannot be created or written. It may then have a part of the content.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<File> {
    let mut file = private()
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)?;
    file.write_all(bytes)?;
    Ok(file)
}

/// Creates a folder with mode 0700. Fails if it exists.
pub(crate) fn create_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(FOLDER_MODE).create(path)
}

/// Makes sure that the folder `path` exists and that only its owner can enter it. Creates it and
/// its missing parents with mode 0700. If an existing folder is open to others, all folders in it
/// get mode 0700 and all files 0600. The folder itself is changed last, so that an interrupted
/// start repeats the work.
///
/// Files and folders of another owner keep their mode, but the contents of such a folder are still
/// changed.
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

/// Whether the mode gives any right to the group or to all users.
fn is_open_to_others(metadata: &fs::Metadata) -> bool {
    metadata.permissions().mode() & 0o077 != 0
}

/// Gives all folders below `dir` the mode 0700 and all files 0600, if they are open to others.
fn narrow_contents(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        if metadata.is_dir() {
            narrow_contents(&entry.path())?;
        }
        // A symbolic link has no mode.
        if !metadata.is_symlink() && is_open_to_others(&metadata) {
            let mode = if metadata.is_dir() {
                FOLDER_MODE
            } else {
                FILE_MODE
            };
            narrow(&entry.path(), mode)?;
        }
    }
    Ok(())
}

/// Sets the mode of a file or folder. A file of another owner keeps its mode, which is logged.
fn narrow(path: &Path, mode: u32) -> io::Result<()> {
    match fs::set_permissions(path, Permissions::from_mode(mode)) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let path = path.display();
            tracing::debug!(%path, "could not make another owner's file private; its mode stays");
            Ok(())
        }
        narrowed => narrowed,
    }
}

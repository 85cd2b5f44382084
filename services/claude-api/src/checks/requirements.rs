//! The requirements of an execution other than writable folders: a configuration that the CLI can
//! read, room on every disk that the execution writes to, and a workspace that it may enter.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::cli::Environment;
use crate::config::ServeArgs;
use crate::readiness::Obstacle;
use protocol::body::DEFAULT_WORKSPACE;

/// The free space in bytes that a disk must have for executions. With less, the service is not
/// ready (`no-room`).
pub(super) const ROOM_BYTES: u64 = 16 * 1024 * 1024;

/// The pause before a broken configuration is read a second time. The CLI may have been writing the
/// file during the first read.
const REREAD: Duration = Duration::from_millis(100);

/// Checks the requirements of an execution other than writable folders, and caches what it found.
///
/// A valid configuration of the CLI is read again only when its file has changed. A broken one is
/// read at each check: its remedy may be a new mode or owner, or a restored backup, and these need
/// not change the file's time or length.
#[derive(Debug, Default)]
pub(super) struct Requirements {
    /// The version of the CLI's configuration file that was last read and was valid. `None` before
    /// the first check, and while the file is broken.
    whole: Option<FileVersion>,
}

/// The modification time and the length of a file. If they are unchanged, the content counts as
/// unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileVersion {
    /// The modification time.
    modified: SystemTime,
    /// The length in bytes.
    len: u64,
}

impl Requirements {
    /// Checks all requirements, and returns an obstacle for each that is not met. An empty list
    /// means that all are met. Blocks on the disk.
    pub(super) fn check(&mut self, environment: &Environment, args: &ServeArgs) -> Vec<Obstacle> {
        let mut obstacles = Vec::new();
        obstacles.extend(self.cli_config(&environment.config_file(), &environment.config_dir()));
        obstacles.extend(full_disks(environment, args));
        let default_workspace = args.default_workspace.as_deref();
        let folder = crate::cli::workspace_folder(
            &args.workspace_root,
            default_workspace,
            DEFAULT_WORKSPACE,
        );
        // A workspace below the root is created on demand.
        if (default_workspace.is_some() || folder.exists())
            && let Some(reason) = runner::explain_inaccessible(&folder)
        {
            obstacles.push(Obstacle::new(
                "workspace-closed",
                format!(
                    "the workspace {DEFAULT_WORKSPACE:?}, {}, cannot be used: {reason}",
                    folder.display()
                ),
                "give the service's user the right to enter the folder, or name another one",
            ));
        }
        obstacles
    }

    /// Returns an obstacle if the CLI cannot read its configuration `file`; `None` if it can, or if
    /// the file is missing. Measured with 2.1.329: the CLI refuses to start when the file is not
    /// JSON, and when the file is empty while a backup exists. Without a backup, an empty file
    /// counts as a first start.
    fn cli_config(&mut self, file: &Path, config_dir: &Path) -> Option<Obstacle> {
        let meta = std::fs::metadata(file).ok()?;
        let version = FileVersion {
            modified: meta.modified().ok()?,
            len: meta.len(),
        };
        if self.whole == Some(version) {
            return None;
        }
        let mut fault = config_fault(file, config_dir);
        if fault.is_some() {
            std::thread::sleep(REREAD);
            fault = config_fault(file, config_dir);
        }
        self.whole = fault.is_none().then_some(version);
        fault.map(|fault| {
            let shown = file.display();
            let remedy = match newest_backup(config_dir) {
                Some(backup) => {
                    format!("restore it: cp -f {} {shown}", backup.display())
                }
                None => format!("remove it, and the CLI makes a new one: rm {shown}"),
            };
            Obstacle::new(
                "cli-config-broken",
                format!("the CLI cannot read its configuration {shown}: {fault}"),
                remedy,
            )
        })
    }
}

/// Returns why the CLI cannot read its configuration file, in words. `None` if it can, or if the
/// file is missing, which the CLI treats as a first start.
fn config_fault(file: &Path, config_dir: &Path) -> Option<String> {
    let bytes = match std::fs::read(file) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => return Some(error.to_string()),
    };
    if bytes.is_empty() {
        return newest_backup(config_dir).map(|_| "it is empty".to_owned());
    }
    if bytes.iter().all(|byte| *byte == 0) {
        return Some("it holds only NULs".to_owned());
    }
    let parsed = serde_json::from_slice::<serde::de::IgnoredAny>(&bytes);
    // The text of the error has a line and a column, and repeats nothing of the file.
    parsed.err().map(|error| format!("it is not JSON: {error}"))
}

/// Returns the newest backup that the CLI made of its configuration. Their names end in the time,
/// so the last by name is the newest. `None` if there is no backup.
fn newest_backup(config_dir: &Path) -> Option<PathBuf> {
    let files = std::fs::read_dir(config_dir.join("backups"))
        .ok()?
        .flatten();
    let backup = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.starts_with(".claude.json.backup"))
    };
    files.map(|file| file.path()).filter(backup).max()
}

/// Returns an obstacle for each folder that executions write to and whose disk is full. The disk of
/// the spool is checked separately.
fn full_disks(environment: &Environment, args: &ServeArgs) -> Vec<Obstacle> {
    let mut folders = vec![
        ("CLI's home", environment.config_dir()),
        ("workspace root", args.workspace_root.clone()),
    ];
    let temporary = environment.temporary_dirs().into_iter();
    folders.extend(temporary.map(|dir| ("temporary folder", dir)));
    folders
        .into_iter()
        .filter_map(|(what, folder)| {
            let left = available(&folder)?;
            (left < ROOM_BYTES).then(|| {
                Obstacle::new(
                    "no-room",
                    format!(
                        "the disk of the {what}, {}, has {left} bytes left, less than {ROOM_BYTES}",
                        folder.display()
                    ),
                    "free some space on that disk",
                )
            })
        })
        .collect()
}

/// Returns the number of bytes that this user may still write to the folder's disk. `None` if the
/// file system does not report it, or the folder does not exist.
fn available(folder: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(folder).ok()?;
    (stat.f_blocks > 0).then(|| stat.f_bavail.saturating_mul(stat.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_configuration_of_the_cli_is_named_with_its_remedy() {
        let home = tempfile::tempdir().unwrap();
        let (file, config_dir) = (
            home.path().join(".claude.json"),
            home.path().join(".claude"),
        );
        let check = |bytes: &[u8]| {
            std::fs::write(&file, bytes).unwrap();
            Requirements::default().cli_config(&file, &config_dir)
        };
        assert_eq!(check(b"{\"a\":1}"), None);
        assert_eq!(check(b""), None, "without a backup it is a first start");
        for bytes in [&b"{\"a\":{\"b\":"[..], &[0; 200], b"\0\0{}"] {
            let obstacle = check(bytes).expect("it is broken");
            assert_eq!(obstacle.code, "cli-config-broken");
            let names_file = obstacle.message.contains(file.to_str().unwrap());
            assert!(names_file, "{obstacle:?}");
            assert!(obstacle.remedy.contains("rm "), "{obstacle:?}");
        }
        let backups = config_dir.join("backups");
        std::fs::create_dir_all(&backups).unwrap();
        for time in ["1795874457757", "1795874461875"] {
            let name = format!(".claude.json.backup.{time}");
            std::fs::write(backups.join(name), "{}").unwrap();
        }
        let obstacle = check(b"").expect("the CLI refuses it");
        let names_backup = obstacle.remedy.contains("backup.1795874461875");
        assert!(names_backup, "{obstacle:?}");
    }

    /// The cause may also be a mode or an owner, which change neither the file's time nor its
    /// length.
    #[test]
    fn a_broken_configuration_is_read_again_even_if_the_file_is_unchanged() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join(".claude.json");
        let backups = home.path().join("backups");
        std::fs::write(&file, "").unwrap();
        std::fs::create_dir(&backups).unwrap();
        std::fs::write(backups.join(".claude.json.backup.1"), "{}").unwrap();
        let mut requirements = Requirements::default();
        assert!(requirements.cli_config(&file, home.path()).is_some());
        std::fs::remove_dir_all(&backups).unwrap();
        assert_eq!(requirements.cli_config(&file, home.path()), None);
    }

    #[test]
    fn a_changed_configuration_is_read_again() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join(".claude.json");
        let mut requirements = Requirements::default();
        std::fs::write(&file, "{").unwrap();
        for _ in 0..2 {
            assert!(requirements.cli_config(&file, home.path()).is_some());
        }
        std::fs::write(&file, "{}").unwrap();
        assert_eq!(requirements.cli_config(&file, home.path()), None);
    }
}

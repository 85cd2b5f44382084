//! Requirements of an execution beside writable folders: a configuration that the CLI can read,
//! room on every disk that it writes to, and a workspace that it may enter.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::cli::Environment;
use crate::config::ServeArgs;
use crate::readiness::Obstacle;
use protocol::body::DEFAULT_WORKSPACE;

/// Room that an execution needs to be recorded, bytes.
pub(super) const ROOM_BYTES: u64 = 16 * 1024 * 1024;

/// The pause before a broken configuration is read again: the CLI may be writing it.
const REREAD: Duration = Duration::from_millis(100);

/// The checks of these requirements. They remember the time and the length of the CLI's
/// configuration when it was last found whole, so that it is read only when it changed. A broken
/// one is read each time: the cause may be a mode, an owner or a backup, which change neither.
#[derive(Debug, Default)]
pub(super) struct Places {
    whole: Option<FileVersion>,
}

/// Tells one content of a file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileVersion {
    modified: SystemTime,
    /// Bytes.
    len: u64,
}

impl Places {
    /// Returns all obstacles. Blocks on the disk.
    pub(super) fn look(&mut self, environment: &Environment, args: &ServeArgs) -> Vec<Obstacle> {
        let mut obstacles = Vec::new();
        obstacles.extend(self.cli_config(&environment.config_file(), &environment.config_dir()));
        obstacles.extend(rooms(environment, args));
        let default_workspace = args.default_workspace.as_deref();
        let folder = crate::cli::workspace_folder(
            &args.workspace_root,
            default_workspace,
            DEFAULT_WORKSPACE,
        );
        // A workspace below the root is created on demand.
        if (default_workspace.is_some() || folder.exists())
            && let Some(why) = runner::cannot_enter(&folder)
        {
            obstacles.push(Obstacle::new(
                "workspace-closed",
                format!(
                    "the workspace {DEFAULT_WORKSPACE:?}, {}, cannot be used: {why}",
                    folder.display()
                ),
                "give the service's user the right to enter the folder, or name another one",
            ));
        }
        obstacles
    }

    /// Measured with 2.1.329: the CLI refuses to start when the file is not JSON, and when it is
    /// empty while a backup exists. Without a backup an empty one counts as a first start.
    fn cli_config(&mut self, file: &Path, config_dir: &Path) -> Option<Obstacle> {
        let meta = std::fs::metadata(file).ok()?;
        let seen = FileVersion {
            modified: meta.modified().ok()?,
            len: meta.len(),
        };
        if self.whole == Some(seen) {
            return None;
        }
        let mut broken = is_broken(file, config_dir);
        if broken.is_some() {
            std::thread::sleep(REREAD);
            broken = is_broken(file, config_dir);
        }
        self.whole = broken.is_none().then_some(seen);
        broken.map(|what| {
            let shown = file.display();
            let remedy = match newest_backup(config_dir) {
                Some(backup) => {
                    format!("restore it: cp -f {} {shown}", backup.display())
                }
                None => format!("remove it, and the CLI makes a new one: rm {shown}"),
            };
            Obstacle::new(
                "cli-config-broken",
                format!("the CLI cannot read its configuration {shown}: {what}"),
                remedy,
            )
        })
    }
}

fn is_broken(file: &Path, config_dir: &Path) -> Option<String> {
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
    // The error's text has a line and a column, and nothing of the file.
    parsed.err().map(|error| format!("it is not JSON: {error}"))
}

/// The newest of the CLI's own copies of its configuration: their names end in the time.
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

/// The folders that an execution writes to, the spool aside, whose disk is full.
fn rooms(environment: &Environment, args: &ServeArgs) -> Vec<Obstacle> {
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

/// Returns the bytes that this user may still write to the folder's disk; None when the file system
/// does not say.
fn available(folder: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(folder).ok()?;
    (stat.f_blocks > 0).then(|| stat.f_bavail.saturating_mul(stat.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Field case C1.
    #[test]
    fn a_broken_configuration_of_the_cli_is_named_with_its_remedy() {
        let home = tempfile::tempdir().unwrap();
        let (file, config_dir) = (
            home.path().join(".claude.json"),
            home.path().join(".claude"),
        );
        let look = |bytes: &[u8]| {
            std::fs::write(&file, bytes).unwrap();
            Places::default().cli_config(&file, &config_dir)
        };
        assert_eq!(look(b"{\"a\":1}"), None);
        assert_eq!(look(b""), None, "without a backup it is a first start");
        for bytes in [&b"{\"a\":{\"b\":"[..], &[0; 200], b"\0\0{}"] {
            let found = look(bytes).expect("it is broken");
            assert_eq!(found.code, "cli-config-broken");
            assert!(found.message.contains(file.to_str().unwrap()), "{found:?}");
            assert!(found.remedy.contains("rm "), "{found:?}");
        }
        let backups = config_dir.join("backups");
        std::fs::create_dir_all(&backups).unwrap();
        for time in ["1795874457757", "1795874461875"] {
            let name = format!(".claude.json.backup.{time}");
            std::fs::write(backups.join(name), "{}").unwrap();
        }
        let found = look(b"").expect("the CLI refuses it");
        assert!(found.remedy.contains("backup.1795874461875"), "{found:?}");
    }

    /// A mode or an owner may stand in the way as well: neither changes the file's time or length.
    #[test]
    fn a_broken_configuration_is_looked_at_again_though_the_file_is_the_same() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join(".claude.json");
        let backups = home.path().join("backups");
        std::fs::write(&file, "").unwrap();
        std::fs::create_dir(&backups).unwrap();
        std::fs::write(backups.join(".claude.json.backup.1"), "{}").unwrap();
        let mut places = Places::default();
        assert!(places.cli_config(&file, home.path()).is_some());
        std::fs::remove_dir_all(&backups).unwrap();
        assert_eq!(places.cli_config(&file, home.path()), None);
    }

    #[test]
    fn a_configuration_is_read_again_when_it_changed() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join(".claude.json");
        let mut places = Places::default();
        std::fs::write(&file, "{").unwrap();
        for _ in 0..2 {
            assert!(places.cli_config(&file, home.path()).is_some());
        }
        std::fs::write(&file, "{}").unwrap();
        assert_eq!(places.cli_config(&file, home.path()), None);
    }
}

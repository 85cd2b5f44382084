//! The copy of a transcript for a fork of its conversation.
//!
//! The tools of a conversation may write the folder of its transcript, also while the copy is made.
//! So a link in it is not followed, only a regular file is read, and the copy has a limit.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};

use crate::cli::create_private;

/// The maximum length of a transcript that is copied, in bytes (256 MiB).
const TRANSCRIPT_BYTES_MAX: u64 = 256 << 20;

/// Copies the longest transcript of the conversation `source` to where the CLI looks for it when it
/// forks `source` to the conversation `copy`. The source may be in use: an incomplete last line is
/// not copied. Blocks on the disk.
///
/// # Errors
/// There is no transcript, it is too long, it cannot be read, or the copy cannot be written.
pub fn copy_transcript(config_dir: &Path, source: &str, copy: &str) -> io::Result<()> {
    let projects = config_dir.join("projects");
    let name = format!("{source}.jsonl");
    let mut longest: Option<(u64, File, std::ffi::OsString)> = None;
    for folder in [projects.join(source), projects.clone()] {
        let Ok(root) = File::open(&folder) else {
            continue;
        };
        for entry in fs::read_dir(&folder)?.flatten() {
            // The CLI's own folders are named after paths and begin with `-`.
            let project = entry.file_name();
            if !project.as_encoded_bytes().starts_with(b"-") {
                continue;
            }
            let Some((length, file)) = open_regular(&root, &Path::new(&project).join(&name)) else {
                continue;
            };
            if longest.as_ref().is_none_or(|(known, ..)| length > *known) {
                longest = Some((length, file, project));
            }
        }
    }
    let Some((length, file, project)) = longest else {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            "it has no transcript; continue it once before you fork it",
        ));
    };
    if length > TRANSCRIPT_BYTES_MAX {
        return Err(io::Error::other(format!(
            "its transcript has {length} bytes; at most {TRANSCRIPT_BYTES_MAX} are copied"
        )));
    }
    let folder = projects.join(copy).join(project);
    create_private(&folder)?;
    copy_lines(file, &folder.join(name))
}

/// Opens a regular file below a folder, and returns its length too. `None` if it is none, or if a
/// part of the path is a link. The open of a pipe does not block.
fn open_regular(root: &File, path: &Path) -> Option<(u64, File)> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::BENEATH;
    let file = File::from(openat2(root, path, flags, Mode::empty(), resolve).ok()?);
    let found = file.metadata().ok().filter(fs::Metadata::is_file)?;
    Some((found.len(), file))
}

/// Copies the complete lines of a file into a new file.
fn copy_lines(file: File, target: &Path) -> io::Result<()> {
    // An earlier attempt of the same start may have left a part.
    match fs::remove_file(target) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut out = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(target)?;
    let mut from = file.take(TRANSCRIPT_BYTES_MAX);
    let mut chunk = vec![0; 128 * 1024];
    let (mut length, mut whole) = (0, 0);
    loop {
        let read = from.read(&mut chunk)?;
        if read == 0 {
            break;
        }
        out.write_all(&chunk[..read])?;
        if let Some(at) = chunk[..read].iter().rposition(|byte| *byte == b'\n') {
            whole = length + at as u64 + 1;
        }
        length += read as u64;
    }
    out.set_len(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "s";

    fn copied(prepare: impl Fn(&Path)) -> io::Result<String> {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("projects/s/-w");
        fs::create_dir_all(&folder).unwrap();
        prepare(&folder);
        copy_transcript(dir.path(), SOURCE, "c")?;
        fs::read_to_string(dir.path().join("projects/c/-w/s.jsonl"))
    }

    #[test]
    fn complete_lines_of_the_longest_transcript_are_copied() {
        let text = copied(|folder| {
            fs::write(folder.join("s.jsonl"), "{\"a\":1}\n{\"b\":2}\n{\"c").unwrap();
            let other = folder.with_file_name("-x");
            fs::create_dir_all(&other).unwrap();
            fs::write(other.join("s.jsonl"), "{}\n").unwrap();
        });
        assert_eq!(text.unwrap(), "{\"a\":1}\n{\"b\":2}\n");
    }

    #[test]
    fn a_link_a_pipe_and_a_missing_transcript_are_refused() {
        let secret = tempfile::NamedTempFile::new().unwrap();
        fs::write(secret.path(), "secret\n").unwrap();
        let linked = |folder: &Path| {
            std::os::unix::fs::symlink(secret.path(), folder.join("s.jsonl")).unwrap();
        };
        assert!(copied(linked).is_err());
        let linked_folder = |folder: &Path| {
            let real = folder.with_file_name("real");
            fs::create_dir_all(&real).unwrap();
            fs::write(real.join("s.jsonl"), "secret\n").unwrap();
            fs::remove_dir(folder).unwrap();
            std::os::unix::fs::symlink(&real, folder).unwrap();
        };
        assert!(copied(linked_folder).is_err());
        let pipe = |folder: &Path| {
            let path = folder.join("s.jsonl");
            let mode = Mode::RUSR | Mode::WUSR;
            rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0)
                .unwrap();
        };
        assert!(copied(pipe).is_err());
        assert!(copied(|_| {}).is_err());
    }

    #[test]
    fn a_transcript_that_is_too_long_is_refused() {
        let sparse = |folder: &Path| {
            let file = File::create(folder.join("s.jsonl")).unwrap();
            file.set_len(TRANSCRIPT_BYTES_MAX + 1).unwrap();
        };
        assert!(copied(sparse).is_err());
    }

    #[test]
    fn a_second_copy_replaces_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("projects/s/-w");
        fs::create_dir_all(&folder).unwrap();
        for text in ["{\"a\":1}\n", "{}\n"] {
            fs::write(folder.join("s.jsonl"), text).unwrap();
            copy_transcript(dir.path(), SOURCE, "c").unwrap();
            let copy = fs::read_to_string(dir.path().join("projects/c/-w/s.jsonl"));
            assert_eq!(copy.unwrap(), text);
        }
    }
}

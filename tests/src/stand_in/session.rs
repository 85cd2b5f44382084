//! The stand-in's files: the known sessions, and the log of starts.

use std::{fs, io::Write, path::PathBuf};

use super::flags::Flags;

/// One session, known by `--session-id`, `--resume`, or neither.
#[derive(Debug, Clone)]
pub(super) struct Session {
    pub(super) id: String,
    directory: Option<PathBuf>,
}

/// Why a session is refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// `--session-id` names one that exists.
    InUse(String),
    /// `--resume` names a session that does not exist here.
    Unknown(String),
}

fn configuration() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    set("CLAUDE_CONFIG_DIR")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(set("HOME")?).join(".claude")))
}

impl Session {
    pub(super) fn open(flags: &Flags) -> Result<Self, Refused> {
        let directory = configuration();
        let resumed = flags.get("resume");
        let forks = resumed.is_some() && flags.get("fork-session").is_some();
        let own = flags.get("session-id");
        let id = if forks { own } else { resumed.or(own) };
        let id = id.map_or_else(|| uuid::Uuid::new_v4().to_string(), str::to_owned);
        let session = Self { id, directory };
        append(
            session
                .directory
                .as_ref()
                .map(|directory| directory.join("spawns.log")),
            &session.spawn_line(),
        );
        let is_known = |session: &Self| session.file().is_some_and(|file| file.exists());
        if let Some(source) = resumed {
            let source = Self {
                id: source.to_owned(),
                directory: session.directory.clone(),
            };
            if !is_known(&source) {
                return Err(Refused::Unknown(source.id));
            }
            if let (true, Some(from), Some(to)) = (forks, source.file(), session.file()) {
                // The copy is only what `@recall` counts.
                let _ = fs::copy(from, to);
            }
        } else if is_known(&session) {
            return Err(Refused::InUse(session.id));
        }
        Ok(session)
    }

    /// Opens a file of this session for copies of its stdin or stdout, in the folder `recorded`.
    pub(super) fn record(&self, name: &str) -> Option<fs::File> {
        let folder = self.directory.as_ref()?.join("recorded");
        fs::create_dir_all(&folder).ok()?;
        let file = folder.join(format!("{}.{name}", self.id));
        let mut options = fs::OpenOptions::new();
        options.create(true).append(true).open(file).ok()
    }

    fn spawn_line(&self) -> String {
        format!("{} {}\n", std::process::id(), self.id)
    }

    pub(super) fn log_spawn_to(&self, file: &str) {
        append(Some(file.into()), &self.spawn_line());
    }

    fn file(&self) -> Option<PathBuf> {
        // The directory is part of the name: the real CLI finds a session only in its directory.
        let cwd = std::env::current_dir()
            .unwrap_or_default()
            .to_string_lossy()
            .replace(['/', '.'], "-");
        Some(
            self.directory
                .as_ref()?
                .join("projects")
                .join(cwd)
                .join(format!("{}.jsonl", self.id)),
        )
    }

    /// Records a prompt.
    pub(super) fn remember(&self, prompt: &str) {
        let line =
            serde_json::json!({"type": "user", "message": {"role": "user", "content": prompt}});
        append(self.file(), &format!("{line}\n"));
    }

    /// Returns the number of recorded prompts, and the first line of the first one.
    pub(super) fn recall(&self) -> (usize, String) {
        let text = self
            .file()
            .and_then(|file| fs::read_to_string(file).ok())
            .unwrap_or_default();
        let first = text
            .lines()
            .next()
            .and_then(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let prompt = first.and_then(|line| {
            Some(
                line["message"]["content"]
                    .as_str()?
                    .lines()
                    .next()?
                    .to_owned(),
            )
        });
        (text.lines().count(), prompt.unwrap_or_default())
    }
}

fn append(file: Option<PathBuf>, line: &str) {
    let Some(file) = file else { return };
    let write = || -> std::io::Result<()> {
        fs::create_dir_all(file.parent().unwrap_or(&file))?;
        // One write with O_APPEND: lines of several processes never mix.
        fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&file)?
            .write_all(line.as_bytes())
    };
    if let Err(error) = write() {
        let _ = writeln!(
            std::io::stderr(),
            "stand-in: cannot write {}: {error}",
            file.display()
        );
    }
}

//! The token and the certificates with which `ccb` connects to a bridge.
//!
//! The token is read from the first of these places: the file of `--token-file` or
//! `CCB_TOKEN_FILE`, the variable `CCB_TOKEN`, and the file `~/.config/cc-bridge/token`. The token
//! is never an argument, because every user of the machine can read the arguments of a process.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use client::{Address, Roots};
use protocol::Secret;
use rustix::process::{DumpableBehavior, set_dumpable_behavior};

/// The maximum number of bytes that are read of a token file. It is above the longest secret.
const FILE_BYTES: u64 = 4096;
/// The permissions of other users than the owner, in the mode of a file.
const OTHERS: u32 = 0o077;

/// The token and the root certificates of the connections to a bridge. The default has neither.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// The token, or `None` for a bridge without tokens.
    pub token: Option<Secret>,
    /// The root certificates to trust for `wss://`.
    pub roots: Roots,
}

/// The environment variables that say where a token is.
#[derive(Debug, Default)]
pub struct Environment {
    /// `CCB_TOKEN`, the token itself.
    token: Option<OsString>,
    /// `XDG_CONFIG_HOME`, the folder of this user's settings.
    config_home: Option<OsString>,
    /// `HOME`, the folder of this user.
    home: Option<OsString>,
}

impl Environment {
    /// Reads the variables of this process. clap does not read them, because it would need an
    /// argument for each.
    pub fn of_process() -> Self {
        let variable = |name: &str| std::env::var_os(name);
        Self {
            token: variable("CCB_TOKEN"),
            config_home: variable("XDG_CONFIG_HOME"),
            home: variable("HOME"),
        }
    }

    /// Returns the path of the default token file. A relative `XDG_CONFIG_HOME` is ignored, as the
    /// XDG Base Directory Specification demands. `None` if neither variable is set.
    fn default_file(&self) -> Option<PathBuf> {
        let config = self.config_home.as_ref().map(PathBuf::from);
        let config = config.filter(|path| path.is_absolute());
        let home = self.home.as_ref().filter(|home| !home.is_empty());
        let config = config.or_else(|| Some(Path::new(home?).join(".config")))?;
        Some(config.join("cc-bridge/token"))
    }
}

impl Access {
    /// Reads the token and the certificates that the arguments and the environment name.
    ///
    /// # Errors
    /// A named file or variable cannot be used. The text says why and what to do, and does not
    /// contain the token.
    pub fn read(
        token_file: Option<&Path>,
        ca: Option<&Path>,
        environment: &Environment,
    ) -> Result<Self, String> {
        let roots = match ca {
            None => Roots::default(),
            Some(path) => Roots::with_file(path)
                .map_err(|error| format!("the file of certificates {} {error}", path.display()))?,
        };
        let token = token(token_file, environment)?;
        Ok(Self { token, roots })
    }

    /// Returns the warning about a token that other machines could read on its way to the bridge.
    /// `None` if there is nothing to warn of.
    pub fn warning(&self, url: &Address) -> Option<String> {
        if self.token.is_none() || url.is_tls() || url.is_loopback() {
            return None;
        }
        Some(format!(
            "warning: the token travels unencrypted to {}, so the network can read it; use wss://, \
             or a tunnel (ssh -L 8003:127.0.0.1:8003 HOST)",
            url.host()
        ))
    }
}

fn token(file: Option<&Path>, environment: &Environment) -> Result<Option<Secret>, String> {
    if let Some(path) = file {
        hide_memory()?;
        return read(path).map(Some).map_err(|mistake| match mistake {
            Mistake::Missing => format!(
                "the token file {} does not exist; correct its path (CCB_TOKEN_FILE), or save the \
                 token there",
                path.display()
            ),
            Mistake::Other(text) => text,
        });
    }
    if let Some(text) = &environment.token {
        hide_memory()?;
        let text = text.to_str().unwrap_or_default();
        let token = text.parse().map_err(|error| {
            format!("the variable CCB_TOKEN is wrong: {error}; set it to a token, or unset it")
        })?;
        return Ok(Some(token));
    }
    let Some(path) = environment.default_file() else {
        return Ok(None);
    };
    // A folder that this user may not search has no token for this user.
    if path.metadata().is_err() {
        return Ok(None);
    }
    hide_memory()?;
    match read(&path) {
        Ok(token) => Ok(Some(token)),
        Err(Mistake::Missing) => Ok(None),
        Err(Mistake::Other(text)) => Err(text),
    }
}

/// Protects the token in the memory and the environment of this process (prctl(2),
/// `PR_SET_DUMPABLE`). Other processes of the same user cannot read them, and there are no core
/// dumps.
pub fn hide_memory() -> Result<(), String> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(|error| format!("could not protect the token from core dumps: {error}"))
}

/// The reason why a file has no token.
enum Mistake {
    Missing,
    Other(String),
}

fn read(path: &Path) -> Result<Secret, Mistake> {
    let shown = path.display();
    let other = |text: String| Mistake::Other(text);
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Mistake::Missing,
        _ => other(format!(
            "could not read the token file {shown}: {error}; it must be a file that your user may \
             read"
        )),
    };
    let file = File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.mode() & 0o7777;
    let mut text = String::new();
    let mut file = file.take(FILE_BYTES + 1);
    match file.read_to_string(&mut text) {
        Ok(_) => {}
        // Not UTF-8. The text is refused below, after the check of the mode.
        Err(error) if error.kind() == io::ErrorKind::InvalidData => text.push('?'),
        Err(error) => return Err(failed(error)),
    }
    if mode & OTHERS != 0 {
        return Err(other(format!(
            "other users may access the token file {shown} (mode {mode:03o}); run: \
             chmod 600 {shown}"
        )));
    }
    let text = text.trim();
    if text.is_empty() {
        return Err(other(format!(
            "the token file {shown} is empty; save the token there"
        )));
    }
    text.parse().map_err(|error| {
        other(format!(
            "the token file {shown} is wrong: {error}; save the token alone there"
        ))
    })
}

#[cfg(test)]
mod tests;

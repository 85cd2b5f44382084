//! A file with a credential.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The most bytes that are read. A credential is one line, so this bounds the memory if the path
/// names a wrong file.
const SECRET_BYTES: u64 = 64 * 1024;

/// The reason why a credential cannot be used. The text never repeats the credential or its file.
#[derive(Debug, thiserror::Error)]
pub(super) enum SecretError {
    /// The file cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The content cannot be a credential.
    #[error("{0}")]
    Content(&'static str),
}

/// Reads a credential: the first line that is neither blank nor a comment (`#`), without
/// surrounding white space. `None` if there is no such line.
///
/// # Errors
/// The file cannot be read, or its line cannot be a credential: UTF-16, not UTF-8, `NAME=value`,
/// quotes, or characters that no credential has.
pub(super) fn read_secret(path: &Path) -> Result<Option<String>, SecretError> {
    let content = |mistake| Err(SecretError::Content(mistake));
    let file = File::open(path)?;
    if file.metadata()?.is_dir() {
        return content(
            "it is a folder: name the file (Docker makes a folder where a mounted file is missing)",
        );
    }
    let mut bytes = Vec::new();
    file.take(SECRET_BYTES).read_to_end(&mut bytes)?;
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return content("it is UTF-16: save it as UTF-8");
    }
    let Ok(text) = std::str::from_utf8(&bytes) else {
        return content("it is not text: save it as UTF-8");
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines = text.lines().map(str::trim);
    let Some(line) = lines.find(|line| !(line.is_empty() || line.starts_with('#'))) else {
        return Ok(None);
    };
    if is_assignment(line) {
        return content("it holds NAME=value: write the value alone, without the name");
    }
    if line.starts_with(['"', '\'']) {
        return content("the value is in quotes: write it without them");
    }
    if !line.bytes().all(|byte| byte.is_ascii_graphic()) {
        return content(
            "the line has blanks or characters that no credential has: write the credential alone",
        );
    }
    Ok(Some(line.to_owned()))
}

/// Returns whether a line looks like `NAME=value`, a common mistake. A credential may end in `=`,
/// but does not begin with a name in capitals and `=`.
fn is_assignment(line: &str) -> bool {
    let line = line.strip_prefix("export ").unwrap_or(line);
    let Some((name, value)) = line.split_once('=') else {
        return false;
    };
    let name = name.trim();
    let in_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    let begins = name.starts_with(|c: char| c.is_ascii_uppercase() || c == '_');
    begins && name.chars().all(in_name) && !value.trim_matches('=').trim().is_empty()
}

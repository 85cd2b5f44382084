//! A file with a credential. claude-api and `credentials` read it by the same rules.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The maximum number of bytes that are read. A credential is one line, so this bounds the memory
/// if the path names a wrong file.
const SECRET_BYTES: u64 = 64 * 1024;

/// The reason why a credential cannot be used. The text never repeats the credential or its file.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The content cannot be a credential.
    #[error("{0}")]
    Content(&'static str),
}

/// Reads a credential from a file: the first line that is neither blank nor a comment (`#`),
/// without surrounding white space. `None` if there is no such line. Only the first 64 KiB are
/// read.
///
/// # Errors
/// The file cannot be read, or its line cannot be a credential: UTF-16, not UTF-8, `NAME=value`,
/// quotes, or characters that no credential has.
pub fn read_secret(path: &Path) -> Result<Option<String>, SecretError> {
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

/// Returns whether a line looks like `NAME=value`, a common mistake in a credential's file. A
/// credential may end in `=`, but does not begin with a name in capitals and `=`.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_gives_its_first_line_or_the_reason_why_it_has_no_credential() {
        let dir = tempfile::tempdir().unwrap();
        let key = dir.path().join("key");
        let read = |bytes: &[u8]| {
            std::fs::write(&key, bytes).unwrap();
            read_secret(&key).map_err(|error| error.to_string())
        };
        for good in [
            &b"sk-ant-key\n"[..],
            b"\n \n\r\nsk-ant-key\r\n",
            b"# the key\nsk-ant-key\nmore\n",
            b"\xef\xbb\xbfsk-ant-key",
        ] {
            assert_eq!(read(good), Ok(Some("sk-ant-key".to_owned())));
        }
        assert_eq!(read(b"TOKEN=="), Ok(Some("TOKEN==".to_owned())));
        assert_eq!(read(b"\n# nothing\n"), Ok(None));
        for (bytes, part) in [
            (&b"ANTHROPIC_API_KEY=sk-secret\n"[..], "NAME=value"),
            (b"export KEY = sk-secret", "NAME=value"),
            (b"\xff\xfes\0k\0", "UTF-16"),
            (b"\xfe\xff\0s\0k", "UTF-16"),
            (b"sk-\xff\xff", "UTF-8"),
            (b"\"sk-secret\"", "quotes"),
            (b"sk-secret sk-other", "blanks"),
            (b"s\0k\0", "characters"),
        ] {
            let reason = read(bytes).expect_err("it is no credential");
            let is_right = reason.contains(part) && !reason.contains("secret");
            assert!(is_right, "{reason}");
        }
        let reason = read_secret(dir.path()).expect_err("a folder").to_string();
        assert!(reason.contains("folder"), "{reason}");
    }
}

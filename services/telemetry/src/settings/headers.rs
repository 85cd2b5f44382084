//! The file with the headers of the requests to the receiver. A header may hold a secret, so it is
//! in a file and never in an argument.

use std::io::Read;
use std::path::Path;

use http::{HeaderName, HeaderValue};

/// The longest file that is read, in bytes.
const FILE_BYTES: u64 = 16 * 1024;

/// Reads the headers from a file, with one `Name: value` on each line. Blank lines and lines that
/// begin with `#` are ignored. The values are marked as sensitive.
///
/// # Errors
/// The file cannot be read, is too long, or has a line that is not a header. The text says which,
/// without any part of the file.
pub(super) fn read(path: &Path) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    let unreadable = |error: std::io::Error| format!("{}: {error}", path.display());
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut text = String::new();
    let read = file.take(FILE_BYTES + 1).read_to_string(&mut text);
    let bytes = read.map_err(unreadable)?;
    if bytes as u64 > FILE_BYTES {
        return Err(format!(
            "{} has more than {FILE_BYTES} bytes; give only headers",
            path.display()
        ));
    }
    let lines = text.lines().enumerate();
    let lines = lines.map(|(index, line)| (index + 1, line.trim()));
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let headers = lines.map(|(number, line)| {
        header(line).ok_or_else(|| {
            format!(
                "line {number} of {} is not a header; write each one like `Name: value`",
                path.display()
            )
        })
    });
    headers.collect()
}

/// Parses one line. Returns `None` if it is not a header.
fn header(line: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = line.split_once(':')?;
    let name = name.trim().parse().ok()?;
    let mut value: HeaderValue = value.trim().parse().ok()?;
    value.set_sensitive(true);
    Some((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_gives_its_headers_or_a_reason_without_their_values() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("headers");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            read(&path)
        };
        let headers = read("# a comment\n\nAuthorization: Bearer hunter2\r\nx-org: a: b\n");
        let headers = headers.expect("valid");
        assert_eq!(headers[0].0, "authorization");
        assert_eq!(headers[0].1, "Bearer hunter2");
        assert!(!format!("{headers:?}").contains("hunter2"));
        assert_eq!(headers[1].1, "a: b");
        for text in ["hunter2", "a b: hunter2", "x: a\nhunter2\u{1}", ": hunter2"] {
            let reason = read(text).expect_err("malformed");
            assert!(
                reason.contains("line") && !reason.contains("hunter2"),
                "{reason}"
            );
        }
        assert!(read(&"#".repeat(20_000)).is_err());
        assert!(super::read(&dir.path().join("missing")).is_err());
    }
}

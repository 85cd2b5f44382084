//! The values of the Claude CLI's flags: lists, numbers, JSON objects and files of this machine.

use std::fs::File;
use std::io::Read;
use std::str::FromStr;

use serde_json::{Map, Value};

/// The maximum size of a file that an argument names, in bytes. A larger file would not fit into a
/// message to the bridge (the limit `messageBytes`).
const FILE_BYTES: u64 = 13 << 20;

/// Splits a list at commas and white space outside parentheses, as the CLI does with tools. A rule
/// such as `Bash(git log:*)` is one entry.
pub(super) fn list(text: &str) -> impl Iterator<Item = String> {
    let mut depth = 0_u32;
    let separates = move |c: char| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0 && (c == ',' || c.is_whitespace())
    };
    let entries: Vec<_> = text
        .split(separates)
        .filter(|entry| !entry.is_empty())
        .map(str::to_owned)
        .collect();
    entries.into_iter()
}

/// Parses the number that a flag has as its value.
pub(super) fn number<T: FromStr>(flag: &str, text: &str) -> Result<T, String> {
    text.trim().parse().map_err(|_| {
        format!("{flag} {text:?} is not a valid number; give a number that is not negative")
    })
}

/// Reads a text file that a flag names.
pub(super) fn file(flag: &str, path: &str) -> Result<String, String> {
    let failed = |reason: String| {
        format!("{flag} {path:?} cannot be read: {reason}; name a text file on this machine")
    };
    let file = File::open(path).map_err(|e| failed(e.to_string()))?;
    let mut text = String::new();
    let read = file.take(FILE_BYTES + 1).read_to_string(&mut text);
    read.map_err(|e| failed(e.to_string()))?;
    if text.len() as u64 > FILE_BYTES {
        return Err(failed(format!("it has more than {FILE_BYTES} bytes")));
    }
    Ok(text)
}

/// Returns the JSON object that a flag has as its value, or that the named file has. A value that
/// begins with `{` is JSON, as for the CLI.
pub(super) fn object(flag: &str, text: &str) -> Result<Map<String, Value>, String> {
    let is_json = text.trim_start().starts_with('{');
    let (json, place) = if is_json {
        (text.to_owned(), String::new())
    } else {
        (file(flag, text)?, format!(" {text:?}"))
    };
    protocol::json::from_slice(json.as_bytes()).map_err(|error| {
        format!("{flag}{place} is not a JSON object: {error}; give an object, or a file with one")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_split_outside_parentheses() {
        let split = |text| list(text).collect::<Vec<_>>();
        assert_eq!(split(""), Vec::<String>::new());
        assert_eq!(split("Read, Grep  Glob,,"), ["Read", "Grep", "Glob"]);
        assert_eq!(
            split("Bash(git log:*, x) Edit(a (b), c)"),
            ["Bash(git log:*, x)", "Edit(a (b), c)"]
        );
        assert_eq!(split("a) b"), ["a)", "b"], "an unmatched parenthesis");
    }

    #[test]
    fn an_object_is_json_or_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.json");
        std::fs::write(&path, "{\"a\": 1}").unwrap();
        let path = path.to_str().unwrap();
        assert_eq!(object("--s", path).unwrap()["a"], 1);
        assert_eq!(object("--s", " {\"a\": 1}").unwrap()["a"], 1);
        for (text, word) in [
            ("{\"a\"", "not a JSON object"),
            ("{\"a\":1,\"a\":2}", "twice"),
            ("/nonexistent", "cannot be read"),
            (folder.path().to_str().unwrap(), "cannot be read"),
        ] {
            let error = object("--s", text).unwrap_err();
            assert!(error.contains("--s") && error.contains(word), "{error}");
        }
    }

    #[test]
    fn a_file_that_fits_into_no_message_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(FILE_BYTES + 1).unwrap();
        let error = super::file("--f", file.path().to_str().unwrap()).unwrap_err();
        assert!(error.contains("more than"), "{error}");
    }
}

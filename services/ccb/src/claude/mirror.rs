//! The paths in the lines with which the CLI mirrors its transcript (`--session-mirror`).
//!
//! An Agent SDK finds the session of such a line by the path of the transcript, which must be below
//! the CLI's configuration folder on this machine. The CLI of an execution writes a path of the
//! service. So the path is replaced by the one that a CLI on this machine would write.

use std::path::Path;

use serde::Deserialize;
use serde_json::value::RawValue;

/// The beginning of the lines that have a path.
const MIRROR: &[u8] = br#"{"type":"transcript_mirror""#;
/// The folder of all transcripts in the CLI's configuration folder.
const PROJECTS: &str = "/projects/";

/// The members that are read from a line with a path.
#[derive(Deserialize)]
struct MirrorLine<'a> {
    #[serde(borrow, rename = "filePath")]
    file_path: &'a RawValue,
}

/// Replaces the paths in the output of an execution. It holds an incomplete line back, so it is
/// used only if the output has such lines.
#[derive(Debug)]
pub(super) struct MirrorPaths {
    /// The folder of the transcripts of this working directory, on this machine.
    folder: String,
    /// The beginning of an incomplete line.
    held: Vec<u8>,
}

impl MirrorPaths {
    /// Creates the paths for a working directory. `configuration` is the CLI's configuration folder
    /// on this machine.
    pub(super) fn new(configuration: &Path, working_directory: &Path) -> Self {
        // The CLI names the folder of a project after its path.
        let dash = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
        let project: String = working_directory
            .to_string_lossy()
            .chars()
            .map(dash)
            .collect();
        Self {
            folder: format!("{}{PROJECTS}{project}", configuration.display()),
            held: Vec::new(),
        }
    }

    /// Returns the complete lines of the output so far, with replaced paths.
    pub(super) fn output(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(bytes);
        let Some(last) = self.held.iter().rposition(|byte| *byte == b'\n') else {
            return Vec::new();
        };
        let rest = self.held.split_off(last + 1);
        let lines = std::mem::replace(&mut self.held, rest);
        let mut out = Vec::with_capacity(lines.len());
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            match self.replaced(line) {
                Some(line) => out.extend(line),
                None => out.extend_from_slice(line),
            }
        }
        out
    }

    /// Returns an incomplete last line, at the end of the output.
    pub(super) fn finish(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }

    /// Returns the line with another path. `None` if the line has no path of a transcript.
    fn replaced(&self, line: &[u8]) -> Option<Vec<u8>> {
        if !line.starts_with(MIRROR) {
            return None;
        }
        let text = std::str::from_utf8(line).ok()?;
        let raw = serde_json::from_str::<MirrorLine<'_>>(text)
            .ok()?
            .file_path
            .get();
        let path: String = serde_json::from_str(raw).ok()?;
        let (_, below) = path.split_once(PROJECTS)?;
        let (_, transcript) = below.split_once('/')?;
        let path = serde_json::to_string(&format!("{}/{transcript}", self.folder)).ok()?;
        let (before, after) = text.split_once(raw)?;
        Some(format!("{before}{path}{after}").into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths() -> MirrorPaths {
        MirrorPaths::new(Path::new("/home/me/.claude"), Path::new("/home/me/my shop"))
    }

    fn line(path: &str) -> String {
        let entries = r#"[{"type":"user","b":1,"a":"/projects/x"}]"#;
        format!(
            "{{\"type\":\"transcript_mirror\",\"filePath\":\"{path}\",\"entries\":{entries}}}\n"
        )
    }

    #[test]
    fn the_path_of_a_transcript_becomes_one_of_this_machine() {
        for (remote, local) in [
            ("/var/x/projects/-workspaces-shop/U.jsonl", "U.jsonl"),
            (
                "/tmp/private/projects/-w/U/subagents/agent-1.jsonl",
                "U/subagents/agent-1.jsonl",
            ),
        ] {
            let local = format!("/home/me/.claude/projects/-home-me-my-shop/{local}");
            let replaced = paths().output(line(remote).as_bytes());
            assert_eq!(String::from_utf8(replaced).unwrap(), line(&local));
        }
    }

    #[test]
    fn lines_are_replaced_however_they_are_cut_and_others_stay() {
        let remote = line("/x/projects/-w/U.jsonl");
        let other = "{\"type\":\"result\",\"filePath\":\"/x/projects/-w/U.jsonl\"}\n";
        let text = format!("{other}{remote}noise\n{remote}{{\"type\":\"trans");
        let mut expected = paths().output(text.as_bytes());
        expected.extend(b"{\"type\":\"trans");
        for size in 1..40 {
            let mut paths = paths();
            let mut out = Vec::new();
            for piece in text.as_bytes().chunks(size) {
                out.extend(paths.output(piece));
            }
            out.extend(paths.finish());
            assert_eq!(out, expected, "{size}");
        }
        let shown = String::from_utf8(expected).unwrap();
        assert!(shown.starts_with(other), "{shown}");
        assert_eq!(shown.matches("my-shop/U.jsonl").count(), 2, "{shown}");
    }

    #[test]
    fn a_line_without_a_known_path_stays() {
        for odd in [
            line("U.jsonl"),
            line("/projects/U.jsonl"),
            "{\"type\":\"transcript_mirror\"\n".into(),
        ] {
            let out = paths().output(odd.as_bytes());
            assert_eq!(String::from_utf8(out).unwrap(), odd);
        }
    }
}

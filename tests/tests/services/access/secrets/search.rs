//! Search for parts of secrets.

use std::collections::HashMap;
use std::path::Path;

/// The length of the parts that are searched. A secret of 32 random bytes is not told by fewer.
const PART_BYTES: usize = 12;

/// Secrets, and an index of all their parts.
pub(super) struct Secrets {
    texts: Vec<String>,
    /// Each part, with the number of its secret and the offset in it.
    parts: HashMap<[u8; PART_BYTES], (usize, usize)>,
}

impl Secrets {
    pub(super) fn new(texts: Vec<String>) -> Self {
        let mut parts = HashMap::new();
        for (number, text) in texts.iter().enumerate() {
            for (offset, part) in text.as_bytes().windows(PART_BYTES).enumerate() {
                let part: [u8; PART_BYTES] = part.try_into().expect("a part");
                parts.insert(part, (number, offset));
            }
        }
        Self { texts, parts }
    }

    pub(super) fn texts(&self) -> &[String] {
        &self.texts
    }

    /// Returns where the first part of a secret is in these bytes.
    fn find(&self, bytes: &[u8]) -> Option<(usize, &str)> {
        bytes
            .windows(PART_BYTES)
            .enumerate()
            .find_map(|(at, window)| {
                let (number, _) = *self.parts.get(window)?;
                // The test's own message shows a few letters, to say which secret it was.
                Some((at, &self.texts[number][..5]))
            })
    }

    /// Asserts that no part of a secret is in these bytes.
    #[track_caller]
    pub(super) fn assert_absent(&self, place: &str, bytes: &[u8]) {
        if let Some((at, kind)) = self.find(bytes) {
            let from = bytes[..at]
                .iter()
                .rposition(|b| *b == b'\n')
                .map_or(0, |n| n + 1);
            let line = String::from_utf8_lossy(&bytes[from..(at + 40).min(bytes.len())]);
            panic!("{place} has a secret that begins with {kind}: {line}");
        }
    }

    /// Asserts that no part of a secret is in a file below this folder, nor in the name of one.
    #[track_caller]
    pub(super) fn assert_absent_below(&self, folder: &Path) {
        let mut files = 0;
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).expect("a folder").flatten() {
                let path = entry.path();
                self.assert_absent("a name", path.to_string_lossy().as_bytes());
                let kind = entry.file_type().expect("a type");
                if kind.is_dir() {
                    folders.push(path);
                } else if kind.is_file() {
                    files += 1;
                    let bytes = std::fs::read(&path).unwrap_or_default();
                    self.assert_absent(&path.display().to_string(), &bytes);
                }
            }
        }
        assert!(files > 10, "only {files} files were searched");
    }
}

#[test]
fn a_part_of_a_secret_is_found_and_a_shorter_one_is_not() {
    let secrets = Secrets::new(vec!["ccb_0123456789abcdef".to_owned()]);
    assert!(secrets.find(b"x 456789abcdef y").is_some());
    assert!(secrets.find(b"x ccb_01234567").is_some());
    assert!(secrets.find(b"x 456789abcde y").is_none());
}

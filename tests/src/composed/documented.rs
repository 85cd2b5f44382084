//! The files that docs/operations.md shows and that the composed suites use as they are.

use std::path::Path;

/// A file that docs/operations.md shows as an indented block.
#[derive(Clone, Copy, Debug)]
pub enum Documented {
    /// `tools.Dockerfile`: more tools on top of the image of claude-api.
    ToolsDockerfile,
    /// The `compose.override.yaml` that uses the image of [`Self::ToolsDockerfile`].
    ToolsOverride,
    /// The `compose.override.yaml` with an internal network for claude-api.
    Networks,
}

impl Documented {
    /// The end of the text before the block, and a part of the block.
    const fn marks(self) -> (&'static str, &'static str) {
        match self {
            Self::ToolsDockerfile => ("`tools.Dockerfile`:", "apt-get install"),
            Self::ToolsOverride => (
                "then run `scripts/up`:",
                "image: cc-bridge/claude-api:tools",
            ),
            Self::Networks => (
                "a second one, in `compose.override.yaml`:",
                "internal: true",
            ),
        }
    }

    /// Returns the text of the file.
    ///
    /// # Panics
    ///
    /// If the document does not have it.
    pub fn text(self) -> String {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations.md");
        let page = std::fs::read_to_string(page).expect("docs/operations.md can be read");
        let (before, part) = self.marks();
        let block = block_after(&page, before).unwrap_or_default();
        assert!(
            block.contains(part),
            "docs/operations.md has no block with '{part}' after '{before}': '{block}'"
        );
        block
    }
}

/// Returns the indented block, without its indentation, that follows a paragraph ending with
/// `before`, wherever the lines of that paragraph are broken.
fn block_after(page: &str, before: &str) -> Option<String> {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let before = words(before);
    let parts: Vec<&str> = page.split("\n\n").collect();
    let block = parts
        .windows(2)
        .find(|pair| words(pair[0]).ends_with(&before) && pair[1].starts_with("    "))?[1];
    let lines = block.lines().map_while(|line| line.strip_prefix("    "));
    Some(lines.map(|line| format!("{line}\n")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_has_every_file() {
        for file in [
            Documented::ToolsDockerfile,
            Documented::ToolsOverride,
            Documented::Networks,
        ] {
            assert!(file.text().lines().count() > 2, "{file:?}");
        }
    }

    #[test]
    fn a_block_is_found_wherever_the_lines_before_it_are_broken() {
        let page = "Name it in\n`a.yaml`:\n\n    a:\n      b: 1\n\nMore.\n\n    c: 2\n";
        let block = Some("a:\n  b: 1\n".to_owned());
        assert_eq!(block_after(page, "it in `a.yaml`:"), block);
        assert_eq!(block_after(page, "`b.yaml`:"), None);
    }
}

//! The folders of one execution, and the traces that a use of a tool leaves there.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::pause::World;

/// The text of the file outside the workspace. The scripted model also reports it by `@marks`.
const SECRET: &str = "MARK-outside";
/// Stands for the folder outside the workspace in everything that a client sends.
pub(super) const OUT: &str = "$OUT";

/// The folders of one execution.
#[derive(Clone)]
pub(super) struct Place {
    /// The name of the workspace.
    pub(super) name: String,
    /// The path of the workspace.
    pub(super) workspace: PathBuf,
    outside: PathBuf,
}

impl Place {
    /// Makes the folders of the execution with this number, each with a file.
    pub(super) fn make(world: &World, number: usize) -> Self {
        let name = format!("w{number}");
        let place = Self {
            workspace: world.path("workspaces").join(&name),
            outside: world.path("outside").join(&name),
            name,
        };
        for folder in [&place.workspace, &place.outside] {
            fs::create_dir_all(folder).expect("a folder");
            fs::write(folder.join("victim"), "precious\n").expect("a file");
        }
        fs::write(place.outside.join("secret"), SECRET).expect("a file");
        place
    }

    /// Returns the text with the path of the folder outside in place of [`OUT`].
    pub(super) fn fill_in(&self, text: &str) -> String {
        text.replace(OUT, &self.outside.to_string_lossy())
    }

    /// Returns the value with the path of the folder outside in place of [`OUT`].
    pub(super) fn fill_in_json(&self, value: &Value) -> Value {
        serde_json::from_str(&self.fill_in(&value.to_string())).expect("JSON")
    }

    /// Returns the traces of uses of tools.
    pub(super) fn traces(&self, output: &str) -> Vec<&'static str> {
        let has = |folder: &Path, name: &str| folder.join(name).exists();
        [
            ("broken", has(&self.workspace, "broken")),
            ("broken outside", has(&self.outside, "broken")),
            ("allowed", has(&self.workspace, "allowed")),
            ("deleted", !has(&self.workspace, "victim")),
            ("deleted outside", !has(&self.outside, "victim")),
            (
                "settings",
                has(&self.workspace, ".claude/settings.local.json"),
            ),
            ("read", output.contains(SECRET)),
        ]
        .into_iter()
        .filter_map(|(trace, is_left)| is_left.then_some(trace))
        .collect()
    }
}

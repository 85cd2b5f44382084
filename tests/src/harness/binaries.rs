//! Finds the built binaries beside the running test.

use std::path::PathBuf;

/// The path of a binary of this workspace.
///
/// # Panics
/// If it was not built: a test that cannot run must not pass.
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a process knows its own program");
    // target/debug/deps/services-0123: the binaries are one folder up.
    let mut folder = test.parent().expect("a program lies in a folder");
    if folder.ends_with("deps") {
        folder = folder.parent().expect("deps lies in a folder");
    }
    let path = folder.join(name);
    assert!(
        path.exists(),
        "{} is missing: run `cargo build --workspace --bins` first",
        path.display()
    );
    path
}

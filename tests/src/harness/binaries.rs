//! Builds the binaries of this workspace once, and finds them beside the running test.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The binaries that tests start.
const BINARIES: [&str; 7] = [
    "claude-api",
    "bridge",
    "credentials",
    "ccb",
    "ccb-claude",
    "scripted-model",
    "stand-in-claude",
];

/// Returns the path of a binary of this workspace. The first call builds all of them with cargo, in
/// the profile of the running test, so no test runs an old binary. cargo releases its lock before
/// it runs a test.
///
/// # Panics
/// If the build fails: a test that cannot run must not pass.
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let path = BUILT.get_or_init(build).join(name);
    assert!(path.exists(), "{} is missing", path.display());
    path
}

/// Builds the binaries and returns their folder.
fn build() -> PathBuf {
    let test = std::env::current_exe().expect("a process knows its own program");
    // target/debug/deps/services-0123: the binaries are one folder up.
    let mut folder = test.parent().expect("a program lies in a folder");
    if folder.ends_with("deps") {
        folder = folder.parent().expect("deps lies in a folder");
    }
    let workspace = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"));
    let root = folder.ancestors().find(|f| f.join("CACHEDIR.TAG").exists());
    // Without sources, or outside a target folder, the binaries lie beside the test.
    let (true, Some(root)) = (workspace.exists(), root) else {
        return folder.to_owned();
    };
    let output = command(workspace, root, folder).output();
    let output = output.unwrap_or_else(|error| panic!("cargo does not start: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "the binaries do not build:\n{said}"
    );
    folder.to_owned()
}

/// Returns the command that builds into `folder`, which is `PROFILE` or `TARGET/PROFILE` in the
/// target folder `root`.
fn command(workspace: &Path, root: &Path, folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.args(["build", "--quiet", "--locked", "--manifest-path"]);
    command.arg(workspace).arg("--target-dir").arg(root);
    let profile = folder.file_name().unwrap_or_default();
    let profile = if profile == "debug" {
        "dev".as_ref()
    } else {
        profile
    };
    command.arg("--profile").arg(profile);
    if let Some(target) = folder.parent().filter(|parent| *parent != root) {
        command
            .arg("--target")
            .arg(target.file_name().unwrap_or_default());
    }
    for name in BINARIES {
        command.args(["--bin", name]);
    }
    command
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn the_build_uses_the_profile_and_the_target_of_the_test() {
        let words = |folder: &str| {
            let command = command("/w/Cargo.toml".as_ref(), "/t".as_ref(), folder.as_ref());
            let words = command.get_args().map(|word| word.to_string_lossy());
            words.collect::<Vec<_>>().join(" ")
        };
        assert!(words("/t/debug").contains("--target-dir /t --profile dev --bin claude-api"));
        assert!(words("/t/release").contains("--profile release --bin"));
        assert!(words("/t/x/debug").contains("--profile dev --target x --bin"));
    }

    /// Returns the sources of a binary, which cargo lists in a makefile rule beside it.
    fn sources(binary: &Path) -> Vec<PathBuf> {
        let rule = std::fs::read_to_string(binary.with_extension("d")).expect("cargo's rule");
        let (_, sources) = rule.split_once(':').expect("a rule");
        sources.split_whitespace().map(PathBuf::from).collect()
    }

    fn changed(path: &Path) -> SystemTime {
        let meta = path.metadata();
        meta.and_then(|meta| meta.modified()).expect("a time")
    }

    /// OUTER B3.
    #[test]
    fn a_binary_is_no_older_than_its_sources() {
        for name in ["claude-api", "bridge"] {
            let binary = binary(name);
            for source in sources(&binary) {
                assert!(
                    changed(&source) <= changed(&binary),
                    "{} is newer than {}",
                    source.display(),
                    binary.display()
                );
            }
        }
    }
}

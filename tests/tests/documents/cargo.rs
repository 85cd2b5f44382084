//! Packages, tests and binaries that a `cargo` command names.

use std::path::{Path, PathBuf};

use crate::root;

/// The folder of a package, by its name. Every package has a folder below `services`, or is the
/// crate of the tests or the fuzz targets.
fn package(name: &str) -> Option<PathBuf> {
    let services = root()
        .join("services")
        .read_dir()
        .expect("services is a folder");
    let services = services.map(|entry| entry.expect("a folder can be read").path());
    let mut folders = services.chain([root().join("tests"), root().join("fuzz")]);
    folders.find(|folder| names(folder, name))
}

/// Whether the manifest in a folder names a package or a target so.
fn names(folder: &Path, name: &str) -> bool {
    let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap_or_default();
    manifest
        .lines()
        .any(|line| line == format!("name = \"{name}\""))
}

/// Whether a package has this target in its folder `kind`, by a file or by its manifest.
fn has_target(package: &Path, kind: &str, name: &str) -> bool {
    let file = package.join(kind).join(name);
    file.with_extension("rs").is_file() || file.join("main.rs").is_file() || names(package, name)
}

/// Checks the words behind `cargo`.
pub(crate) fn check(words: &[String]) -> Result<(), String> {
    let mut folders = Vec::new();
    let mut targets = Vec::new();
    let mut words = words.iter().take_while(|word| *word != "--");
    while let Some(word) = words.next() {
        match word.as_str() {
            "-p" | "--package" => {
                let name = words.next().map_or("", String::as_str);
                folders
                    .push(package(name).ok_or_else(|| format!("no package is called {name:?}"))?);
            }
            "--test" => targets.push(("tests", words.next())),
            "--bin" => targets.push(("src/bin", words.next())),
            _ => {}
        }
    }
    for (kind, name) in targets {
        let name = name.map_or("", String::as_str);
        let is_known = folders.iter().any(|folder| has_target(folder, kind, name));
        if !folders.is_empty() && !is_known {
            return Err(format!("the package has no target {name:?} in {kind}"));
        }
    }
    Ok(())
}

#[test]
fn packages_and_targets_must_exist() {
    let check = |line: &str| {
        let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
        check(&words)
    };
    for right in [
        "test -p cc-tests --lib --test services",
        "test -p bridge --test frames_corpus",
        "run -p cc-tests --bin scripted-model",
        "build --locked -p claude-api -p bridge -p ccb -p cc-tests --bins",
        "install --locked --path services/ccb",
    ] {
        assert_eq!(check(right), Ok(()), "{right}");
    }
    for wrong in [
        "test -p cc-test",
        "test -p cc-tests --test servces",
        "run -p bridge --bin scripted-model",
    ] {
        assert!(check(wrong).is_err(), "{wrong}");
    }
}

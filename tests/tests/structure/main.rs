//! The structure of the crates: the imports of their files form no cycle; no file of claude-api or
//! of the bridge imports from a layer above its own; the parts of a session do not import what they
//! must not know; and only the registry of claude-api holds the spool.
//!
//! An import is a path to another file, in `use` or anywhere else (see `uses`). A call of a method
//! needs no path and is no import: the methods of one type may be in several files.

mod uses;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use uses::{FileUses, Module, describe, uses};

/// The layers of claude-api from the top down. A module imports from its own layer and those below.
const LAYERS: [&[&str]; 7] = [
    &["server"],
    &["reach", "http"],
    &["service"],
    &["execution"],
    &["hooks", "checks"],
    &["engine"],
    &[
        "access",
        "boxed",
        "cli",
        "config",
        "conversations",
        "credentials",
        "health",
        "in_place",
        "inbound",
        "metrics",
        "net",
        "owner_shares",
        "readiness",
        "registry",
        "sandbox",
        "streams",
        "times",
        "webhooks",
    ],
];

/// The layers of the bridge, likewise.
const BRIDGE_LAYERS: [&[&str]; 7] = [
    &["server"],
    &["session"],
    &["viewer", "handover"],
    &["access"],
    &["config"],
    &["upstream"],
    &["budget", "metrics"],
];

/// Parts of the bridge's session, each with the modules that it must not import.
const FORBIDDEN_IMPORTS: [(&str, &[&str]); 2] = [
    (
        "session::wire",
        &[
            "session::machine",
            "session::task",
            "upstream",
            "viewer",
            "handover",
        ],
    ),
    ("session::machine", &["session::task", "upstream"]),
];

/// Returns the sources of a library by module; the name of the root is empty.
fn sources(name: &str) -> BTreeMap<Module, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../services")
        .join(name)
        .join("src");
    let mut sources = BTreeMap::new();
    read(&root, &root, &mut sources);
    assert!(
        sources.len() > 5,
        "only {} files of {name} were found",
        sources.len()
    );
    sources
}

#[test]
fn no_files_import_each_other() {
    for name in [
        "protocol",
        "client",
        "bridge",
        "claude-api",
        "credentials",
        "runner",
        "renderer",
        "spool",
    ] {
        let uses = uses(&sources(name));
        assert!(
            uses.len() > 5,
            "only {} uses of {name} were found",
            uses.len()
        );
        assert_eq!(
            in_cycles(&uses),
            Vec::<String>::new(),
            "these files of {name} import each other"
        );
    }
}

#[test]
fn no_file_imports_from_a_higher_layer() {
    for (name, layers) in [("claude-api", &LAYERS[..]), ("bridge", &BRIDGE_LAYERS)] {
        let layer = |module: &Module| {
            let position = layers
                .iter()
                .position(|layer| layer.contains(&module[0].as_str()));
            position.unwrap_or_else(|| panic!("{name}: {} is in no layer", module[0]))
        };
        let uses = uses(&sources(name));
        let upward = uses.iter().filter(|(from, to)| layer(to) < layer(from));
        let upward: Vec<_> = upward.map(describe).collect();
        assert_eq!(
            upward,
            Vec::<String>::new(),
            "these files of {name} import from a layer above theirs"
        );
    }
}

#[test]
fn parts_of_a_session_import_no_forbidden_module() {
    let uses = uses(&sources("bridge"));
    for (part, others) in FORBIDDEN_IMPORTS {
        let is_forbidden = |(from, to): &&(Module, Module)| {
            from.starts_with(&parts(part))
                && others.iter().any(|other| to.starts_with(&parts(other)))
        };
        let forbidden: Vec<_> = uses.iter().filter(is_forbidden).map(describe).collect();
        assert_eq!(
            forbidden,
            Vec::<String>::new(),
            "{part} imports modules that it must not know"
        );
    }
}

#[test]
fn only_the_registry_of_claude_api_holds_the_spool() {
    let holders = holders_of_the_spool(&sources("claude-api"));
    assert_eq!(holders, [parts("registry")]);
}

#[test]
fn a_holder_of_the_spool_is_found_and_a_reader_of_an_entry_is_not() {
    let sources = [
        ("a", "use spool::{Entry, Spool};"),
        ("b", "struct B(spool::Spool);"),
        ("c", "use spool::*;"),
        ("d", "use spool::Entry; fn d(entry: &spool::Entry) {}"),
        ("e", "#[cfg(test)] mod tests { use spool::Spool; }"),
        ("f", "use spool::Spool as Store;"),
        ("g", "use spool;"),
        ("h", "fn h() { m![spool::Spool::open()] }"),
    ];
    let sources = sources.map(|(module, text)| (parts(module), text.to_owned()));
    let holders = holders_of_the_spool(&sources.into());
    assert_eq!(holders, ["a", "b", "c", "f", "g", "h"].map(parts));
}

/// Returns the files that can name `spool::Spool`, with which code can create, end and remove
/// executions.
fn holders_of_the_spool(sources: &BTreeMap<Module, String>) -> Vec<Module> {
    // A path of one name imports the whole crate, as `*` does.
    let holds = |path: &Module| {
        path.first().is_some_and(|name| name == "spool")
            && path.get(1).is_none_or(|name| name == "Spool")
    };
    let paths = sources.iter().map(|(module, text)| {
        let file = FileUses::parse(module, text);
        let exported = file.exports.into_iter().map(|(_, path)| path);
        (
            module,
            file.paths
                .into_iter()
                .chain(exported)
                .any(|path| holds(&path)),
        )
    });
    let holders = paths.filter(|(_, holds)| *holds);
    holders.map(|(module, _)| module.clone()).collect()
}

#[test]
fn a_cycle_is_found_and_mentions_that_are_no_imports_are_ignored() {
    let cycles_of = |sources: &[(&str, &str)]| {
        let sources = sources
            .iter()
            .map(|(module, text)| (parts(module), (*text).to_owned()));
        in_cycles(&uses(&sources.collect()))
    };
    for one in [
        "use crate::b::B;",
        "fn f() { crate::b::g() }",
        "use super::b::{self, B};",
        "struct A(crate::b::B);",
        "fn f() { m![x, crate::b::g(1)] }",
        "macro_rules! m { () => { $crate::b::g() } }",
    ] {
        let cycle = cycles_of(&[
            ("a", one),
            ("b", "use crate::c::C;"),
            ("c", "use crate::a::A;"),
        ]);
        assert_eq!(cycle, ["a -> b", "b -> c", "c -> a"], "{one}");
    }
    for one in [
        "mod b; pub use b::B; pub(crate) use b::C;",
        "pub(in crate::b) fn f() {} struct A { pub(in crate::b) a: u8 }",
        "#[cfg(test)] use super::b::B; #[cfg(test)] mod tests { use crate::b::B; }",
        "use std::b::B; use other::b::B;",
    ] {
        assert!(
            cycles_of(&[
                ("a", one),
                ("a::b", "use crate::a::A;"),
                ("b", "use crate::a::A;")
            ])
            .is_empty(),
            "{one}"
        );
    }
    // A parent that uses its own re-export.
    let cycle = cycles_of(&[
        ("a", "mod b; pub use b::B; struct A(B);"),
        ("a::b", "use crate::a::A;"),
    ]);
    assert_eq!(cycle, ["a -> a::b", "a::b -> a"]);
    // A cycle through re-exports of the crate's root.
    let cycle = cycles_of(&[
        ("", "mod a; mod b; pub use a::A; pub use b::B;"),
        ("a", "use crate::B;"),
        ("b", "use crate::A;"),
    ]);
    assert_eq!(cycle, ["a -> b", "b -> a"]);
    // A cycle through a re-export of the parent.
    let cycle = cycles_of(&[
        ("a", "mod b; pub use b::B;"),
        ("a::b", "use crate::c::C;"),
        ("c", "use crate::a::B;"),
    ]);
    assert_eq!(cycle, ["a::b -> c", "c -> a::b"]);
}

/// Such names would hide the target of a path.
#[test]
fn another_name_for_the_root_or_a_parent_is_refused() {
    for hidden in [
        "use crate as root;",
        "use super as up;",
        "use crate::{self as root, b::B};",
        "extern crate self as me;",
    ] {
        let parse = || FileUses::parse(&parts("a"), hidden);
        assert!(std::panic::catch_unwind(parse).is_err(), "{hidden}");
    }
}

fn parts(module: &str) -> Module {
    let parts = module.split("::").filter(|part| !part.is_empty());
    parts.map(str::to_owned).collect()
}

/// Reads the sources below `folder`.
fn read(root: &Path, folder: &Path, sources: &mut BTreeMap<Module, String>) {
    for entry in std::fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        let name = path
            .file_stem()
            .and_then(|name| name.to_str())
            .expect("a name");
        if path.is_dir() {
            read(root, &path, sources);
        } else if folder != root || name != "main" {
            let module = path.with_extension("");
            let module = module.strip_prefix(root).expect("below the root");
            let is_root = folder == root && name == "lib";
            let module = module
                .iter()
                .filter(|_| !is_root)
                .map(|name| name.to_str().expect("a name").to_owned());
            sources.insert(
                module.collect(),
                std::fs::read_to_string(&path).expect("readable"),
            );
        }
    }
}

/// Returns the imports among files that are part of a cycle.
fn in_cycles(uses: &BTreeSet<(Module, Module)>) -> Vec<String> {
    let mut remaining = uses.clone();
    loop {
        // A file that imports none, or that none imports, is in no cycle.
        let from: BTreeSet<Module> = remaining.iter().map(|(from, _)| from.clone()).collect();
        let to: BTreeSet<Module> = remaining.iter().map(|(_, to)| to.clone()).collect();
        let count = remaining.len();
        remaining.retain(|(one, other)| from.contains(other) && to.contains(one));
        if remaining.len() == count {
            return remaining.iter().map(describe).collect();
        }
    }
}

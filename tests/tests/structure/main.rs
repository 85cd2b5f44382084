//! The structure of the crates: the imports of their files form no cycle; no file of claude-api or
//! of the bridge imports from a layer above its own; the rooms of a session keep apart; and only the
//! registry of claude-api holds the spool.
//!
//! An import is a path to another file, in `use` or anywhere else (see `uses`). A call of a method
//! needs no path and is not seen: the methods of one type may be spread over several files.

mod uses;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use uses::{FileUses, Module, shown, uses};

/// From the top down. A module uses its own layer and those below.
const LAYERS: [&[&str]; 7] = [
    &["server"],
    &["reach", "http"],
    &["service"],
    &["execution"],
    &["hooks", "checks"],
    &["engine"],
    &[
        "boxed",
        "cli",
        "config",
        "conversations",
        "health",
        "in_place",
        "inbound",
        "metrics",
        "net",
        "readiness",
        "registry",
        "sandbox",
        "streams",
        "times",
    ],
];

/// The same of the bridge.
const BRIDGE_LAYERS: [&[&str]; 6] = [
    &["server"],
    &["session"],
    &["viewer", "handover"],
    &["config"],
    &["upstream"],
    &["budget", "metrics"],
];

/// A room of the bridge's session, and the modules that it does not know.
const APART: [(&str, &[&str]); 2] = [
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

/// The sources of a library; its root has no names.
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
            let found = layers
                .iter()
                .position(|layer| layer.contains(&module[0].as_str()));
            found.unwrap_or_else(|| panic!("{name}: {} is in no layer", module[0]))
        };
        let uses = uses(&sources(name));
        let upward = uses.iter().filter(|(from, to)| layer(to) < layer(from));
        let upward: Vec<_> = upward.map(shown).collect();
        assert_eq!(
            upward,
            Vec::<String>::new(),
            "these files of {name} import from a layer above theirs"
        );
    }
}

#[test]
fn the_rooms_of_a_session_keep_apart() {
    let uses = uses(&sources("bridge"));
    for (room, others) in APART {
        let known = |(from, to): &&(Module, Module)| {
            from.starts_with(&parts(room))
                && others.iter().any(|other| to.starts_with(&parts(other)))
        };
        let known: Vec<_> = uses.iter().filter(known).map(shown).collect();
        assert_eq!(
            known,
            Vec::<String>::new(),
            "{room} knows modules that it should not"
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

/// The files that can name `spool::Spool`: whoever has one can create, end and remove executions.
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
fn a_cycle_is_found_and_what_is_no_import_is_not() {
    let found = |sources: &[(&str, &str)]| {
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
        let cycle = found(&[
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
            found(&[
                ("a", one),
                ("a::b", "use crate::a::A;"),
                ("b", "use crate::a::A;")
            ])
            .is_empty(),
            "{one}"
        );
    }
    // A parent that uses what it re-exports.
    let cycle = found(&[
        ("a", "mod b; pub use b::B; struct A(B);"),
        ("a::b", "use crate::a::A;"),
    ]);
    assert_eq!(cycle, ["a -> a::b", "a::b -> a"]);
    // By what the crate's root re-exports.
    let cycle = found(&[
        ("", "mod a; mod b; pub use a::A; pub use b::B;"),
        ("a", "use crate::B;"),
        ("b", "use crate::A;"),
    ]);
    assert_eq!(cycle, ["a -> b", "b -> a"]);
    // By what its parent re-exports.
    let cycle = found(&[
        ("a", "mod b; pub use b::B;"),
        ("a::b", "use crate::c::C;"),
        ("c", "use crate::a::B;"),
    ]);
    assert_eq!(cycle, ["a::b -> c", "c -> a::b"]);
}

/// Names that would hide where a path leads.
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

/// The imports among files that are part of a cycle.
fn in_cycles(uses: &BTreeSet<(Module, Module)>) -> Vec<String> {
    let mut left = uses.clone();
    loop {
        // A file that imports none, or that none imports, is in no cycle.
        let from: BTreeSet<Module> = left.iter().map(|(from, _)| from.clone()).collect();
        let to: BTreeSet<Module> = left.iter().map(|(_, to)| to.clone()).collect();
        let before = left.len();
        left.retain(|(one, other)| from.contains(other) && to.contains(one));
        if left.len() == before {
            return left.iter().map(shown).collect();
        }
    }
}

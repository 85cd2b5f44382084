//! The structure of the crates: no file uses one that uses it, directly or by others; nothing in
//! claude-api uses a layer above its own; and only its registry holds the spool.
//!
//! Found are paths that begin with `crate`, `super`, `self` or the name of a child; paths inside of macros
//! are not. No uses are: `mod`, what a file re-exports of its children, and code for tests.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use syn::visit::{self, Visit};

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
        "blocking",
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

/// A module as the names from the crate's root down to it.
type Module = Vec<String>;

/// The sources of a crate that are not for tests.
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
fn no_files_use_each_other() {
    for name in ["claude-api", "runner", "renderer", "spool"] {
        let uses = uses(&sources(name));
        assert!(
            uses.len() > 5,
            "only {} uses of {name} were found",
            uses.len()
        );
        assert_eq!(
            in_circles(&uses),
            Vec::<String>::new(),
            "these files of {name} use each other"
        );
    }
}

#[test]
fn no_file_of_claude_api_uses_a_higher_layer() {
    let layer = |module: &Module| {
        let found = LAYERS
            .iter()
            .position(|layer| layer.contains(&module[0].as_str()));
        found.unwrap_or_else(|| panic!("{} is in no layer", module[0]))
    };
    let uses = uses(&sources("claude-api"));
    let upward = uses.iter().filter(|(from, to)| layer(to) < layer(from));
    let upward: Vec<_> = upward.map(shown).collect();
    assert_eq!(
        upward,
        Vec::<String>::new(),
        "these files use a layer above theirs"
    );
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
    ];
    let sources = sources.map(|(module, text)| (parts(module), text.to_owned()));
    let holders = holders_of_the_spool(&sources.into());
    assert_eq!(holders, ["a", "b", "c", "f", "g"].map(parts));
}

/// The files that can name `spool::Spool`: whoever has one can create, end and remove executions.
fn holders_of_the_spool(sources: &BTreeMap<Module, String>) -> Vec<Module> {
    // A path of one name imports the whole crate, as `*` does.
    let holds = |path: &Module| {
        path.first().is_some_and(|name| name == "spool")
            && path.get(1).is_none_or(|name| name == "Spool")
    };
    let paths = sources.iter().map(|(module, text)| {
        let file = found(module, text);
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
fn a_circle_is_found_and_what_is_no_use_is_not() {
    let found = |sources: &[(&str, &str)]| {
        let sources = sources
            .iter()
            .map(|(module, text)| (parts(module), (*text).to_owned()));
        in_circles(&uses(&sources.collect()))
    };
    for one in [
        "use crate::b::B;",
        "fn f() { crate::b::g() }",
        "use super::b::{self, B};",
        "struct A(crate::b::B);",
    ] {
        let circle = found(&[
            ("a", one),
            ("b", "use crate::c::C;"),
            ("c", "use crate::a::A;"),
        ]);
        assert_eq!(circle, ["a -> b", "b -> c", "c -> a"], "{one}");
    }
    for one in [
        "mod b; pub use b::B; pub(crate) use b::C;",
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
    // By what its parent re-exports.
    let circle = found(&[
        ("a", "mod b; pub use b::B;"),
        ("a::b", "use crate::c::C;"),
        ("c", "use crate::a::B;"),
    ]);
    assert_eq!(circle, ["a::b -> c", "c -> a::b"]);
}

fn parts(module: &str) -> Module {
    module.split("::").map(str::to_owned).collect()
}

/// Reads the sources below `folder` that are not for tests.
fn read(root: &Path, folder: &Path, sources: &mut BTreeMap<Module, String>) {
    for entry in std::fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        let name = path
            .file_stem()
            .and_then(|name| name.to_str())
            .expect("a name");
        if path.is_dir() {
            read(root, &path, sources);
        } else if !["tests", "testing", "lib", "main"].contains(&name) {
            let module = path.with_extension("");
            let module = module.strip_prefix(root).expect("below the root");
            let module = module
                .iter()
                .map(|name| name.to_str().expect("a name").to_owned());
            sources.insert(
                module.collect(),
                std::fs::read_to_string(&path).expect("readable"),
            );
        }
    }
}

/// The paths in one file.
#[derive(Default)]
struct Found {
    module: Module,
    paths: Vec<Module>,
    /// Public names of this module, and where they come from.
    exports: Vec<(String, Module)>,
}

impl Found {
    /// The path from the root; none for one into another crate.
    fn absolute(&self, path: &[String], modules: &BTreeSet<Module>) -> Option<Module> {
        let mut base = self.module.clone();
        let mut rest = path;
        match rest.first()?.as_str() {
            "crate" => {
                base.clear();
                rest = &rest[1..];
            }
            "self" => rest = &rest[1..],
            "super" => {
                while rest.first().is_some_and(|name| name == "super") {
                    base.pop();
                    rest = &rest[1..];
                }
            }
            child => {
                base.push(child.to_owned());
                rest = &rest[1..];
                if !modules.contains(&base) {
                    return None;
                }
            }
        }
        base.extend_from_slice(rest);
        Some(base)
    }

    fn tree(&mut self, tree: &syn::UseTree, before: &mut Module, public: bool) {
        match tree {
            syn::UseTree::Path(path) => {
                before.push(path.ident.to_string());
                self.tree(&path.tree, before, public);
                before.pop();
            }
            syn::UseTree::Group(group) => {
                for tree in &group.items {
                    self.tree(tree, before, public);
                }
            }
            syn::UseTree::Name(syn::UseName { ident }) => {
                self.import(before, &ident.to_string(), None, public)
            }
            syn::UseTree::Rename(rename) => {
                let as_name = rename.rename.to_string();
                self.import(before, &rename.ident.to_string(), Some(as_name), public);
            }
            syn::UseTree::Glob(_) => self.paths.push(before.clone()),
        }
    }

    fn import(&mut self, before: &Module, name: &str, as_name: Option<String>, public: bool) {
        let mut path = before.clone();
        if name != "self" {
            path.push(name.to_owned());
        }
        if public {
            self.exports
                .push((as_name.unwrap_or_else(|| name.to_owned()), path));
        } else {
            self.paths.push(path);
        }
    }
}

/// Whether an item is compiled for tests alone.
fn for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && matches!(&attribute.meta, syn::Meta::List(list) if list.tokens.to_string() == "test")
    })
}

impl<'a> Visit<'a> for Found {
    fn visit_item_use(&mut self, item: &'a syn::ItemUse) {
        if !for_tests(&item.attrs) {
            let public = !matches!(item.vis, syn::Visibility::Inherited);
            self.tree(&item.tree, &mut Module::new(), public);
        }
    }

    fn visit_item_mod(&mut self, item: &'a syn::ItemMod) {
        if !for_tests(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_fn(&mut self, item: &'a syn::ItemFn) {
        if !for_tests(&item.attrs) {
            visit::visit_item_fn(self, item);
        }
    }

    fn visit_item_impl(&mut self, item: &'a syn::ItemImpl) {
        if !for_tests(&item.attrs) {
            visit::visit_item_impl(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'a syn::ImplItemFn) {
        if !for_tests(&item.attrs) {
            visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_path(&mut self, path: &'a syn::Path) {
        if path.segments.len() > 1 {
            self.paths.push(
                path.segments
                    .iter()
                    .map(|part| part.ident.to_string())
                    .collect(),
            );
        }
        visit::visit_path(self, path);
    }
}

/// The paths in a file.
fn found(module: &Module, text: &str) -> Found {
    let mut found = Found {
        module: module.clone(),
        ..Found::default()
    };
    let file =
        syn::parse_file(text).unwrap_or_else(|error| panic!("{}: {error}", module.join("::")));
    found.visit_file(&file);
    found
}

/// Which file uses which.
fn uses(sources: &BTreeMap<Module, String>) -> BTreeSet<(Module, Module)> {
    let modules: BTreeSet<Module> = sources.keys().cloned().collect();
    let files: Vec<Found> = sources
        .iter()
        .map(|(module, text)| found(module, text))
        .collect();
    let mut exports = BTreeMap::new();
    for file in &files {
        for (name, path) in &file.exports {
            if let Some(path) = file.absolute(path, &modules) {
                let mut exported = file.module.clone();
                exported.push(name.clone());
                exports.insert(exported, path);
            }
        }
    }
    let mut uses = BTreeSet::new();
    for file in &files {
        let own_children =
            |to: &Module| to.len() > file.module.len() && to.starts_with(&file.module);
        let of_exports = file.exports.iter().map(|(_, path)| (path, true));
        for (path, is_export) in file
            .paths
            .iter()
            .map(|path| (path, false))
            .chain(of_exports)
        {
            let to = file
                .absolute(path, &modules)
                .and_then(|path| defining(path, &modules, &exports));
            if let Some(to) = to.filter(|to| *to != file.module && !(is_export && own_children(to)))
            {
                uses.insert((file.module.clone(), to));
            }
        }
    }
    uses
}

/// The file that defines what a path from the root names.
fn defining(
    path: Module,
    modules: &BTreeSet<Module>,
    exports: &BTreeMap<Module, Module>,
) -> Option<Module> {
    let depth = (1..=path.len())
        .rev()
        .find(|depth| modules.contains(&path[..*depth]))?;
    match path.get(..=depth).and_then(|item| exports.get(item)) {
        Some(target) if target[..] != path[..] => defining(target.clone(), modules, exports),
        _ => Some(path[..depth].to_vec()),
    }
}

/// The uses among files that are part of a circle.
fn in_circles(uses: &BTreeSet<(Module, Module)>) -> Vec<String> {
    let mut left = uses.clone();
    loop {
        // Whoever uses none, or is used by none, is in no circle.
        let from: BTreeSet<Module> = left.iter().map(|(from, _)| from.clone()).collect();
        let to: BTreeSet<Module> = left.iter().map(|(_, to)| to.clone()).collect();
        let before = left.len();
        left.retain(|(one, other)| from.contains(other) && to.contains(one));
        if left.len() == before {
            return left.iter().map(shown).collect();
        }
    }
}

fn shown((from, to): &(Module, Module)) -> String {
    format!("{} -> {}", from.join("::"), to.join("::"))
}

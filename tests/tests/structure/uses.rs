//! The imports among the files of a crate, by the paths in its sources.
//!
//! Paths are found in `use`, in code and in the tokens of macros. They begin with `crate`, `super`,
//! `self` or the name of a child. These are no imports: `mod`, visibilities, code for tests, and
//! re-exports of children that the file itself does not use.

use std::collections::{BTreeMap, BTreeSet};

use syn::visit::{self, Visit};

/// A module as the names from the crate's root down to it.
pub(crate) type Module = Vec<String>;

/// The paths in one file.
#[derive(Default)]
pub(crate) struct FileUses {
    module: Module,
    pub(crate) paths: Vec<Module>,
    /// Public names of this module, with their paths.
    pub(crate) exports: Vec<(String, Module)>,
    /// Names without a path.
    names: BTreeSet<String>,
    /// The children that are compiled for tests alone.
    test_children: BTreeSet<String>,
}

impl FileUses {
    /// Finds the paths in a file.
    pub(crate) fn parse(module: &Module, text: &str) -> Self {
        let mut file = Self {
            module: module.clone(),
            ..Self::default()
        };
        let parsed =
            syn::parse_file(text).unwrap_or_else(|error| panic!("{}: {error}", module.join("::")));
        file.visit_file(&parsed);
        file
    }

    /// Returns the path from the root; `None` for a path into another crate.
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

    /// Returns the child modules that are compiled for tests alone.
    fn test_modules(&self) -> Vec<Module> {
        let below = |child: &String| [&self.module[..], std::slice::from_ref(child)].concat();
        self.test_children.iter().map(below).collect()
    }

    /// Finds the paths in the tokens of a macro, as text.
    fn tokens(&mut self, text: &str) {
        let joined = text.replace(" ::", "::").replace(":: ", "::");
        let in_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
        for path in joined.split(|c| !in_path(c)) {
            let parts: Module = super::parts(path);
            match &parts[..] {
                [] => {}
                [name] => drop(self.names.insert(name.clone())),
                _ => self.paths.push(parts),
            }
        }
    }

    fn tree(&mut self, tree: &syn::UseTree, prefix: &mut Module, public: bool) {
        match tree {
            syn::UseTree::Path(path) => {
                prefix.push(path.ident.to_string());
                self.tree(&path.tree, prefix, public);
                prefix.pop();
            }
            syn::UseTree::Group(group) => {
                for tree in &group.items {
                    self.tree(tree, prefix, public);
                }
            }
            syn::UseTree::Name(syn::UseName { ident }) => {
                self.import(prefix, &ident.to_string(), None, public)
            }
            syn::UseTree::Rename(rename) => {
                let as_name = rename.rename.to_string();
                let name = rename.ident.to_string();
                let up = |name: &String| ["crate", "super", "self"].contains(&name.as_str());
                let to_parent = prefix.iter().chain([&name]).all(up);
                assert!(
                    !to_parent,
                    "{}: `{as_name}` hides where a path leads",
                    self.module.join("::")
                );
                self.import(prefix, &rename.ident.to_string(), Some(as_name), public);
            }
            syn::UseTree::Glob(_) => self.paths.push(prefix.clone()),
        }
    }

    fn import(&mut self, prefix: &Module, name: &str, as_name: Option<String>, public: bool) {
        let mut path = prefix.clone();
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

/// Returns whether an item is compiled for tests alone.
fn for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && matches!(&attribute.meta, syn::Meta::List(list) if list.tokens.to_string() == "test")
    })
}

impl<'a> Visit<'a> for FileUses {
    fn visit_item_use(&mut self, item: &'a syn::ItemUse) {
        if !for_tests(&item.attrs) {
            let public = !matches!(item.vis, syn::Visibility::Inherited);
            self.tree(&item.tree, &mut Module::new(), public);
        }
    }

    fn visit_item_mod(&mut self, item: &'a syn::ItemMod) {
        if for_tests(&item.attrs) {
            self.test_children.insert(item.ident.to_string());
        } else {
            visit::visit_item_mod(self, item);
        }
    }

    /// `pub(in a::path)` says who may import, and imports nothing.
    fn visit_vis_restricted(&mut self, _: &'a syn::VisRestricted) {}

    fn visit_item_extern_crate(&mut self, item: &'a syn::ItemExternCrate) {
        panic!(
            "{}: `extern crate {}` hides where a path leads",
            self.module.join("::"),
            item.ident
        );
    }

    fn visit_macro(&mut self, item: &'a syn::Macro) {
        self.tokens(&item.tokens.to_string());
        visit::visit_macro(self, item);
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
        } else if let Some(name) = path.get_ident() {
            self.names.insert(name.to_string());
        }
        visit::visit_path(self, path);
    }
}

/// Returns which file imports from which. The crate's root only re-exports.
pub(crate) fn uses(sources: &BTreeMap<Module, String>) -> BTreeSet<(Module, Module)> {
    let mut files: Vec<FileUses> = sources
        .iter()
        .map(|(module, text)| FileUses::parse(module, text))
        .collect();
    let for_tests: Vec<Module> = files.iter().flat_map(FileUses::test_modules).collect();
    files.retain(|file| !for_tests.iter().any(|test| file.module.starts_with(test)));
    let modules: BTreeSet<Module> = files.iter().map(|file| file.module.clone()).collect();
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
    for file in files.iter().filter(|file| !file.module.is_empty()) {
        let own_children =
            |to: &Module| to.len() > file.module.len() && to.starts_with(&file.module);
        let of_exports = file.exports.iter();
        let of_exports = of_exports.map(|(name, path)| (path, !file.names.contains(name)));
        for (path, only_exported) in file
            .paths
            .iter()
            .map(|path| (path, false))
            .chain(of_exports)
        {
            let to = file
                .absolute(path, &modules)
                .and_then(|path| defining(path, &modules, &exports));
            if let Some(to) =
                to.filter(|to| *to != file.module && !(only_exported && own_children(to)))
            {
                uses.insert((file.module.clone(), to));
            }
        }
    }
    uses
}

/// Returns the file that defines the item of a path from the root.
fn defining(
    path: Module,
    modules: &BTreeSet<Module>,
    exports: &BTreeMap<Module, Module>,
) -> Option<Module> {
    let depth = (0..=path.len())
        .rev()
        .find(|depth| *depth == 0 || modules.contains(&path[..*depth]))?;
    match path.get(..=depth).and_then(|item| exports.get(item)) {
        Some(target) if target[..] != path[..] => defining(target.clone(), modules, exports),
        _ => (depth > 0).then(|| path[..depth].to_vec()),
    }
}

/// Returns an import as text.
pub(crate) fn describe((from, to): &(Module, Module)) -> String {
    format!("{} -> {}", from.join("::"), to.join("::"))
}

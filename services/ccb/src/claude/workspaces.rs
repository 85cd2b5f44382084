//! The workspaces of the service to which folders of this machine correspond (`CCB_MAP`).

use std::path::{Path, PathBuf};

use protocol::body::DEFAULT_WORKSPACE;

/// A mapping of folders to workspaces. Folders inside a mapped folder belong to its workspace.
#[derive(Debug, PartialEq)]
pub(super) struct WorkspaceMap(Vec<(PathBuf, String)>);

impl WorkspaceMap {
    /// Parses the text of `CCB_MAP`: `FOLDER=WORKSPACE`, several of them separated by colons.
    /// `resolve` returns the path of a folder without symbolic links.
    ///
    /// # Errors
    /// An entry has another form, or its folder is not an absolute path.
    pub(super) fn parse(text: &str, resolve: impl Fn(&Path) -> PathBuf) -> Result<Self, String> {
        let entry = |entry: &str| {
            let (folder, workspace) = entry
                .rsplit_once('=')
                .filter(|(folder, workspace)| folder.starts_with('/') && !workspace.is_empty())
                .ok_or_else(|| {
                    format!(
                        "CCB_MAP has the entry {entry:?}; give /FOLDER=WORKSPACE, and separate \
                         entries by colons"
                    )
                })?;
            Ok((resolve(Path::new(folder)), workspace.to_owned()))
        };
        let entries = text.split(':').filter(|entry| !entry.is_empty());
        entries.map(entry).collect::<Result<_, _>>().map(Self)
    }

    /// Creates the mapping without `CCB_MAP`: the working directory is the workspace `default`.
    pub(super) fn of_working_directory(folder: &Path) -> Self {
        Self(vec![(folder.to_owned(), DEFAULT_WORKSPACE.to_owned())])
    }

    /// Returns the mapped folder with the longest path that contains this folder, and its
    /// workspace.
    fn find(&self, folder: &Path) -> Option<(&Path, &str)> {
        let containing = self.0.iter().filter(|(root, _)| folder.starts_with(root));
        let longest = containing.max_by_key(|(root, _)| root.components().count());
        longest.map(|(root, workspace)| (root.as_path(), workspace.as_str()))
    }

    /// Returns the workspace of the working directory.
    ///
    /// # Errors
    /// The folder is not mapped, or is a folder inside a mapped one: an execution always starts in
    /// the root of its workspace.
    pub(super) fn workspace_of(&self, folder: &Path) -> Result<&str, String> {
        let shown = folder.display();
        match self.find(folder) {
            Some((root, workspace)) if root == folder => Ok(workspace),
            Some((root, workspace)) => Err(format!(
                "the working directory {shown} is inside {0}, and an execution can only start in \
                 the workspace {workspace} itself; start in {0}, or add {shown}=WORKSPACE to \
                 CCB_MAP",
                root.display()
            )),
            None => Err(format!(
                "CCB_MAP maps no workspace to the working directory {shown}; add \
                 {shown}=WORKSPACE to it"
            )),
        }
    }

    /// Returns whether both folders belong to the same workspace.
    pub(super) fn is_same_workspace(&self, one: &Path, other: &Path) -> bool {
        let workspace = |folder| self.find(folder).map(|(_, workspace)| workspace);
        workspace(one).is_some() && workspace(one) == workspace(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(text: &str) -> Result<WorkspaceMap, String> {
        WorkspaceMap::parse(text, Path::to_owned)
    }

    #[test]
    fn the_longest_prefix_of_whole_components_decides() {
        let map = map("/src=shop:/src/docs=docs:/a=b=c:").unwrap();
        let workspace = |path: &str| map.workspace_of(Path::new(path));
        assert_eq!(workspace("/src"), Ok("shop"));
        assert_eq!(workspace("/src/docs"), Ok("docs"));
        assert_eq!(workspace("/a=b"), Ok("c"));
        assert!(
            workspace("/src/docs/x")
                .unwrap_err()
                .contains("inside /src/docs")
        );
        assert!(workspace("/src/x").unwrap_err().contains("inside /src,"));
        assert!(workspace("/srcs").unwrap_err().contains("/srcs=WORKSPACE"));
        assert!(workspace("/").is_err());
    }

    #[test]
    fn folders_of_one_workspace_are_recognised() {
        let map = map("/src=shop:/src/docs=docs:/more=shop").unwrap();
        let same = |a: &str, b: &str| map.is_same_workspace(Path::new(a), Path::new(b));
        assert!(same("/src", "/src/x/y") && same("/src", "/more"));
        assert!(!same("/src", "/src/docs") && !same("/src", "/other") && !same("/x", "/y"));
    }

    #[test]
    fn an_entry_needs_an_absolute_folder_and_a_workspace() {
        for bad in ["/src", "src=shop", "/src=", "=shop", "/a=b:c"] {
            assert!(map(bad).unwrap_err().contains("CCB_MAP"), "{bad}");
        }
    }

    #[test]
    fn without_a_map_the_working_directory_is_the_default_workspace() {
        let map = WorkspaceMap::of_working_directory(Path::new("/x"));
        assert_eq!(map.workspace_of(Path::new("/x")), Ok("default"));
        assert!(map.is_same_workspace(Path::new("/x"), Path::new("/x/y")));
    }
}

//! The sandbox policy: the paths in the file system that an execution may use. These are the
//! system's folders, its workspace, a home of the workspace, and a temporary folder and a
//! transcript of its conversation. The spool, credential files, other workspaces and files of other
//! conversations are outside. The runner enforces the policy with the kernel's Landlock
//! ([`runner::Sandbox`]).

mod cli_configuration;
mod home;
mod paths;
mod remove;
mod temporary;
mod warnings;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) use cli_configuration::restore_transcript;
use paths::refuse_exposed;
use runner::MissingProtection;
pub(crate) use temporary::Folders;
use temporary::Temporary;
pub(crate) use warnings::{token_rules, warnings};

use crate::cli::{Environment, PrivateOption};
use crate::config::ServeArgs;

/// The environment variables by which the CLI and its tools find their temporary folder. All are
/// set to the folder of the execution's conversation.
const NAMING_TEMPORARY: [&str; 4] = ["TMPDIR", "TMP", "TEMP", "CLAUDE_CODE_TMPDIR"];

/// The environment variable, as name and value, that names a missing folder, so that the CLI
/// creates no socket for messages. The CLI would give tools the password of that socket, and tools
/// could then add messages in the user's name to the conversation. Measured with 2.1.329.
const NO_SOCKETS: [(&str, &str); 1] = [("XDG_RUNTIME_DIR", "/proc/none")];

/// The rules from which the sandbox of each execution is made: the paths that every execution may
/// use, and the folders below which each execution gets its own.
#[derive(Debug)]
pub(crate) struct Policy {
    /// The paths that every execution may use, such as the system's programs.
    shared: runner::Sandbox,
    /// The temporary folders, one for each conversation.
    temporary: Temporary,
    /// The environment of the CLI, which names its configuration folder and its credential.
    environment: Arc<Environment>,
    /// The home folder of the user that runs the service. The homes of workspaces are below it.
    home: PathBuf,
}

/// The sandbox of one execution: the paths that it may use, the environment variables that name its
/// folders, and a guard that keeps these folders.
pub(crate) struct ExecutionSandbox {
    /// The paths that the runner opens to the process tree of the execution.
    pub(crate) sandbox: runner::Sandbox,
    /// The environment variables that name the folders, such as `HOME` and `TMPDIR`. They override
    /// the client's variables.
    pub(crate) variables: Vec<(String, String)>,
    /// The guard of the execution's folders. The holder keeps it until the execution has ended.
    pub(crate) folders: Folders,
}

impl ExecutionSandbox {
    /// Writes options of the CLI into private files, and returns the arguments that name these
    /// files. As arguments, the texts themselves could be read by all executions (with `ps`).
    /// Blocks on the disk.
    ///
    /// # Errors
    /// A file cannot be written.
    pub(crate) fn hide(&self, options: &[PrivateOption]) -> io::Result<Vec<String>> {
        let mut arguments = Vec::new();
        for option in options {
            let path = self.folders.private.join(option.name);
            std::fs::write(&path, &option.text)?;
            arguments.push(format!("--{}={}", option.file_option, path.display()));
        }
        Ok(arguments)
    }
}

impl Policy {
    /// Creates the policy for these settings. `None` if they turn the sandbox off, or if the kernel
    /// has no Landlock (its mechanism for sandboxes); executions then run without a sandbox.
    ///
    /// # Errors
    /// The sandbox would have a hole, because a folder that executions must not use is inside one
    /// that they may use. The text names both folders.
    pub(crate) fn new(
        args: &ServeArgs,
        environment: &Arc<Environment>,
    ) -> Result<Option<Self>, String> {
        if !args.sandbox || runner::missing_protections().contains(&MissingProtection::Landlock) {
            return Ok(None);
        }
        let temporary = environment.get("TMPDIR").unwrap_or("/tmp").into();
        let policy = Self {
            shared: paths::shared(args, environment),
            temporary: Temporary::new(temporary, &args.spool_dir),
            environment: Arc::clone(environment),
            home: environment.get("HOME").unwrap_or("/").into(),
        };
        refuse_exposed(&policy.shared, &policy.home, "the homes of all executions")?;
        // If the CLI uses its own login, executions can use the service's home.
        let mut open = policy.shared.clone();
        open.read_write
            .extend([policy.home.clone(), environment.config_dir()]);
        refuse_exposed(&open, &args.spool_dir, "the spool")?;
        refuse_exposed(&open, &args.workspace_root, "the workspaces")?;
        refuse_exposed(
            &open,
            &policy.temporary.root,
            "temporary files of all executions",
        )?;
        if let Some(file) = args.traces.headers_file() {
            let what = "the headers for the Collector (CLAUDE_API_OTLP_HEADERS_FILE)";
            let workspaces = std::iter::once(&args.workspace_root).chain(&args.default_workspace);
            open.read_write.extend(workspaces.cloned());
            open.read_write.push(policy.temporary.root.clone());
            refuse_exposed(&open, file, what)?;
        }
        Ok(Some(policy))
    }

    /// Creates the folders of one execution and returns its sandbox. `folder` is the folder of the
    /// workspace named `workspace`. `principal` is the owner of the execution, and `conversation`
    /// the id of the conversation. With `is_granted`, the CLI has a grant, so that it needs no
    /// login. Blocks on the disk.
    ///
    /// # Errors
    /// A folder, link or file cannot be created.
    pub(crate) fn prepare(
        &self,
        folder: &Path,
        principal: Option<&str>,
        workspace: &str,
        conversation: &str,
        is_granted: bool,
    ) -> io::Result<ExecutionSandbox> {
        let folders = self.temporary.create(conversation)?;
        let Folders {
            temporary, private, ..
        } = &folders;
        let mut variables: Vec<_> = NAMING_TEMPORARY
            .map(|name| (name, temporary.clone()))
            .to_vec();
        variables.extend(NO_SOCKETS.map(|(name, value)| (name, value.into())));
        let mut sandbox = self.shared.clone();
        sandbox
            .read_write
            .extend([folder.to_owned(), temporary.clone()]);
        sandbox.read_only.push(private.clone());
        if !is_granted && self.environment.uses_login() {
            sandbox.read_write.push(self.home.clone());
            sandbox.read_write.push(self.environment.config_dir());
            restore_transcript(&self.environment.config_dir(), conversation)?;
        } else {
            let config_dir = self.environment.config_dir();
            let home = home::create(&self.home, principal, workspace, &config_dir)?;
            let configuration = cli_configuration::create(
                private,
                &config_dir,
                &self.environment.config_file(),
                conversation,
            )?;
            variables.push(("HOME", home.folder.clone()));
            variables.push(("CLAUDE_CONFIG_DIR", private.clone()));
            sandbox.read_only.extend(home.readable);
            sandbox.read_only.extend(configuration.readable);
            sandbox.read_write.push(home.folder);
            sandbox.read_write.extend(configuration.writable);
        }
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        let variables = variables
            .into_iter()
            .map(|(name, path)| (name.to_owned(), text(path)));
        Ok(ExecutionSandbox {
            sandbox,
            variables: variables.collect(),
            folders,
        })
    }

    /// Removes the temporary folders of conversations that no execution uses and for which `known`
    /// returns false. Blocks on the disk.
    ///
    /// # Errors
    /// The parent folder cannot be listed.
    pub(crate) fn expire(&self, known: impl Fn(&str) -> bool) -> io::Result<()> {
        self.temporary.expire(known)
    }

    /// Removes temporary folders of conversations that no execution uses, if less than a tenth of
    /// their disk is free. The least recently used are removed first, until a quarter is free.
    /// Returns the number of conversations whose folders were removed. Blocks on the disk.
    ///
    /// # Errors
    /// The parent folder cannot be read.
    pub(crate) fn make_room(&self) -> io::Result<usize> {
        self.temporary.make_room()
    }
}

#[cfg(test)]
mod tests;

//! claude-api and its bridges, with optional fault proxies on both hops.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::bridges::{self, Turns};
use super::tokens::TOKENS_FILE;
use super::{Service, ServiceOptions, StackOptions, binary, processes};
use crate::{faults::FaultProxy, http::Http};

/// The time in which the processes of an execution end after a cancel (docs/protocol.md,
/// "Controls").
const LEFT: Duration = Duration::from_secs(5);

/// Both services, their directories, and the proxies.
#[derive(Debug)]
pub struct Stack {
    /// The first bridge. Declared before claude-api, so it is dropped first.
    pub bridge: Service,
    /// The second bridge.
    pub(super) second: Option<Service>,
    /// claude-api.
    pub api: Service,
    /// The fault proxy between the clients and the bridges.
    pub front: Option<FaultProxy>,
    /// The fault proxy between the bridges and claude-api.
    pub middle: Option<FaultProxy>,
    pub(super) turns: Turns,
    folder: TempDir,
}

/// Returns the options of a claude-api as a [`Stack`] starts it, with all directories under
/// `folder`.
///
/// # Panics
/// If the directories cannot be created, or a binary is missing.
#[must_use]
pub fn api_options(folder: &Path, options: &StackOptions) -> ServiceOptions {
    let make = |name: &str| {
        let path = folder.join(name);
        fs::create_dir_all(&path).expect("a folder can be made");
        path.to_string_lossy().into_owned()
    };
    let claude = options
        .claude_bin
        .clone()
        .unwrap_or_else(|| binary("stand-in-claude"));
    let mut arguments = vec![
        "serve".to_owned(),
        "--port=0".to_owned(),
        format!("--spool-dir={}", make("spool")),
        format!("--workspace-root={}", make("workspaces")),
        format!("--claude-bin={}", claude.display()),
    ];
    if let Some(tokens) = &options.tokens {
        make("access");
        let file = folder.join(TOKENS_FILE);
        tokens.write(&file);
        arguments.push(format!("--tokens-file={}", file.display()));
        // Without a sandbox, claude-api refuses a file with several principals.
        arguments.push("--principals-share-a-box".to_owned());
    }
    arguments.extend(options.claude_api.iter().cloned());
    let mut environment = vec![
        ("HOME".to_owned(), make("home")),
        ("CLAUDE_CONFIG_DIR".to_owned(), make("home/.claude")),
        ("TMPDIR".to_owned(), make("tmp")),
        ("CLAUDE_CODE_TMPDIR".to_owned(), make("tmp")),
        ("ANTHROPIC_API_KEY".to_owned(), "a-key-for-tests".to_owned()),
    ];
    environment.extend(options.environment.iter().cloned());
    let log = folder.join("claude-api.log");
    let mut program = binary("claude-api");
    if let Some(limit) = options.open_files {
        // The shell execs the service, so the process id stays the same.
        let limited = format!("ulimit -n {limit}; exec \"$0\" \"$@\"");
        let inner = program.to_string_lossy().into_owned();
        arguments.splice(0..0, ["-c".to_owned(), limited, inner]);
        program = "/bin/sh".into();
    }
    ServiceOptions {
        name: "claude-api".into(),
        program,
        arguments,
        environment,
        log,
    }
}

/// Returns the options of a bridge in front of `api`.
///
/// # Panics
/// If the binary is missing.
#[must_use]
pub fn bridge_options(folder: &Path, api: SocketAddr, options: &StackOptions) -> ServiceOptions {
    let mut arguments = vec![
        "serve".to_owned(),
        "--port=0".to_owned(),
        format!("--claude-api-url=http://{api}"),
    ];
    arguments.extend(options.bridge.iter().cloned());
    let environment = vec![("HOME".to_owned(), folder.to_string_lossy().into_owned())];
    let log = folder.join("bridge.log");
    ServiceOptions {
        name: "bridge".into(),
        program: binary("bridge"),
        arguments,
        environment,
        log,
    }
}

impl Stack {
    /// Starts both services with the stand-in CLI and without proxies.
    ///
    /// # Panics
    /// If a service does not start.
    pub async fn start() -> Self {
        Self::with(StackOptions::default()).await
    }

    /// Starts both services with these options.
    ///
    /// # Panics
    /// If a service does not start.
    pub async fn with(options: StackOptions) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("cc-test-")
            .tempdir()
            .expect("a temporary folder");
        let api = Service::start(api_options(folder.path(), &options)).await;
        let mut upstream = api.addr();
        let mut middle = None;
        if options.proxy_upstream {
            let proxy = FaultProxy::start(upstream).await;
            upstream = proxy.addr();
            middle = Some(proxy);
        }
        let bridge = Service::start(bridge_options(folder.path(), upstream, &options)).await;
        let second = bridges::second(folder.path(), upstream, &options).await;
        let front = if options.proxy_clients {
            Some(Self::front(&bridge, second.as_ref()).await)
        } else {
            None
        };
        Self {
            bridge,
            second,
            api,
            front,
            middle,
            turns: Turns::default(),
            folder,
        }
    }

    /// Returns a client of claude-api that bypasses all proxies.
    #[must_use]
    pub fn http(&self) -> Http {
        Http::new(self.api.addr())
    }

    /// Returns a folder or file of the stack: `spool`, `workspaces`, `home`, `tmp`.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Returns how many stand-in processes were started for an execution. The stand-in logs the
    /// conversation, which must be the execution's own id.
    #[must_use]
    pub fn spawns(&self, execution: &str) -> usize {
        let log = fs::read_to_string(self.path("home/.claude/spawns.log")).unwrap_or_default();
        log.lines()
            .filter(|line| line.split_whitespace().nth(1) == Some(execution))
            .count()
    }

    /// Kills claude-api with SIGKILL and starts it with the same directories and port.
    ///
    /// # Panics
    /// If claude-api does not start.
    pub async fn crash_api(&mut self) {
        self.api.kill();
        self.api.start_again().await;
    }

    /// Asserts that within 5 s no process with the id of an execution is left.
    ///
    /// # Panics
    /// If a process is left.
    pub async fn assert_nothing_left(&self, execution: &str) {
        processes::assert_none_marked(execution, LEFT).await;
    }

    /// Asserts that no service logged an error, and that claude-api keeps no zombie.
    ///
    /// # Panics
    /// If one did.
    #[track_caller]
    pub fn assert_quiet(&self) {
        self.api.assert_quiet();
        self.bridge.assert_quiet();
        if let Some(second) = &self.second {
            second.assert_quiet();
        }
        self.assert_no_zombies();
    }

    /// Asserts that claude-api keeps no zombie.
    ///
    /// # Panics
    /// If it does.
    #[track_caller]
    pub fn assert_no_zombies(&self) {
        // A child that has just ended is a zombie until its parent reaps it, so this waits.
        let end = Instant::now() + LEFT;
        while self.api.zombies() > 0 {
            assert!(Instant::now() < end, "claude-api keeps zombies");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

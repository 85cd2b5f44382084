//! claude-api and its bridges, with fault proxies between where a test wants them.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::bridges::{self, Turns};
use super::{Service, ServiceOptions, StackOptions, binary, processes};
use crate::{faults::FaultProxy, http::Http};

/// The time in which the processes of an execution end after a cancel (docs/protocol.md,
/// "Controls").
const LEFT: Duration = Duration::from_secs(5);

/// Both services, their directories, and the proxies.
#[derive(Debug)]
pub struct Stack {
    /// The first bridge. Before claude-api, so that it is dropped first.
    pub bridge: Service,
    /// The second bridge.
    pub(super) second: Option<Service>,
    /// claude-api.
    pub api: Service,
    /// Between the clients and the bridges.
    pub front: Option<FaultProxy>,
    /// Between the bridges and claude-api.
    pub middle: Option<FaultProxy>,
    pub(super) turns: Turns,
    folder: TempDir,
}

/// The options of a claude-api with all its directories under `folder`, as a [`Stack`] starts it.
///
/// # Panics
/// If the directories cannot be made, or a binary is missing.
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
        // The shell becomes the service: its process id stays.
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

/// The options of a bridge before `api`.
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
    /// Both services with the stand-in CLI, and no proxies.
    ///
    /// # Panics
    /// If one does not start.
    pub async fn start() -> Self {
        Self::with(StackOptions::default()).await
    }

    /// The same, as the options say.
    ///
    /// # Panics
    /// If one does not start.
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

    /// A client of claude-api, past all proxies.
    #[must_use]
    pub fn http(&self) -> Http {
        Http::new(self.api.addr())
    }

    /// A folder or file of the stack: `spool`, `workspaces`, `home`, `tmp`.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// How many processes of the stand-in were started for an execution: its conversation is its id.
    #[must_use]
    pub fn spawns(&self, execution: &str) -> usize {
        let log = fs::read_to_string(self.path("home/.claude/spawns.log")).unwrap_or_default();
        log.lines()
            .filter(|line| line.split_whitespace().nth(1) == Some(execution))
            .count()
    }

    /// kill -9 of claude-api, and a start with the same directories on the same port.
    ///
    /// # Panics
    /// If it does not start again.
    pub async fn crash_api(&mut self) {
        self.api.kill();
        self.api.start_again().await;
    }

    /// Asserts that within 5 s no process of an execution is left: none that carries its id.
    ///
    /// # Panics
    /// If one is.
    pub async fn assert_nothing_left(&self, execution: &str) {
        processes::assert_none_marked(execution, LEFT).await;
    }

    /// Asserts that no service logged an error or keeps a zombie.
    ///
    /// # Panics
    /// If one does.
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
        // A child that has just ended is one until its parent is told: what is kept stays.
        let end = Instant::now() + LEFT;
        while self.api.zombies() > 0 {
            assert!(Instant::now() < end, "claude-api keeps zombies");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

//! A Compose project: the shared one that runs already, or the test's own.

mod clients;
mod containers;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use tempfile::TempDir;
use tokio::process::Command;

use super::{
    Plan,
    docker::{self, Ran},
    report, tally,
};

/// The timeout for started containers to become healthy.
const HEALTHY: Duration = Duration::from_secs(60);
/// Variables of the shell that would change the containers, and are removed. The images' names and
/// the user's ids stay.
const KEPT: [&str; 5] = ["CCB_IMAGES", "CCB_TAG", "CCB_UID", "CCB_GID", "CCB_MTU"];

static STARTED: AtomicU32 = AtomicU32::new(0);

/// A Compose project. Dropping the test's own project removes it, with its volumes.
#[derive(Debug)]
pub struct Project {
    name: String,
    api: SocketAddr,
    bridge: SocketAddr,
    own: Option<Own>,
    /// Logs before this do not matter here.
    since: String,
}

#[derive(Debug)]
struct Own {
    _folder: TempDir,
    files: Vec<PathBuf>,
    environment: Vec<(String, String)>,
}

fn needed(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} must be set: scripts/test does it, or start a stack with scripts/up --demo")
    })
}

/// The address in a URL; its path does not matter.
fn address(name: &str, scheme: &str) -> SocketAddr {
    let url = needed(name);
    let rest = url
        .strip_prefix(scheme)
        .unwrap_or_else(|| panic!("{name} must begin with {scheme}, not {url}"));
    let host = rest.split('/').next().unwrap_or(rest);
    std::net::ToSocketAddrs::to_socket_addrs(host)
        .ok()
        .and_then(|mut found| found.next())
        .unwrap_or_else(|| panic!("{name}={url} has no address"))
}

fn now() -> String {
    let since_epoch = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    format!("{:.3}", since_epoch.as_secs_f64())
}

fn free_ports() -> (u16, u16) {
    let listen = || std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    // Holds both sockets until both ports are known: otherwise the ports could be equal.
    let (one, two) = (listen(), listen());
    let port = |listener: &std::net::TcpListener| listener.local_addr().expect("bound").port();
    (port(&one), port(&two))
}

pub(super) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the crate lies in the repository")
}

impl Project {
    /// The stack that `CCB_WS` and `CCB_HTTP` name, of project `CCB_PROJECT` (default `cc-bridge`).
    ///
    /// # Panics
    /// If the variables are not set.
    #[must_use]
    pub fn shared() -> Self {
        let (api, bridge) = (address("CCB_HTTP", "http://"), address("CCB_WS", "ws://"));
        tally::begin(api, bridge);
        Self {
            name: std::env::var("CCB_PROJECT").unwrap_or_else(|_| "cc-bridge".into()),
            api,
            bridge,
            own: None,
            since: now(),
        }
    }

    /// Starts the test's own project from existing images, and waits until it is healthy.
    ///
    /// # Panics
    /// If it does not start: the message holds Compose's output and the containers' logs.
    pub async fn up(name: &str, plan: &Plan) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut files = vec![
            root().join("compose.yaml"),
            root().join("compose.demo.yaml"),
        ];
        for (number, text) in plan.overlays.iter().enumerate() {
            let path = folder.path().join(format!("overlay-{number}.yaml"));
            std::fs::write(&path, text).expect("a file");
            files.push(path);
        }
        let (api, bridge) = free_ports();
        let mut environment = vec![
            ("CCB_CLAUDE_API_PORT".to_owned(), api.to_string()),
            ("CCB_BRIDGE_PORT".to_owned(), bridge.to_string()),
        ];
        environment.extend(plan.environment.iter().cloned());
        let parent = std::env::var("CCB_PROJECT").unwrap_or_else(|_| "cc-bridge-test".into());
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let project = Self {
            name: format!("{parent}-{}-{number}-{name}", std::process::id()),
            api: local(api),
            bridge: local(bridge),
            own: Some(Own {
                _folder: folder,
                files,
                environment,
            }),
            since: now(),
        };
        if !plan.nothing {
            project.compose_up(&[]).await;
        }
        project
    }

    /// `docker compose ARGUMENTS` in this project, which must be the test's own.
    ///
    /// # Panics
    /// If it fails.
    pub async fn compose(&self, arguments: &[&str]) -> Ran {
        let Some(own) = &self.own else {
            panic!("the shared project is not the test's to change");
        };
        let mut command: Command = docker::command(["compose", "--env-file", "/dev/null", "-p"]);
        command
            .arg(&self.name)
            .arg("--project-directory")
            .arg(root());
        for file in &own.files {
            command.arg("-f").arg(file);
        }
        command.args(arguments);
        for (name, _) in std::env::vars() {
            let foreign = ["ANTHROPIC_", "CLAUDE_", "BRIDGE_", "CCB_"]
                .iter()
                .any(|prefix| name.starts_with(prefix));
            if foreign && !KEPT.contains(&name.as_str()) {
                command.env_remove(name);
            }
        }
        command.envs(own.environment.iter().map(|(name, value)| (name, value)));
        let ran = docker::ran(command, b"")
            .await
            .expect("docker compose runs");
        assert_eq!(
            ran.code,
            Some(0),
            "docker compose {}: {}{}",
            arguments.join(" "),
            ran.text(),
            ran.stderr
        );
        ran
    }

    /// Starts services (all if none is named) and waits until they are healthy.
    ///
    /// # Panics
    /// If they do not become so.
    pub async fn compose_up(&self, services: &[&str]) {
        let words = [
            "up",
            "--detach",
            "--no-build",
            "--wait",
            "--wait-timeout",
            "100",
        ];
        self.compose(&[&words, services].concat()).await;
    }

    /// Sets a variable for the calls of [`Self::compose`] from now on.
    pub fn set(&mut self, name: &str, value: &str) {
        if let Some(own) = &mut self.own {
            own.environment.push((name.to_owned(), value.to_owned()));
        }
    }

    /// The project's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The bridge's address on this machine.
    #[must_use]
    pub fn bridge(&self) -> SocketAddr {
        self.bridge
    }

    /// claude-api's address on this machine.
    #[must_use]
    pub fn api(&self) -> SocketAddr {
        self.api
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        if std::thread::panicking() {
            report::print(&self.name, self.api, &self.since);
        }
        if self.own.is_some() {
            report::remove(&self.name);
        }
    }
}

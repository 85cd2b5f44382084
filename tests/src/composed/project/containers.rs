//! Actions of a test on single containers of a project.

use std::{net::SocketAddr, path::Path};

use tokio::process::Command;

use super::{HEALTHY, Project};
use crate::{
    composed::{
        docker::{self, docker},
        tally, until,
    },
    http::Http,
};

impl Project {
    /// A service's container.
    #[must_use]
    pub fn container(&self, service: &str) -> String {
        format!("{}-{service}-1", self.name)
    }

    /// `docker VERB CONTAINER` of a service: `kill`, `start`, `pause`, `unpause`, `stop`.
    ///
    /// # Panics
    /// If it fails.
    pub async fn act(&self, verb: &str, service: &str) {
        docker(&[verb, &self.container(service)])
            .await
            .unwrap_or_else(|error| panic!("{error:#}"));
    }

    /// Disconnects a service from a network of this project, or connects it under these names.
    ///
    /// # Panics
    /// If it fails.
    pub async fn network(&self, verb: &str, network: &str, service: &str, names: &[&str]) {
        let network = format!("{}_{network}", self.name);
        let container = self.container(service);
        let mut words = vec!["network", verb];
        for name in names {
            words.extend(["--alias", name]);
        }
        words.extend([network.as_str(), container.as_str()]);
        docker(&words)
            .await
            .unwrap_or_else(|error| panic!("{error:#}"));
    }

    /// Runs a command in a service's container and returns its standard output.
    ///
    /// # Errors
    /// If it fails.
    pub async fn exec(&self, service: &str, command: &[&str]) -> anyhow::Result<String> {
        let container = self.container(service);
        docker(&[&["exec", container.as_str()], command].concat()).await
    }

    /// Writes a file in a service's container.
    ///
    /// # Panics
    /// If it cannot be written.
    pub async fn write(&self, service: &str, path: &str, text: &str) {
        let container = self.container(service);
        // Written under another name first, so nobody reads a partial file.
        let script = "umask 077; mkdir -p \"$(dirname \"$1\")\" && \
                      cat >\"$1.part\" && mv \"$1.part\" \"$1\"";
        let command = docker::command(["exec", "-i", &container, "sh", "-c", script, "sh", path]);
        let ran = docker::ran(command, text.as_bytes())
            .await
            .expect("docker runs");
        assert_eq!(ran.code, Some(0), "{path}: {}", ran.stderr);
    }

    /// Copies a file out of a service's container, with its permissions.
    ///
    /// # Panics
    /// If it cannot be copied.
    pub async fn copy_out(&self, service: &str, path: &str, to: &Path) {
        let from = format!("{}:{path}", self.container(service));
        let to = to.to_string_lossy();
        docker(&["cp", "--quiet", &from, &to])
            .await
            .unwrap_or_else(|error| panic!("{error:#}"));
    }

    /// Returns the output of `docker inspect` for a service with this template.
    ///
    /// # Panics
    /// If there is no such container.
    pub async fn inspect(&self, service: &str, template: &str) -> String {
        docker(&["inspect", "-f", template, &self.container(service)])
            .await
            .unwrap_or_else(|error| panic!("{error:#}"))
            .trim()
            .to_owned()
    }

    /// Asserts that no service has logged an error or panicked.
    ///
    /// # Panics
    /// If one has.
    pub async fn assert_quiet(&self) {
        for service in ["claude-api", "bridge", "credentials"] {
            let logs = docker::command(["logs", &self.container(service)]);
            let ran = docker::ran(logs, b"").await.expect("docker logs");
            let loud: Vec<_> = (ran.text() + &ran.stderr)
                .lines()
                .filter(|line| line.contains(r#""level":"ERROR""#) || line.contains("panicked"))
                .map(str::to_owned)
                .collect();
            assert!(loud.is_empty(), "{service} was not quiet: {loud:#?}");
        }
    }

    /// Waits until a service is running and healthy.
    ///
    /// # Panics
    /// If it is not in a minute.
    pub async fn wait_healthy(&self, service: &str) {
        until(&format!("{service} to be healthy"), HEALTHY, async || {
            let state = "{{.State.Status}} {{.State.Health.Status}}";
            (self.inspect(service, state).await == "running healthy").then_some(())
        })
        .await;
    }

    /// Waits until a service answers `GET path` with 200, which is sooner than Docker's
    /// healthcheck.
    ///
    /// # Panics
    /// If it does not in a minute.
    pub async fn wait_answers(&self, address: SocketAddr, path: &str) {
        let http = Http::new(address);
        until(&format!("{address}{path}"), HEALTHY, async || {
            let answer = http.get(path).await.ok()?;
            (answer.0 == 200).then_some(())
        })
        .await;
    }

    /// Returns the command of ccb in its own container on this project's network, which survives
    /// the bridge. It counts as one session, so run it once.
    #[must_use]
    pub fn ccb(&self, arguments: &[&str]) -> Command {
        if self.own.is_none() {
            tally::session();
        }
        let image = format!(
            "{}/bridge:{}",
            std::env::var("CCB_IMAGES").unwrap_or_else(|_| "cc-bridge".into()),
            std::env::var("CCB_TAG").unwrap_or_else(|_| "local".into())
        );
        let network = format!("{}_inner", self.name);
        let label = format!("com.docker.compose.project={}", self.name);
        let words = [
            "run",
            "--rm",
            "--interactive",
            "--init",
            "--log-driver=none",
            "--label",
            &label,
            "--network",
            &network,
        ];
        let url = [
            "--entrypoint=ccb",
            "-e",
            "CCB_URL=ws://bridge:8003/ws",
            &image,
        ];
        docker::command(words.iter().chain(url.iter()).chain(arguments.iter()))
    }

    /// Returns the CLI's own record of a conversation in the container; empty without one.
    pub async fn transcript(&self, conversation: &str) -> String {
        let script = "cat \"$HOME/.claude/projects/$1\"/-*/\"$1\".jsonl";
        self.exec("claude-api", &["sh", "-c", script, "sh", conversation])
            .await
            .unwrap_or_default()
    }
}

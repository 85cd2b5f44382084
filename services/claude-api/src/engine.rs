//! What every execution needs, and nothing that knows one: settings, folders, the registry, the starter of
//! processes, the numbers of `/metrics`.

mod sweeps;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use runner::Runners;

use crate::cli::{Environment, create_private};
use crate::config::Settings;
use crate::conversations::Conversations;
use crate::in_place::InPlace;
use crate::metrics::Metrics;
use crate::readiness::Readiness;
use crate::registry::Registry;
use crate::sandbox::{self, Policy};
use sweeps::Sweeps;

/// The pause before the next sweep while something is left.
const RETRY: Duration = Duration::from_secs(2);

/// The time limit of the CLI's Bash tool where its environment names none.
const TOOL_LIMIT_MS: u64 = 120_000;

/// Settings that contradict each other, which only a look at the disk shows.
#[derive(Debug, thiserror::Error)]
#[error("bad configuration:\n  {0}")]
pub struct BadSettings(String);

/// The resources that all executions share.
pub struct Engine {
    /// The configuration.
    pub settings: Settings,
    /// The environment that executions start from.
    pub environment: Arc<Environment>,
    /// Whether an execution would start now.
    pub readiness: Readiness,
    /// The place that decides what exists, who may start and how it ended.
    pub(crate) registry: Registry,
    pub(crate) runners: Runners,
    pub(crate) conversations: Conversations,
    /// The numbers of `/metrics`.
    pub(crate) metrics: Metrics,
    /// What executions may use; everything that this service may when `None`.
    pub(crate) sandbox: Option<Policy>,
    /// Disk work of running executions.
    pub(crate) in_place: Arc<InPlace>,
    /// The sweep of what outlived SIGKILL.
    sweeps: Sweeps,
}

impl Engine {
    /// Opens what executions need. Blocks on the disk. Returns warnings for the log, too.
    ///
    /// # Errors
    /// The spool cannot be used, or the settings contradict each other; the text says why and what
    /// to do.
    pub(crate) fn open(
        settings: Settings,
        environment: Environment,
        runners: Runners,
    ) -> anyhow::Result<(Arc<Self>, Vec<String>)> {
        let dir = &settings.args.spool_dir;
        let unusable = || {
            format!(
                "--spool-dir {} cannot be used; give a folder on a disk that this user may write",
                dir.display()
            )
        };
        let (registry, mut warnings) =
            Registry::open(dir, &settings.limits).with_context(unusable)?;
        // Only advisory hooks: a required one that cannot be run is a mistake of the configuration.
        warnings.extend(settings.hooks.obstacles());
        let conversations =
            Conversations::open(dir.join("conversations")).with_context(unusable)?;
        // Created before the first check, which starts the CLI in it; a failure is an obstacle to readiness, not to life.
        let _ = create_private(&settings.args.workspace_root);
        let environment = Arc::new(environment);
        let policy = Policy::new(&settings.args, &environment).map_err(BadSettings)?;
        let missing = sandbox::warnings(&settings.args, &environment);
        warnings.extend(missing.into_iter().map(|missing| missing.message));
        let engine = Arc::new(Self {
            readiness: Readiness::new(Arc::clone(&environment)),
            environment,
            registry,
            runners,
            conversations,
            metrics: Metrics::default(),
            sandbox: policy,
            in_place: InPlace::start().context("the watch of the disk cannot be started")?,
            sweeps: Sweeps::default(),
            settings,
        });
        Ok((engine, warnings))
    }

    /// Reaps the processes that outlived SIGKILL as soon as they die. They became this process's
    /// children when their runner ended. Returns at once.
    pub(crate) fn sweep_on(self: &Arc<Self>) {
        let engine = Arc::clone(self);
        tokio::spawn(async move {
            let sweep = || {
                let runners = engine.runners.clone();
                async move { runners.sweep_orphans().await.is_empty() }
            };
            engine.sweeps.go_on(RETRY, sweep).await;
        });
    }

    /// The limit of a status in bytes.
    pub(crate) fn status_bytes(&self) -> usize {
        self.registry.status_bytes()
    }

    /// The time limit of the CLI's Bash tool.
    pub(crate) fn tool_limit(&self) -> Duration {
        let text = self.environment.get("BASH_DEFAULT_TIMEOUT_MS");
        Duration::from_millis(text.and_then(|t| t.parse().ok()).unwrap_or(TOOL_LIMIT_MS))
    }
}

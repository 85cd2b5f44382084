//! The resources that all executions share: settings, folders, the registry, the runners, the
//! counters of `/metrics`. Nothing here depends on a single execution.

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

/// The pause before processes that outlived SIGKILL are killed and reaped again.
const SWEEP_RETRY: Duration = Duration::from_secs(2);

/// The time limit of the CLI's Bash tool if its environment sets none.
const TOOL_LIMIT_MS: u64 = 120_000;

/// The error of settings that contradict each other, found only when their folders are opened. An
/// example is a spool in a folder that executions may use.
#[derive(Debug, thiserror::Error)]
#[error("bad configuration:\n  {0}")]
pub struct BadSettings(String);

/// The resources that all executions share. The service has one engine.
pub struct Engine {
    /// The configuration.
    pub settings: Settings,
    /// The environment that executions start from.
    pub environment: Arc<Environment>,
    /// Whether an execution would start now.
    pub readiness: Readiness,
    /// Decides which executions exist, which may start, and how each ended.
    pub(crate) registry: Registry,
    /// Starts processes, each through a runner.
    pub(crate) runners: Runners,
    /// The known conversations.
    pub(crate) conversations: Conversations,
    /// The counters of `/metrics`.
    pub(crate) metrics: Metrics,
    /// The sandbox policy; `None` if executions run without a sandbox.
    pub(crate) sandbox: Option<Policy>,
    /// Runs short disk work of running executions on the runtime's own threads.
    pub(crate) in_place: Arc<InPlace>,
    /// Kills and reaps processes that outlived SIGKILL.
    sweeps: Sweeps,
}

impl Engine {
    /// Opens the resources, and returns them with warnings for the log. Blocks on the disk.
    ///
    /// # Errors
    /// The spool cannot be used, or the settings contradict each other. The text gives the reason
    /// and the remedy.
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
        // Only advisory hooks: a required one that cannot be run is an error of the configuration.
        warnings.extend(settings.hooks.obstacles());
        let conversations =
            Conversations::open(dir.join("conversations")).with_context(unusable)?;
        // Created before the first check, which starts the CLI in it. A failure makes the service
        // unready, but does not stop it.
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
            in_place: InPlace::start().context("the thread disk-watch cannot be started")?,
            sweeps: Sweeps::default(),
            settings,
        });
        Ok((engine, warnings))
    }

    /// Starts to kill and reap the processes that outlived SIGKILL, until none is left. Such
    /// processes became children of this process when their runner ended. Returns immediately.
    pub(crate) fn start_sweeping(self: &Arc<Self>) {
        let engine = Arc::clone(self);
        tokio::spawn(async move {
            let sweep = || {
                let runners = engine.runners.clone();
                async move { runners.sweep_orphans().await.is_empty() }
            };
            engine.sweeps.run(SWEEP_RETRY, sweep).await;
        });
    }

    /// Returns the maximum length of an execution's status as JSON, bytes.
    pub(crate) fn status_bytes(&self) -> usize {
        self.registry.status_bytes()
    }

    /// Returns the time limit of a call of the CLI's Bash tool that sets none:
    /// `BASH_DEFAULT_TIMEOUT_MS` of the CLI's environment, or 120 s.
    pub(crate) fn tool_limit(&self) -> Duration {
        let text = self.environment.get("BASH_DEFAULT_TIMEOUT_MS");
        Duration::from_millis(text.and_then(|t| t.parse().ok()).unwrap_or(TOOL_LIMIT_MS))
    }
}

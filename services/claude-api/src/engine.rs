//! The resources that all executions share: settings, environment, registry, process runners,
//! conversations, metrics and the sandbox policy. Nothing in this module belongs to a single
//! execution.

mod sweeps;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use runner::Runners;

use crate::access::Access;
use crate::cli::{Environment, create_private};
use crate::config::Settings;
use crate::conversations::Conversations;
use crate::in_place::InPlace;
use crate::metrics::Metrics;
use crate::readiness::Readiness;
use crate::registry::Registry;
use crate::sandbox::{self, Policy};
use crate::webhooks::Webhooks;
use sweeps::Sweeps;

/// The pause between two attempts to kill and reap processes that still exist after SIGKILL,
/// usually because the kernel waits for a device.
const SWEEP_RETRY: Duration = Duration::from_secs(2);

/// The time limit in milliseconds of a call of the CLI's Bash tool, if `BASH_DEFAULT_TIMEOUT_MS` is
/// not set or is not a number.
const TOOL_LIMIT_MS: u64 = 120_000;

/// The error for settings that contradict each other, which is found only when their folders are
/// opened. An example is a spool (the folder of all executions' data) inside a folder that
/// executions may use.
#[derive(Debug, thiserror::Error)]
#[error("bad configuration:\n  {0}")]
pub struct BadSettings(String);

/// The resources that all executions share. The service creates one engine when it starts.
pub struct Engine {
    /// The configuration of the service, from its command line and its environment variables.
    pub settings: Settings,
    /// The environment variables with which each CLI is started, before the client's are added.
    pub environment: Arc<Environment>,
    /// The cached results of the readiness checks (CLI, folders, disks, credential).
    /// `/health/ready` reports them.
    pub readiness: Readiness,
    /// The table of all executions. It decides which exist, which may start, and how each ended.
    pub(crate) registry: Registry,
    /// Starts process trees, each through a runner: a helper process that starts, signals and reaps
    /// it.
    pub(crate) runners: Runners,
    /// The conversations that later executions can continue, each with its workspace.
    pub(crate) conversations: Conversations,
    /// The tokens, tickets and budgets: who a client is, and what it may do.
    pub(crate) access: Arc<Access>,
    /// The counters and gauges that `/metrics` reports.
    pub(crate) metrics: Metrics,
    /// The queue of webhook events.
    pub(crate) webhooks: Arc<Webhooks>,
    /// The paths that executions may use. `None` if executions run without a sandbox, because the
    /// settings turn it off or the kernel has no Landlock.
    pub(crate) sandbox: Option<Policy>,
    /// Runs short disk work of running executions on the async runtime's own threads, without
    /// delaying other tasks when a disk hangs.
    pub(crate) in_place: Arc<InPlace>,
    /// Kills and reaps processes that still exist after SIGKILL, once for all executions.
    sweeps: Sweeps,
}

impl Engine {
    /// Opens the folders and creates the shared resources, when the service starts. Returns them
    /// with warnings for the log. Blocks on the disk.
    ///
    /// # Errors
    /// The spool cannot be used, the settings contradict each other, or a thread cannot be started.
    /// The text gives the reason, and the remedy where the operator has one.
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
        let environment = Arc::new(environment);
        let (registry, mut warnings) =
            Registry::open(dir, &settings.limits).with_context(unusable)?;
        // Only advisory hooks: a required one that cannot be run is an error of the configuration.
        warnings.extend(settings.hooks.obstacles());
        let access = Access::open(
            settings.args.network.tokens_file.as_deref(),
            sandbox::token_rules(&settings.args, &environment),
            dir,
        )
        .map_err(BadSettings)?;
        if let Some(table) = access.table() {
            let all = settings.limits.running_executions;
            registry.set_running_limits(table.running_limits(all));
        }
        let conversations =
            Conversations::open(dir.join("conversations")).with_context(unusable)?;
        let webhooks = Webhooks::open(dir.join("webhooks")).with_context(unusable)?;
        // Created before the first check, which starts the CLI in it. A failure makes the service
        // unready, but does not stop it.
        let _ = create_private(&settings.args.workspace_root);
        let policy = Policy::new(&settings.args, &environment).map_err(BadSettings)?;
        let missing = sandbox::warnings(&settings.args, &environment);
        warnings.extend(missing.into_iter().map(|missing| missing.message));
        let engine = Arc::new(Self {
            readiness: Readiness::new(Arc::clone(&environment)),
            environment,
            registry,
            runners,
            conversations,
            access: Arc::new(access),
            metrics: Metrics::default(),
            webhooks,
            sandbox: policy,
            in_place: InPlace::start().context("the thread disk-watch cannot be started")?,
            sweeps: Sweeps::default(),
            settings,
        });
        Ok((engine, warnings))
    }

    /// Starts a background task that kills and reaps the processes that still exist after SIGKILL,
    /// until none is left. Such processes became children of this process when their runner ended.
    /// Returns immediately. Has no further effect while such a task is running.
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

    /// Returns the maximum length in bytes of an execution's status as JSON.
    pub(crate) fn status_bytes(&self) -> usize {
        self.registry.status_bytes()
    }

    /// Returns the time limit of a call of the CLI's Bash tool that names none. This is
    /// `BASH_DEFAULT_TIMEOUT_MS` of the CLI's environment, or 120 s if that is not set or not a
    /// number.
    pub(crate) fn tool_limit(&self) -> Duration {
        let text = self.environment.get("BASH_DEFAULT_TIMEOUT_MS");
        Duration::from_millis(text.and_then(|t| t.parse().ok()).unwrap_or(TOOL_LIMIT_MS))
    }
}

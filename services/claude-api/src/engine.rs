//! The resources that all executions share: settings, environment, registry, process runners,
//! conversations, metrics and the sandbox policy. Nothing in this module belongs to a single
//! execution.

mod sweeps;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use runner::Runners;
use telemetry::Tracer;

use crate::access::Access;
use crate::access::spending::Budgets;
use crate::cli::{Environment, create_private};
use crate::config::Settings;
use crate::conversations::Conversations;
use crate::credentials::Credentials;
use crate::in_place::InPlace;
use crate::metrics::Metrics;
use crate::readiness::Readiness;
use crate::registry::Registry;
use crate::sandbox::{self, Policy};
use crate::webhooks::Webhooks;
use sweeps::Sweeps;

/// The name of this service in traces.
const SERVICE_NAME: &str = "claude-api";
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
    /// The service `credentials`, which holds the credential of the model. `None` if the CLI gets
    /// the credential of this service's own environment.
    pub(crate) credentials: Option<Credentials>,
    /// The counters and gauges that `/metrics` reports.
    pub(crate) metrics: Metrics,
    /// The principals with a budget for a day, as [`Self::count_budgets`] last counted them, for
    /// `/metrics`. A lock, because the counts belong together; no await happens inside.
    budgets: Mutex<Budgets>,
    /// Starts the spans of requests and executions. It is off unless the operator has named a
    /// receiver.
    pub tracer: Tracer,
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
    /// The spool cannot be used, the settings contradict each other, or a thread or the export of
    /// traces cannot be started. The text gives the reason, and the remedy where the operator has
    /// one.
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
        let metrics = Metrics::new(
            &settings.limits,
            settings.args.metrics.metrics_per_principal,
        );
        let credentials = settings.credentials.clone().map(|url| {
            let is_boxed = settings.args.network.boxed;
            Credentials::new(url, is_boxed, metrics.model_requests.clone())
        });
        let credentials = credentials
            .transpose()
            .context("the addresses of this container cannot be read (--boxed)")?;
        let is_boxed = settings.args.network.boxed;
        let readiness = Readiness::new(Arc::clone(&environment), credentials.clone(), is_boxed);
        let missing = sandbox::warnings(&settings.args, readiness.uses_login());
        let missing = missing.into_iter().chain(readiness.credential_warning());
        warnings.extend(missing.map(|missing| missing.message));
        let tracer = match &settings.traces {
            None => Tracer::default(),
            Some(traces) => Tracer::start(SERVICE_NAME, traces.clone(), metrics.spans.clone())?,
        };
        let engine = Arc::new(Self {
            readiness,
            environment,
            registry,
            runners,
            conversations,
            access: Arc::new(access),
            credentials,
            metrics,
            budgets: Mutex::default(),
            tracer,
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

    /// Counts the principals by how much of their budget of the day is spent. May wait for the
    /// disk, because a cost is being written; so the checks of the disks call it, and not
    /// `/metrics`.
    pub(crate) fn count_budgets(&self) {
        let counts = self.access.budgets();
        *self.budgets.lock().unwrap_or_else(PoisonError::into_inner) = counts;
    }

    /// Returns the principals with a budget for a day, as last counted.
    pub(crate) fn counted_budgets(&self) -> Budgets {
        *self.budgets.lock().unwrap_or_else(PoisonError::into_inner)
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

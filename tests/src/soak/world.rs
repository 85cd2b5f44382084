//! The state that all parts of a run share.

mod executions;
mod summary;

use std::{
    collections::HashMap,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicI32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::watch;

use super::{
    Options, Plant,
    deeds::Deeds,
    execution::Execution,
    isolation::Isolation,
    principal::{self, Principal},
    waiting::Sample,
};
use crate::{
    harness::{Stack, Tokens},
    http::Http,
};

/// The number of violations that are printed immediately.
const VIOLATIONS: usize = 50;

/// The phase of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub(super) enum Phase {
    /// Faults are made.
    Fire,
    /// No more faults and no new executions; the run waits for all ends.
    Settle,
    /// All clients have stopped.
    Over,
}

/// Shared by all tasks.
pub(super) struct World {
    pub(super) options: Options,
    pub(super) began: Instant,
    pub(super) front: SocketAddr,
    /// All principals; one without a name if there are no tokens.
    pub(super) principals: Vec<Arc<Principal>>,
    /// Clients of claude-api and of the bridge that see all principals, and bypass the proxies.
    pub(super) admin: Http,
    pub(super) bridge_admin: Http,
    /// What clients received, for the checks of I7.
    pub(super) isolation: Isolation,
    /// Counts of waiting executions, for the audit.
    samples: Mutex<Vec<Sample>>,
    pub(super) spawns_log: PathBuf,
    /// The folder with a file for each prompt, which has a line for each CLI that has read it.
    pub(super) starts: PathBuf,
    phase: watch::Sender<Phase>,
    /// No await happens inside the locks.
    executions: Mutex<Vec<Arc<Execution>>>,
    by_id: Mutex<HashMap<String, Arc<Execution>>>,
    conversations: Mutex<HashMap<String, Vec<Arc<Execution>>>>,
    violations: Mutex<Vec<String>>,
    /// Remarks for the summary, such as a check that was not possible.
    remarks: Mutex<Vec<String>>,
    pub(super) deeds: Deeds,
    faults: Mutex<HashMap<&'static str, u64>>,
    pub(super) fault_count: AtomicU64,
    own_faults: AtomicU64,
    /// Bytes of output that were compared.
    pub(super) checked: AtomicU64,
    pub(super) messages: AtomicU64,
    pub(super) unavailable: AtomicU64,
    /// Executes that were refused because their lane was full.
    pub(super) full_lanes: AtomicU64,
    /// Requests about executions of other principals that were refused as they must be.
    pub(super) attacks: AtomicU64,
    /// Answers of clients to control requests of which the CLI has read each once.
    pub(super) control_answers: AtomicU64,
    /// The number of restarts of the bridge.
    pub(super) bridge_restarts: AtomicU64,
    /// When the last fault was over, and the last restart of the bridge.
    calm_since: OnceLock<Instant>,
    /// Starts of claude-api after which all earlier executions got their end in time.
    pub(super) recoveries: AtomicU64,
    /// The services' process ids, 0 while one is down.
    pub(super) api_pid: AtomicI32,
    pub(super) bridge_pid: AtomicI32,
    /// The peak resident memory in bytes: claude-api, bridge, both together.
    pub(super) resident: [AtomicU64; 3],
    progress: Box<dyn Fn(&str) + Send + Sync>,
}

/// Locks a mutex, also after a panic of another holder.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    pub(super) fn new(
        stack: &Stack,
        tokens: Option<&Tokens>,
        options: &Options,
        progress: Box<dyn Fn(&str) + Send + Sync>,
    ) -> Self {
        Self {
            options: options.clone(),
            began: Instant::now(),
            front: stack.ws_addr(),
            principals: principal::all(stack, tokens)
                .into_iter()
                .map(Arc::new)
                .collect(),
            admin: principal::admin(stack.api.addr(), tokens),
            bridge_admin: principal::admin(stack.bridge.addr(), tokens),
            isolation: Isolation::default(),
            samples: Mutex::default(),
            spawns_log: stack.path("home/.claude/spawns.log"),
            starts: stack.path("starts"),
            phase: watch::Sender::new(Phase::Fire),
            executions: Mutex::default(),
            by_id: Mutex::default(),
            conversations: Mutex::default(),
            violations: Mutex::default(),
            remarks: Mutex::default(),
            deeds: Deeds::default(),
            faults: Mutex::default(),
            fault_count: AtomicU64::new(0),
            own_faults: AtomicU64::new(0),
            checked: AtomicU64::new(0),
            messages: AtomicU64::new(0),
            unavailable: AtomicU64::new(0),
            full_lanes: AtomicU64::new(0),
            attacks: AtomicU64::new(0),
            control_answers: AtomicU64::new(0),
            bridge_restarts: AtomicU64::new(0),
            calm_since: OnceLock::new(),
            recoveries: AtomicU64::new(0),
            api_pid: AtomicI32::new(stack.api.pid()),
            bridge_pid: AtomicI32::new(stack.bridge.pid()),
            resident: Default::default(),
            progress,
        }
    }

    pub(super) fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    pub(super) fn set_phase(&self, phase: Phase) {
        self.phase.send_replace(phase);
    }

    /// Records that no fault and no restart follows.
    pub(super) fn begin_calm(&self) {
        self.calm_since.get_or_init(Instant::now);
    }

    /// Returns since when there are no more faults and restarts; `None` while they are made.
    pub(super) fn calm_since(&self) -> Option<Instant> {
        self.calm_since.get().copied()
    }

    /// Returns whether the bridge was restarted.
    pub(super) fn bridge_was_restarted(&self) -> bool {
        self.bridge_restarts.load(Ordering::Relaxed) > 0
    }

    /// Returns whether the run needs more faults. It needs none after an injected bug is found.
    pub(super) fn under_fire(&self) -> bool {
        self.phase() == Phase::Fire
            && !self.plant_found()
            && self.fault_count.load(Ordering::Relaxed) < self.options.faults
            && self.began.elapsed() < Duration::from_secs(self.options.seconds)
    }

    pub(super) fn fault(&self, kind: &'static str) {
        *lock(&self.faults).entry(kind).or_default() += 1;
        self.fault_count.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns whether a client may make a fault: clients make at most 40 % of all faults.
    pub(super) fn own_fault_is_due(&self) -> bool {
        let all = self.fault_count.load(Ordering::Relaxed);
        let own = self.own_faults.load(Ordering::Relaxed);
        own * 5 <= all * 2
    }

    /// Counts a fault of a client.
    pub(super) fn own_fault(&self, kind: &'static str) {
        self.own_faults.fetch_add(1, Ordering::Relaxed);
        self.fault(kind);
    }

    /// Returns the owner of an execution.
    pub(super) fn owner(&self, execution: &Execution) -> &Arc<Principal> {
        &self.principals[execution.principal]
    }

    /// Keeps a count of waiting executions for the audit.
    pub(super) fn note_sample(&self, sample: Sample) {
        lock(&self.samples).push(sample);
    }

    pub(super) fn samples(&self) -> Vec<Sample> {
        lock(&self.samples).clone()
    }

    /// Adds a remark to the summary.
    pub(super) fn remark(&self, text: String) {
        lock(&self.remarks).push(text);
    }

    pub(super) fn say(&self, line: &str) {
        (self.progress)(&format!("{:>4} s  {line}", self.began.elapsed().as_secs()));
    }

    pub(super) fn violate(&self, who: &str, what: &str) {
        let text = format!("{who}: {what}");
        let mut violations = lock(&self.violations);
        if violations.len() < VIOLATIONS {
            self.say(&format!(
                "VIOLATION {}",
                text.lines().next().unwrap_or_default()
            ));
        }
        violations.push(text);
    }

    pub(super) fn violation_count(&self) -> usize {
        lock(&self.violations).len()
    }

    /// Returns whether the injected bug is found.
    pub(super) fn plant_found(&self) -> bool {
        self.options.plant.is_some() && self.violation_count() > 0
    }

    pub(super) fn plant(&self) -> Option<Plant> {
        self.options.plant
    }
}

//! The gauges. Each is set when the page is read, from state that the service keeps in memory.

use std::sync::atomic::AtomicU64;

use jiff::Timestamp;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use protocol::{Limits, State};

use super::labels::{ReasonLabel, StateLabel};
use crate::access::spending::Budgets;
use crate::readiness::{Conditions, OBSTACLES, WARNINGS};

/// The values of the gauges at the time when a monitoring system reads `/metrics`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Gauges {
    /// The number of executions that wait in the queue.
    pub(crate) queued: i64,
    /// The number of executions that run.
    pub(crate) running: i64,
    /// The number of executions that are paused.
    pub(crate) paused: i64,
    /// The number of open HTTP streams of output or statuses of these executions.
    pub(crate) viewers: i64,
    /// The size of all executions on disk in bytes, as last measured; it is measured every minute.
    pub(crate) spool_bytes: u64,
    /// The number of bytes that the service can still write to the spool's disk, as last measured;
    /// it is measured every 3 seconds.
    pub(crate) spool_free_bytes: u64,
    /// The obstacles and warnings of the service now.
    pub(crate) conditions: Conditions,
    /// The principals with a budget for a day, as last counted; they are counted every 3 seconds.
    pub(crate) budgets: Budgets,
    /// The number of webhook events that are to be delivered.
    pub(crate) webhooks_pending: i64,
}

/// The registered gauges of the page.
#[derive(Debug)]
pub(super) struct StateGauges {
    /// The number of executions that have not ended, by state.
    executions: Family<StateLabel, Gauge>,
    /// The number of open HTTP streams of these executions.
    viewers: Gauge,
    /// The size of all executions on disk, in bytes.
    spool: Gauge,
    /// The number of bytes that can still be written to the spool's disk.
    spool_free: Gauge,
    /// 1 if an execution would start now, otherwise 0.
    ready: Gauge,
    /// 1 for each obstacle that keeps executions from starting now, otherwise 0.
    obstacles: Family<ReasonLabel, Gauge>,
    /// 1 for each warning of the readiness page, otherwise 0.
    warnings: Family<ReasonLabel, Gauge>,
    /// The number of principals with a budget for a day, by how much of it is spent.
    budgets: Family<StateLabel, Gauge>,
    /// The number of webhook events that are to be delivered.
    webhooks_pending: Gauge,
}

impl StateGauges {
    /// Registers the gauges. Those of limits and of the start time get their values here, because
    /// they never change.
    pub(super) fn register(registry: &mut Registry, limits: &Limits) -> Self {
        constants(registry, limits);
        let (executions, viewers) = live(registry);
        let (spool, spool_free) = spool(registry);
        let (ready, obstacles, warnings) = conditions(registry);
        let budgets = Family::default();
        registry.register(
            "budgets",
            "Principals with a budget for a day, by how much of it is spent: open is below 80 \
             percent, near is 80 percent or more, and spent is all of it",
            budgets.clone(),
        );
        let webhooks_pending = Gauge::default();
        registry.register(
            "webhooks_pending",
            "Webhook events that are to be delivered",
            webhooks_pending.clone(),
        );
        Self {
            executions,
            viewers,
            spool,
            spool_free,
            ready,
            obstacles,
            warnings,
            budgets,
            webhooks_pending,
        }
    }

    /// Sets all gauges to these values. A code that is on no list is left out of the page; the
    /// readiness page shows it.
    pub(super) fn set(&self, gauges: &Gauges) {
        let Gauges {
            queued,
            running,
            paused,
            viewers,
            spool_bytes,
            spool_free_bytes,
            conditions,
            budgets,
            webhooks_pending,
        } = gauges;
        self.webhooks_pending.set(*webhooks_pending);
        for (state, count) in [
            (State::Queued, queued),
            (State::Running, running),
            (State::Paused, paused),
        ] {
            let state = state.as_str();
            let gauge = self.executions.get_or_create(&StateLabel { state });
            gauge.set(*count);
        }
        self.viewers.set(*viewers);
        self.spool.set(saturating(*spool_bytes));
        self.spool_free.set(saturating(*spool_free_bytes));
        let Conditions {
            obstacles,
            warnings,
        } = conditions;
        self.ready.set(obstacles.is_empty().into());
        set_codes(&self.obstacles, &OBSTACLES, obstacles);
        set_codes(&self.warnings, &WARNINGS, warnings);
        let Budgets { open, near, spent } = *budgets;
        for (state, count) in [("open", open), ("near", near), ("spent", spent)] {
            let gauge = self.budgets.get_or_create(&StateLabel { state });
            gauge.set(saturating(count));
        }
    }
}

/// Sets the gauge of each known code to 1 if it is among `present`, otherwise to 0.
fn set_codes(family: &Family<ReasonLabel, Gauge>, known: &[&str], present: &[&str]) {
    for code in known {
        let gauge = family.get_or_create(&ReasonLabel::new(code));
        gauge.set(present.contains(code).into());
    }
}

/// Converts a number to the type of a gauge; a larger number becomes the largest one.
fn saturating(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Registers the gauges whose values never change: the start time and the limits.
fn constants(registry: &mut Registry, limits: &Limits) {
    let start = Gauge::<f64, AtomicU64>::default();
    start.set(Timestamp::now().as_duration().as_secs_f64());
    registry.register_with_unit(
        "start_time",
        "Start of the service, as the time since the beginning of 1970 in UTC",
        Unit::Seconds,
        start,
    );
    let limits_by_state = Family::<StateLabel, Gauge>::default();
    for (state, limit) in [
        (State::Queued, limits.queued),
        (State::Running, limits.running_executions),
    ] {
        let state = state.as_str();
        let gauge = limits_by_state.get_or_create(&StateLabel { state }).clone();
        gauge.set(saturating(limit));
    }
    registry.register(
        "executions_limit",
        "The most executions that may wait or run, by state",
        limits_by_state,
    );
    let kept = Gauge::<i64>::default();
    kept.set(saturating(limits.retention_bytes));
    registry.register_with_unit(
        "spool_limit",
        "The size of all executions on disk above which the oldest ended ones are deleted",
        Unit::Bytes,
        kept,
    );
}

/// Registers the gauges of executions that have not ended, and of their viewers.
fn live(registry: &mut Registry) -> (Family<StateLabel, Gauge>, Gauge) {
    let executions = Family::default();
    registry.register(
        "executions",
        "Executions that have not ended, by state",
        executions.clone(),
    );
    let viewers = Gauge::default();
    registry.register(
        "viewers",
        "Open HTTP streams of output or statuses of executions that have not ended, \
         of which a view of a bridge has two",
        viewers.clone(),
    );
    (executions, viewers)
}

/// Registers the gauges of the spool's size and of the room on its disk.
fn spool(registry: &mut Registry) -> (Gauge, Gauge) {
    let mut gauge = |name: &str, help: &str| {
        let gauge = Gauge::default();
        registry.register_with_unit(name, help, Unit::Bytes, gauge.clone());
        gauge
    };
    let size = gauge(
        "spool",
        "Bytes of all executions on disk, measured every minute",
    );
    let free = gauge(
        "spool_free",
        "Bytes that can still be written to the disk of the spool, measured every 3 seconds",
    );
    (size, free)
}

/// Registers the gauges of readiness.
fn conditions(
    registry: &mut Registry,
) -> (
    Gauge,
    Family<ReasonLabel, Gauge>,
    Family<ReasonLabel, Gauge>,
) {
    let ready = Gauge::default();
    registry.register(
        "ready",
        "Whether an execution would start now: 1 for yes, 0 for no",
        ready.clone(),
    );
    let mut family = |name: &str, help: &str| {
        let family = Family::default();
        registry.register(name, help, family.clone());
        family
    };
    let obstacles = family(
        "obstacles",
        "Whether a condition keeps executions from starting: 1 for yes, 0 for no, by the code of \
         the readiness page with _ for -",
    );
    let warnings = family(
        "warnings",
        "Whether the readiness page has a warning: 1 for yes, 0 for no, by its code with _ for -",
    );
    (ready, obstacles, warnings)
}

//! The peak memory of the services, without runners and the CLI.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use super::report::Report;
use crate::harness::{Stack, processes};

const SAMPLE: Duration = Duration::from_millis(10);

/// A sampler of both services' resident memory, until it is stopped or dropped.
pub(super) struct Watch {
    most: Arc<[AtomicU64; 3]>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// The peak memory in MiB.
pub(super) struct Most {
    api: f64,
    bridge: f64,
    /// Of both at one time.
    both: f64,
}

impl Watch {
    pub(super) fn start(stack: &Stack) -> Self {
        let most: Arc<[AtomicU64; 3]> = Arc::default();
        let over = Arc::new(AtomicBool::new(false));
        let (api, bridge) = (stack.api.pid(), stack.bridge.pid());
        let (seen, stop) = (Arc::clone(&most), Arc::clone(&over));
        let thread = std::thread::spawn(move || {
            while !stop.load(Ordering::SeqCst) {
                let api = processes::resident_bytes(api).unwrap_or(0);
                let bridge = processes::resident_bytes(bridge).unwrap_or(0);
                for (most, now) in seen.iter().zip([api, bridge, api + bridge]) {
                    most.fetch_max(now, Ordering::SeqCst);
                }
                std::thread::sleep(SAMPLE);
            }
        });
        Self {
            most,
            over,
            thread: Some(thread),
        }
    }

    pub(super) fn stop(mut self) -> Most {
        self.over.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            // It only sleeps and reads.
            let _ = thread.join();
        }
        let [api, bridge, both] =
            [0, 1, 2].map(|at| mebibytes(self.most[at].load(Ordering::SeqCst)));
        Most { api, bridge, both }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
    }
}

impl Most {
    /// As figures. `target`: of both together.
    pub(super) fn tell(&self, report: &mut Report, name: &str, target: Option<f64>) {
        report.cost(name, self.both, "MiB", target, None);
        report.cost("  claude-api", self.api, "MiB", None, None);
        report.cost("  bridge", self.bridge, "MiB", None, None);
    }
}

#[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

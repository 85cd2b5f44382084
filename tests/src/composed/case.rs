//! One case of a suite, with a time limit, progress lines and its duration.

use std::{
    io::Write,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::{RwLock, Semaphore};

/// The longest time between two progress lines.
const SIGN_OF_LIFE: Duration = Duration::from_secs(10);

/// Serialises cases: one that needs the whole machine runs alone, the others run in parallel.
static MACHINE: RwLock<()> = RwLock::const_new(());
/// Four containers each, and most of their time they wait.
static OWN: Semaphore = Semaphore::const_new(3);

/// What a case uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// A few executions of the shared stack.
    Shared,
    /// Containers of its own.
    Own,
    /// The whole machine.
    Alone,
}

/// The handle with which a case reports its progress.
#[derive(Debug, Clone)]
pub struct Case {
    name: String,
    began: Instant,
    /// The current step. No await happens inside the lock.
    step: Arc<Mutex<String>>,
}

impl Case {
    /// Begins a step: prints its name immediately, and again while it lasts.
    pub fn step(&self, what: impl Into<String>) {
        let what = what.into();
        self.print(&what);
        *self.step.lock().unwrap_or_else(PoisonError::into_inner) = what;
    }

    fn now(&self) -> String {
        self.step
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Bypasses the test harness, which holds a test's output back until it fails.
    fn print(&self, what: &str) {
        let seconds = self.began.elapsed().as_secs_f64();
        // The harness may have begun a line of its own, and ends it later.
        let line = format!("\n  … {}, {seconds:.1} s: {what}\n", self.name);
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
}

impl Drop for Signs {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Prints the current step regularly.
struct Signs(tokio::task::JoinHandle<()>);

/// Runs a case within its time limit, which begins when the machine is free for it.
///
/// # Panics
/// If the case panics, or is not done in time. The case is dropped while the thread panics, so its
/// values can print what they know.
pub async fn case(limit: Duration, uses: Use, body: impl AsyncFnOnce(&Case)) {
    let _own = match uses {
        Use::Own => Some(OWN.acquire().await.expect("never closed")),
        Use::Shared | Use::Alone => None,
    };
    let (_together, _alone) = match uses {
        Use::Shared | Use::Own => (Some(MACHINE.read().await), None),
        Use::Alone => (None, Some(MACHINE.write().await)),
    };
    let case = Case {
        // The test harness names a test's thread after the test.
        name: std::thread::current().name().unwrap_or("a case").to_owned(),
        began: Instant::now(),
        step: Arc::default(),
    };
    case.step("begins");
    let sign = case.clone();
    let _signs = Signs(tokio::spawn(async move {
        loop {
            tokio::time::sleep(SIGN_OF_LIFE).await;
            sign.print(&sign.now());
        }
    }));
    let mut running = pin!(body(&case));
    assert!(
        tokio::time::timeout(limit, running.as_mut()).await.is_ok(),
        "{} took longer than its limit of {limit:?}; it was at: {}",
        case.name,
        case.now()
    );
    case.print("done");
}

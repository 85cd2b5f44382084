//! Short disk writes of running executions, done directly on the threads of the async runtime. Two
//! spare threads and a watchdog make sure that a disk that hangs delays no other execution and no
//! socket.
//!
//! - One write for each core of the machine can be done in place at the same time. Two more threads
//!   of the runtime stay free. A further write first moves the other tasks of its thread to another
//!   thread (`tokio::task::block_in_place`).
//! - The watch, a separate thread, notices a write that hangs and wakes another thread of the
//!   runtime. The thread that hangs may be the one that polls the sockets for all threads. Tokio
//!   lets no other thread take over this work (see `enable_eager_driver_handoff` of its
//!   `runtime::Builder`, which is unstable): with 11 threads, one hung write stopped HTTP.
//!
//! Two simpler designs were measured and cost too much. `block_in_place` around every write
//! switches threads twice for each line, and made text slower by a third. With a thread for each
//! execution, lines waited for the thread of their reader: a quarter more delay with 100
//! executions, and a sixth fewer executions per second.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Weak, mpsc};
use std::thread;
use std::time::Duration;

use tokio::runtime::{Handle, RuntimeFlavor};

/// The pause between two checks of the watch, the thread that notices disk work that hangs. Work
/// that hangs delays the polling of sockets by at most twice this time.
const WATCH_INTERVAL: Duration = Duration::from_millis(20);
/// The number of checks in a row without any disk work after which the watch sleeps until the next
/// work: 50 checks are 1 s.
const IDLE_CHECKS: u32 = 50;
/// The number of the runtime's threads in addition to one for each core. Disk work may block one
/// thread for each core, and these threads stay free for other tasks.
const FREE_THREADS: usize = 2;

/// Runs disk work on the runtime's own threads. It has as many slots as the machine has cores, and
/// work that holds a slot simply blocks its thread.
///
/// - A slot is held while a chunk is written or a start reads its prompt, for that call alone.
/// - No work waits for a slot. Without a slot, the work is done after moving the thread's other
///   tasks to another thread (`tokio::task::block_in_place`), which is slower.
/// - Work that hangs keeps its slot until the disk answers. The two free threads of the runtime,
///   and those that `block_in_place` starts, run all other tasks. It starts one thread for each
///   execution whose disk hangs.
#[derive(Debug)]
pub(crate) struct InPlace {
    /// The slots. A used slot holds the number of its work, and a free slot holds 0.
    slots: Box<[AtomicU64]>,
    /// The number of the newest work, with a slot or without. Work is numbered from 1.
    newest: AtomicU64,
    /// Whether the watch checks the slots periodically. If false, it sleeps until new work wakes
    /// it.
    watching: AtomicBool,
    /// The watch: the thread that notices disk work that hangs.
    watch: thread::Thread,
}

/// Returns the number of threads that the service's async runtime needs: one for each core, on
/// which disk work may hang, and two that stay free.
#[must_use]
pub fn threads() -> usize {
    cores() + FREE_THREADS
}

/// Returns the number of CPU cores that this process may use; 2 if it is unknown.
fn cores() -> usize {
    thread::available_parallelism().map_or(2, usize::from)
}

/// The use of one slot by disk work. Dropping it frees the slot.
struct Slot<'a>(&'a AtomicU64);

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.0.store(0, SeqCst);
    }
}

impl InPlace {
    /// Creates the slots for the current async runtime, and starts the watch, a thread that notices
    /// disk work that hangs. The thread ends within a minute after the last owner has dropped the
    /// slots.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(crate) fn start() -> std::io::Result<Arc<Self>> {
        let runtime = Handle::current();
        let (sender, receiver) = mpsc::sync_channel::<Weak<Self>>(1);
        let watch = thread::Builder::new()
            .name("disk-watch".to_owned())
            .spawn(move || {
                if let Ok(in_place) = receiver.recv() {
                    watch(&in_place, &runtime);
                }
            })?;
        let in_place = Arc::new(Self {
            slots: (0..cores()).map(|_| AtomicU64::new(0)).collect(),
            newest: AtomicU64::new(0),
            watching: AtomicBool::new(true),
            watch: watch.thread().clone(),
        });
        let _ = sender.send(Arc::downgrade(&in_place));
        Ok(in_place)
    }

    /// Runs disk work on the current thread and returns its result. Blocks this thread until then.
    /// Other tasks continue on other threads; on a runtime with a single thread they wait. The work
    /// cannot be cancelled.
    pub(crate) fn run<T>(&self, work: impl FnOnce() -> T) -> T {
        if let Some(_slot) = self.acquire() {
            return work();
        }
        match Handle::current().runtime_flavor() {
            RuntimeFlavor::CurrentThread => work(),
            _ => tokio::task::block_in_place(work),
        }
    }

    /// Takes a free slot, and wakes the watch if it sleeps. `None` if all slots are in use.
    fn acquire(&self) -> Option<Slot<'_>> {
        let number = self.newest.fetch_add(1, SeqCst) + 1;
        let fill = |slot: &&AtomicU64| slot.compare_exchange(0, number, SeqCst, SeqCst).is_ok();
        let slot = self.slots.iter().find(fill)?;
        if !self.watching.load(SeqCst) && !self.watching.swap(true, SeqCst) {
            self.watch.unpark();
        }
        Some(Slot(slot))
    }
}

/// Runs the watch, the thread that notices disk work that hangs. If a slot holds the same work at
/// two checks in a row, the watch wakes another thread of the runtime, which then polls the
/// sockets. Returns when `in_place` has no owner any more.
fn watch(in_place: &Weak<InPlace>, runtime: &Handle) {
    let mut seen = vec![0; cores()];
    let (mut last, mut idle) = (0, 0);
    loop {
        thread::sleep(WATCH_INTERVAL);
        let Some(in_place) = in_place.upgrade() else {
            return;
        };
        let mut hangs = false;
        for (slot, seen) in in_place.slots.iter().zip(&mut seen) {
            let now = slot.load(SeqCst);
            hangs |= now != 0 && now == *seen;
            *seen = now;
        }
        if hangs {
            // The thread that runs this empty task has no other work, and polls the sockets next.
            drop(runtime.spawn(async {}));
        }
        let newest = in_place.newest.load(SeqCst);
        idle = if newest == last && seen.iter().all(|n| *n == 0) {
            idle + 1
        } else {
            0
        };
        last = newest;
        if idle >= IDLE_CHECKS {
            in_place.watching.store(false, SeqCst);
            // Work that began before `watching` was false did not wake the watch.
            if in_place.newest.load(SeqCst) == newest {
                drop(in_place);
                thread::park_timeout(Duration::from_secs(60));
            }
            idle = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use tokio::io::AsyncReadExt;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    #[test]
    fn sockets_are_served_while_any_number_of_disks_hang() {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads())
            .enable_all()
            .build()
            .unwrap();
        let in_place = runtime.block_on(async { InPlace::start().unwrap() });
        let (woken, wakes) = mpsc::channel();
        let mut released = Vec::new();
        let sockets: Vec<_> = (0..threads() * 2)
            .map(|_| {
                let (near, far) = UnixStream::pair().unwrap();
                far.set_nonblocking(true).unwrap();
                let (release, hangs) = mpsc::channel::<()>();
                released.push(release);
                let (in_place, woken) = (Arc::clone(&in_place), woken.clone());
                runtime.spawn(async move {
                    let mut far = tokio::net::UnixStream::from_std(far).unwrap();
                    far.read_u8().await.unwrap();
                    in_place.run(|| {
                        woken.send(()).unwrap();
                        let _ = hangs.recv();
                    });
                });
                near
            })
            .collect();
        // From here on, only the sockets may wake the runtime: any other event hands their polling
        // to another thread.
        for (number, mut socket) in sockets.into_iter().enumerate() {
            socket.write_all(&[1]).unwrap();
            let woke = wakes.recv_timeout(PATIENCE);
            assert!(woke.is_ok(), "{number} disks that hang stop all sockets");
        }
        drop(released);
    }

    #[tokio::test]
    async fn a_panic_frees_its_slot() {
        let in_place = InPlace::start().unwrap();
        for _ in 0..cores() * 2 {
            let panicking = std::panic::AssertUnwindSafe(|| in_place.run(|| panic!("the work")));
            assert!(std::panic::catch_unwind(panicking).is_err());
        }
        assert!(in_place.acquire().is_some());
    }
}

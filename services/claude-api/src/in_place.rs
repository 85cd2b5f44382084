//! Disk work of running executions on the runtime's own threads, so that a disk that hangs holds up nobody else.
//!
//! A running execution writes its output from its own loop, and a disk may hang. A runtime's thread that hangs is not only lost
//! itself: it may be the one that polls the sockets for all, and no other takes that over by itself (tokio, "eager driver
//! hand-off", an unstable option). With 11 threads, one hung write of one execution stopped HTTP. Two ways out cost too much for
//! each line: to move the thread's other tasks away before each write (`tokio::task::block_in_place`) is two switches of
//! threads, which made text slower by a third; a thread for each execution delays each line by the way to its reader's thread,
//! a third more with 100 executions.
//!
//! So a write is made in place, on as many threads at once as there are cores, and two more threads are left. A write
//! beyond those moves the tasks away first. And a [watch](InPlace::watch) sees a write that hangs, and wakes another thread,
//! which then polls the sockets.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use tokio::runtime::{Handle, RuntimeFlavor};

/// How often the watch looks: sockets wait at most twice as long for a write that hangs.
const LOOK: Duration = Duration::from_millis(20);
/// The watch sleeps after so many looks without any work, 1 s.
const IDLE_LOOKS: u32 = 50;
/// Threads of the runtime beyond those on which work may hang.
const FREE_THREADS: usize = 2;

/// Places for disk work on the runtime's threads, as many as the machine has cores.
///
/// - Taken when: a chunk is written, or a start reads its prompt; for that call alone.
/// - Who waits behind whom: nobody. Work without a place is done as well, more slowly.
/// - The other direction: work that hangs keeps its place until the disk answers; the two free threads of the runtime and
///   the threads that `block_in_place` starts serve everybody else. Of those there is one for each execution that hangs.
#[derive(Debug)]
pub(crate) struct InPlace {
    /// The number of the work in each place, 0 in a free one.
    places: Box<[AtomicU64]>,
    /// Counts all work that found a place.
    number: AtomicU64,
    /// The watch looks; else it sleeps until it is woken.
    looks: AtomicBool,
    watch: thread::Thread,
}

/// How many threads the service's runtime has.
#[must_use]
pub fn threads() -> usize {
    cores() + FREE_THREADS
}

fn cores() -> usize {
    thread::available_parallelism().map_or(2, usize::from)
}

/// A place, until dropped.
struct Place<'a>(&'a AtomicU64);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.store(0, SeqCst);
    }
}

impl InPlace {
    /// Starts the watch on the current runtime, which ends with the last place.
    pub(crate) fn start() -> std::io::Result<Arc<Self>> {
        let runtime = Handle::current();
        let (sender, receiver) = std::sync::mpsc::sync_channel::<std::sync::Weak<Self>>(1);
        let watch = thread::Builder::new()
            .name("disk-watch".to_owned())
            .spawn(move || {
                if let Ok(places) = receiver.recv() {
                    watch(&places, &runtime);
                }
            })?;
        let places = Arc::new(Self {
            places: (0..cores()).map(|_| AtomicU64::new(0)).collect(),
            number: AtomicU64::new(0),
            looks: AtomicBool::new(true),
            watch: watch.thread().clone(),
        });
        let _ = sender.send(Arc::downgrade(&places));
        Ok(places)
    }

    /// Does disk work on this thread. Only the task that calls it waits.
    pub(crate) fn run<T>(&self, work: impl FnOnce() -> T) -> T {
        if let Some(_place) = self.take() {
            return work();
        }
        match Handle::current().runtime_flavor() {
            RuntimeFlavor::CurrentThread => work(),
            _ => tokio::task::block_in_place(work),
        }
    }

    fn take(&self) -> Option<Place<'_>> {
        let number = self.number.fetch_add(1, SeqCst) + 1;
        let free = |place: &&AtomicU64| place.compare_exchange(0, number, SeqCst, SeqCst).is_ok();
        let place = self.places.iter().find(free)?;
        if !self.looks.load(SeqCst) && !self.looks.swap(true, SeqCst) {
            self.watch.unpark();
        }
        Some(Place(place))
    }
}

/// Wakes a thread of the runtime at each look at which some work is still the same as at the last one.
fn watch(places: &std::sync::Weak<InPlace>, runtime: &Handle) {
    let mut seen = vec![0; cores()];
    let (mut last, mut idle) = (0, 0);
    loop {
        thread::sleep(LOOK);
        let Some(places) = places.upgrade() else {
            return;
        };
        let mut hangs = false;
        for (place, seen) in places.places.iter().zip(&mut seen) {
            let now = place.load(SeqCst);
            hangs |= now != 0 && now == *seen;
            *seen = now;
        }
        if hangs {
            // The thread that runs it has nothing else to do, and polls the sockets.
            drop(runtime.spawn(async {}));
        }
        let number = places.number.load(SeqCst);
        idle = if number == last && seen.iter().all(|n| *n == 0) {
            idle + 1
        } else {
            0
        };
        last = number;
        if idle >= IDLE_LOOKS {
            places.looks.store(false, SeqCst);
            // Work that began since saw no reason to wake the watch.
            if places.number.load(SeqCst) == number {
                drop(places);
                thread::park_timeout(Duration::from_secs(60));
            }
            idle = 0;
        }
    }
}

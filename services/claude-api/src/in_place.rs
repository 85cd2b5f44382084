//! Short disk writes of running executions, made in place: on the runtime's own threads. A disk that
//! hangs delays no other execution and no socket.
//!
//! - As many writes as there are cores are made in place at once; two more threads of the runtime
//!   stay free. A write beyond those first moves the thread's other tasks away
//!   (`tokio::task::block_in_place`).
//! - The watch, a thread of its own, sees a write that hangs and wakes another thread of the runtime.
//!   The thread that hangs may be the one that polls the sockets for all, and no other takes that
//!   over by itself (see `enable_eager_driver_handoff` of tokio's `runtime::Builder`, which is
//!   unstable): with 11 threads, one hung write stopped HTTP.
//!
//! Two simpler ways cost too much for each line. `block_in_place` around every write is two switches
//! of threads, and made text slower by a third. With a thread for each execution, lines waited for
//! the thread of their reader: a quarter more delay with 100 executions, and a sixth fewer executions
//! a second.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Weak, mpsc};
use std::thread;
use std::time::Duration;

use tokio::runtime::{Handle, RuntimeFlavor};

/// How often the watch looks: sockets wait at most twice as long for a write that hangs.
const WATCH_INTERVAL: Duration = Duration::from_millis(20);
/// The watch sleeps after so many looks without any work, 1 s.
const IDLE_LOOKS: u32 = 50;
/// Threads of the runtime beyond those on which work may hang.
const FREE_THREADS: usize = 2;

/// Places for disk work on the runtime's threads, as many as the machine has cores.
///
/// - Taken when: a chunk is written, or a start reads its prompt; for that call alone.
/// - Who waits behind whom: nobody. Work without a place is done as well, more slowly.
/// - The other direction: work that hangs keeps its place until the disk answers. The two free
///   threads of the runtime, and those that `block_in_place` starts, serve everybody else; it starts
///   one for each execution whose disk hangs.
#[derive(Debug)]
pub(crate) struct InPlace {
    /// The number of the work in each place, 0 in a free one.
    places: Box<[AtomicU64]>,
    /// Counts all work, with a place or without.
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
    /// Makes the places of the current runtime, and starts their watch: a thread that ends within a
    /// minute after the last owner has dropped them.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(crate) fn start() -> std::io::Result<Arc<Self>> {
        let runtime = Handle::current();
        let (sender, receiver) = mpsc::sync_channel::<Weak<Self>>(1);
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

    /// Does disk work on this thread, and blocks it until the work is done. Other tasks go on, on
    /// other threads; on a runtime of one thread they wait. It cannot be cancelled.
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

/// Wakes a thread of the runtime at each look at which some work is still the same as at the last
/// one.
fn watch(places: &Weak<InPlace>, runtime: &Handle) {
    let mut seen = vec![0; cores()];
    let (mut last, mut idle) = (0, 0);
    loop {
        thread::sleep(WATCH_INTERVAL);
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

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use tokio::io::AsyncReadExt;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    #[test]
    fn sockets_go_on_while_any_number_of_disks_hang() {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads())
            .enable_all()
            .build()
            .unwrap();
        let places = runtime.block_on(async { InPlace::start().unwrap() });
        let (woken, wakes) = mpsc::channel();
        let mut released = Vec::new();
        let sockets: Vec<_> = (0..threads() * 2)
            .map(|_| {
                let (near, far) = UnixStream::pair().unwrap();
                far.set_nonblocking(true).unwrap();
                let (release, hangs) = mpsc::channel::<()>();
                released.push(release);
                let (places, woken) = (Arc::clone(&places), woken.clone());
                runtime.spawn(async move {
                    let mut far = tokio::net::UnixStream::from_std(far).unwrap();
                    far.read_u8().await.unwrap();
                    places.run(|| {
                        woken.send(()).unwrap();
                        let _ = hangs.recv();
                    });
                });
                near
            })
            .collect();
        // Only the sockets wake the runtime from here on: whatever else does that hands their
        // polling to another thread.
        for (number, mut socket) in sockets.into_iter().enumerate() {
            socket.write_all(&[1]).unwrap();
            let woke = wakes.recv_timeout(PATIENCE);
            assert!(woke.is_ok(), "{number} disks that hang stop all sockets");
        }
        drop(released);
    }

    #[tokio::test]
    async fn a_place_is_given_back_also_by_a_panic() {
        let places = InPlace::start().unwrap();
        for _ in 0..cores() * 2 {
            let panicking = std::panic::AssertUnwindSafe(|| places.run(|| panic!("the work")));
            assert!(std::panic::catch_unwind(panicking).is_err());
        }
        assert!(places.take().is_some());
    }
}

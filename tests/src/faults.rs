//! A TCP proxy that fails as it is told, between any two parts. It listens on a free port of loopback, and
//! forwards to a target that may come and go.
//!
//! ```text
//! let proxy = FaultProxy::start(claude_api.addr()).await;
//! // Whoever is tested gets proxy.addr() as the other's address.
//! proxy.set(Faults { down: Pipe::cut_after(10_000), ..Faults::default() });   // each new connection
//! proxy.cut_now(Cut::Reset);                                                   // those that are open
//! proxy.set(Faults::default());                                                // good again
//! ```
//!
//! Faults are read when they matter, so that a stall or a rate that is set now also hits open connections;
//! a cut counts the bytes of one connection and direction. `up` is from the client to the target, `down`
//! back.

mod lost_byte;
mod pump;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::{broadcast, watch},
    task::JoinHandle,
};

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cut {
    /// Closed in order, in both directions (FIN).
    #[default]
    Close,
    /// Reset (RST): what is under way is lost.
    Reset,
}

/// What happens to the bytes of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pipe {
    /// After so many bytes of a connection it is cut.
    pub cut_after: Option<u64>,
    /// After so many bytes more from now on it is cut: those that pass while this holds are counted, on a new connection from its
    /// beginning.
    pub cut_in: Option<u64>,
    /// How it is cut.
    pub cut: Cut,
    /// At most so many bytes a second.
    pub bytes_per_second: Option<u64>,
    /// Nothing passes (and what comes is not even read); the connection stays open.
    pub stall: bool,
}

impl Pipe {
    /// Resets a connection after so many bytes.
    #[must_use]
    pub fn cut_after(bytes: u64) -> Self {
        Self {
            cut_after: Some(bytes),
            cut: Cut::Reset,
            ..Self::default()
        }
    }

    /// Lets so many bytes a second pass.
    #[must_use]
    pub fn slow(bytes_per_second: u64) -> Self {
        Self {
            bytes_per_second: Some(bytes_per_second),
            ..Self::default()
        }
    }

    /// Lets nothing pass.
    #[must_use]
    pub fn stalled() -> Self {
        Self {
            stall: true,
            ..Self::default()
        }
    }
}

/// What happens to new connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Entry {
    /// Forwarded.
    #[default]
    Open,
    /// The port is closed: connecting is refused.
    Refuse,
    /// Accepted, then reset at once.
    Reset,
    /// Accepted, and never answered.
    Blackhole,
}

/// The faults that hold now. The default is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Faults {
    /// For new connections.
    pub entry: Entry,
    /// From the client to the target.
    pub up: Pipe,
    /// From the target to the client.
    pub down: Pipe,
}

impl Faults {
    /// New connections are refused; open ones go on.
    #[must_use]
    pub fn refuse() -> Self {
        Self {
            entry: Entry::Refuse,
            ..Self::default()
        }
    }

    /// Nothing passes any more, on open and new connections, and nothing is closed.
    #[must_use]
    pub fn blackhole() -> Self {
        Self {
            entry: Entry::Blackhole,
            up: Pipe::stalled(),
            down: Pipe::stalled(),
        }
    }
}

/// What the proxy has seen. Counts since its start.
#[derive(Debug, Default)]
pub struct Counts {
    connections: AtomicU64,
    open: AtomicU64,
    cut: AtomicU64,
    up: AtomicU64,
    down: AtomicU64,
}

/// The proxy; dropping it cuts everything.
#[derive(Debug)]
pub struct FaultProxy {
    addr: SocketAddr,
    faults: watch::Sender<Faults>,
    targets: watch::Sender<Vec<SocketAddr>>,
    cuts: broadcast::Sender<Cut>,
    counts: Arc<Counts>,
    loses: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl FaultProxy {
    /// Starts one before `target`.
    ///
    /// # Panics
    /// If no port of loopback is free.
    pub async fn start(target: SocketAddr) -> Self {
        Self::start_in_turn(vec![target]).await
    }

    /// Starts one that gives these targets connections in turn, the first target first.
    ///
    /// # Panics
    /// If no port of loopback is free.
    pub async fn start_in_turn(targets: Vec<SocketAddr>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a free port of loopback");
        let addr = listener
            .local_addr()
            .expect("a bound listener has an address");
        let (faults, faults_seen) = watch::channel(Faults::default());
        let (targets, targets_seen) = watch::channel(targets);
        let (cuts, _) = broadcast::channel(16);
        let counts = Arc::new(Counts::default());
        let door = Door {
            addr,
            faults: faults_seen,
            targets: targets_seen,
            cuts: cuts.clone(),
            counts: Arc::clone(&counts),
            loses: Arc::default(),
        };
        let loses = Arc::clone(&door.loses);
        let task = tokio::spawn(door.keep(listener));
        Self {
            addr,
            faults,
            targets,
            cuts,
            counts,
            loses,
            task,
        }
    }

    /// Where clients connect.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The address as a URL without a path.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// These faults hold from now on. A closed port is opened (or closed) a moment later.
    pub fn set(&self, faults: Faults) {
        self.faults.send_replace(faults);
    }

    /// No faults from now on.
    pub fn heal(&self) {
        self.set(Faults::default());
    }

    /// New connections go to another address: the target was started again.
    pub fn retarget(&self, target: SocketAddr) {
        self.targets.send_replace(vec![target]);
    }

    /// Cuts all open connections.
    pub fn cut_now(&self, cut: Cut) {
        // No receiver: no connection.
        let _ = self.cuts.send(cut);
    }

    /// A bug on purpose, on each connection from now on: of an output that is asked for from an offset the first byte is
    /// lost, in such a way that the rest of the response is well formed.
    pub fn lose_a_byte_of_each_resume(&self) {
        self.loses.store(true, Ordering::SeqCst);
    }

    /// Connections accepted so far.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.counts.connections.load(Ordering::SeqCst)
    }

    /// Connections open now.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.counts.open.load(Ordering::SeqCst)
    }

    /// Connections that it cut so far, by a limit of bytes or by [`Self::cut_now`].
    #[must_use]
    pub fn cuts(&self) -> u64 {
        self.counts.cut.load(Ordering::SeqCst)
    }

    /// Bytes that passed from clients to the target, and back.
    #[must_use]
    pub fn bytes(&self) -> (u64, u64) {
        (
            self.counts.up.load(Ordering::SeqCst),
            self.counts.down.load(Ordering::SeqCst),
        )
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.task.abort();
        self.cut_now(Cut::Reset);
    }
}

/// Accepts connections.
struct Door {
    addr: SocketAddr,
    faults: watch::Receiver<Faults>,
    targets: watch::Receiver<Vec<SocketAddr>>,
    cuts: broadcast::Sender<Cut>,
    counts: Arc<Counts>,
    loses: Arc<AtomicBool>,
}

impl Door {
    async fn keep(mut self, listener: TcpListener) {
        let mut listener = Some(listener);
        loop {
            let entry = self.faults.borrow_and_update().entry;
            if entry == Entry::Refuse {
                listener = None;
            } else if listener.is_none() {
                listener = TcpListener::bind(self.addr).await.ok();
            }
            tokio::select! {
                accepted = accept(listener.as_ref()) => self.enter(accepted, entry),
                changed = self.faults.changed() => if changed.is_err() { return },
            }
        }
    }

    fn enter(&self, client: TcpStream, entry: Entry) {
        let number = self.counts.connections.fetch_add(1, Ordering::SeqCst);
        let target = {
            let targets = self.targets.borrow();
            targets[usize::try_from(number).unwrap_or(0) % targets.len()]
        };
        let pump = pump::Pump {
            faults: self.faults.clone(),
            target,
            cuts: self.cuts.subscribe(),
            counts: Arc::clone(&self.counts),
            loses: self.loses.load(Ordering::SeqCst),
        };
        tokio::spawn(pump.run(client, entry));
    }
}

async fn accept(listener: Option<&TcpListener>) -> TcpStream {
    loop {
        match listener {
            None => std::future::pending::<()>().await,
            Some(listener) => {
                if let Ok((stream, _)) = listener.accept().await {
                    return stream;
                }
                // Out of descriptors, most likely: not the proxy's fault to report, and no reason to spin.
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        }
    }
}

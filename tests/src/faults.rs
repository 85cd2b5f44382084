//! A TCP proxy that injects faults between any two parts. It listens on a free port of loopback,
//! and forwards to a target that may restart.
//!
//! ```text
//! let proxy = FaultProxy::start(claude_api.addr()).await;
//! // The part under test gets proxy.addr() as the other's address.
//! proxy.set(Faults { down: Pipe::cut_after(10_000), ..Faults::default() });   // new connections
//! proxy.cut_now(Cut::Reset);                                                  // open connections
//! proxy.set(Faults::default());                                               // no more faults
//! ```
//!
//! A stall or a rate also applies to open connections. A cut counts the bytes of one connection and
//! direction. `up` is the direction from the client to the target, `down` the other one.

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
    /// A clean close in both directions (FIN).
    #[default]
    Close,
    /// A reset (RST), which loses the bytes in flight.
    Reset,
}

/// The faults of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pipe {
    /// Cuts a connection after so many of its bytes.
    pub cut_after: Option<u64>,
    /// Cuts a connection after so many further bytes. The count begins when this is set, or at the
    /// beginning of a new connection.
    pub cut_in: Option<u64>,
    /// How the connection is cut.
    pub cut: Cut,
    /// The rate limit in bytes a second.
    pub bytes_per_second: Option<u64>,
    /// Passes and reads nothing; the connection stays open.
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

    /// Passes nothing.
    #[must_use]
    pub fn stalled() -> Self {
        Self {
            stall: true,
            ..Self::default()
        }
    }
}

/// The handling of new connections.
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

/// The current faults. The default is none.
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
    /// Refuses new connections; open ones continue.
    #[must_use]
    pub fn refuse() -> Self {
        Self {
            entry: Entry::Refuse,
            ..Self::default()
        }
    }

    /// Passes nothing on open and new connections, and closes none.
    #[must_use]
    pub fn blackhole() -> Self {
        Self {
            entry: Entry::Blackhole,
            up: Pipe::stalled(),
            down: Pipe::stalled(),
        }
    }
}

/// The counts of the proxy since its start.
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
    /// Starts a proxy in front of `target`.
    ///
    /// # Panics
    /// If no port of loopback is free.
    pub async fn start(target: SocketAddr) -> Self {
        Self::start_in_turn(vec![target]).await
    }

    /// Starts a proxy that gives connections to these targets in turn, first to the first one.
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

    /// Returns the address for clients.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns the address as a URL without a path.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Sets the faults. The port opens or closes a moment later.
    pub fn set(&self, faults: Faults) {
        self.faults.send_replace(faults);
    }

    /// Removes all faults.
    pub fn heal(&self) {
        self.set(Faults::default());
    }

    /// Sends new connections to another address, for a target that was restarted.
    pub fn retarget(&self, target: SocketAddr) {
        self.targets.send_replace(vec![target]);
    }

    /// Cuts all open connections.
    pub fn cut_now(&self, cut: Cut) {
        // Without a receiver there is no connection.
        let _ = self.cuts.send(cut);
    }

    /// Injects a bug into new connections: the first byte of an output from an offset is lost. The
    /// rest of the response stays well formed.
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

    /// Returns the number of connections cut so far, by a byte limit or by [`Self::cut_now`].
    #[must_use]
    pub fn cuts(&self) -> u64 {
        self.counts.cut.load(Ordering::SeqCst)
    }

    /// Returns the bytes passed so far, from clients to the target and back.
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
                // Probably out of descriptors, which is not the proxy's fault. The pause avoids a
                // busy loop.
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        }
    }
}

//! The IP addresses of a host that is given by name or address. A name is resolved when a request
//! needs its addresses and the known ones are too old. The caller chooses that age.
//!
//! One attempt runs at a time, in a separate task. So a slow resolver occupies one thread and
//! blocks no connection. A request waits for the attempt: up to 3 s for the first one, 1 s for
//! later ones. While an attempt fails or takes longer, the last answer is valid for 60 s.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

/// How long resolved addresses stay valid while newer attempts fail or take longer (60 s). So a
/// short outage of DNS has no effect.
const VALID: Duration = Duration::from_secs(60);
/// How long after a failed attempt the next one may begin (1 s), unless `max_age` is shorter. So a
/// host that starts after this service is found soon.
const RETRY: Duration = Duration::from_secs(1);
/// How long a request waits while the host name is being resolved. The first value (1 s) applies
/// after an attempt has ended, because older addresses may be known. The second value (3 s) applies
/// to the very first attempt.
const WAITS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3)];

/// The outcome of one attempt to resolve the host name: its addresses, or the error of the
/// resolver.
pub(crate) type Answer = io::Result<Vec<IpAddr>>;
/// The function that resolves a host name. Tests replace it.
pub(crate) type Resolve =
    Arc<dyn Fn(String) -> Pin<Box<dyn Future<Output = Answer> + Send>> + Send + Sync>;

/// The IP addresses of a host. If the host is a name, it is resolved when needed.
pub struct HostAddresses {
    /// The host: an address or a name.
    host: Host,
    /// How long resolved addresses are used before the name is resolved again.
    max_age: Duration,
    /// The newest addresses, and whether an attempt is running. Waiting requests subscribe to it.
    known: Arc<watch::Sender<Resolution>>,
    /// The function that resolves a name.
    resolve: Resolve,
}

/// A host, as it is given.
#[derive(Debug, Clone)]
enum Host {
    /// An IP address, which needs no resolution.
    Address(Arc<[IpAddr]>),
    /// A name, which is resolved with getaddrinfo(3).
    Name(String),
}

impl fmt::Debug for HostAddresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            host,
            max_age,
            known,
            resolve: _,
        } = self;
        let known = &*known.borrow();
        f.debug_struct("HostAddresses")
            .field("host", host)
            .field("max_age", max_age)
            .field("known", known)
            .finish_non_exhaustive()
    }
}

impl HostAddresses {
    /// Creates the addresses of `host`, a name or an IP address, also in brackets. Does not resolve
    /// it yet. Resolved addresses are used for `max_age`. An empty host never has an address.
    #[must_use]
    pub fn new(host: &str, max_age: Duration) -> Self {
        Self::with_resolver(host, max_age, Arc::new(|name| Box::pin(resolve(name))))
    }

    /// Creates the addresses of `host`, which is resolved with `resolve` if it is a name.
    pub(crate) fn with_resolver(host: &str, max_age: Duration, resolve: Resolve) -> Self {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let host = match bare.parse::<IpAddr>() {
            Ok(address) => Host::Address([address.to_canonical()].into()),
            Err(_) => Host::Name(host.to_owned()),
        };
        Self {
            host,
            max_age,
            known: Arc::new(watch::Sender::new(Resolution::default())),
            resolve,
        }
    }

    /// Returns the addresses of the host, IPv4-mapped ones as IPv4. Resolves its name first if the
    /// last attempt is older than `max_age`. Returns `None` if no attempt has ended in time yet.
    /// Returns an empty list if no attempt has succeeded within the last 60 s. Cancel-safe. Needs a
    /// Tokio runtime.
    pub async fn addresses(&self) -> Option<Arc<[IpAddr]>> {
        let name = match &self.host {
            Host::Address(address) => return Some(Arc::clone(address)),
            Host::Name(name) => name,
        };
        let requested_at = Instant::now();
        let mut known = self.known.subscribe();
        let wait = known.borrow().wait();
        let fresh = async {
            while !known
                .borrow_and_update()
                .is_fresh(requested_at, self.max_age)
            {
                self.begin(name);
                if known.changed().await.is_err() {
                    // The channel cannot close, because `self` holds its sender.
                    return;
                }
            }
        };
        // After a timeout the known addresses are used.
        let _ = tokio::time::timeout(wait, fresh).await;
        self.known.borrow().addresses_at(Instant::now())
    }

    /// Returns the addresses that are known now, without a wait, and IPv4-mapped ones as IPv4. If
    /// the last attempt is older than `max_age`, a new one begins for later calls. The result is
    /// empty if no attempt has succeeded within the last 60 s. Needs a Tokio runtime.
    pub fn known(&self) -> Arc<[IpAddr]> {
        let name = match &self.host {
            Host::Address(address) => return Arc::clone(address),
            Host::Name(name) => name,
        };
        let now = Instant::now();
        if !self.known.borrow().is_fresh(now, self.max_age) {
            self.begin(name);
        }
        self.known.borrow().addresses_at(now).unwrap_or_default()
    }

    /// Starts a task that resolves `name`. Does nothing if one is running.
    fn begin(&self, name: &str) {
        let mut begins = false;
        self.known.send_if_modified(|known| {
            begins = !known.resolving;
            known.resolving = true;
            // No receiver waits for the start of an attempt.
            false
        });
        if !begins {
            return;
        }
        let began = Instant::now();
        let name = name.to_owned();
        let answer = (self.resolve)(name.clone());
        let known = Arc::clone(&self.known);
        tokio::spawn(async move {
            let answer = answer.await;
            if let Err(error) = &answer {
                tracing::debug!(
                    name,
                    %error,
                    "could not resolve a host name; its last addresses are used until they are \
                     60 s old"
                );
            }
            known.send_modify(|known| known.record(began, answer));
        });
    }
}

/// Resolves `name` with getaddrinfo(3). The call runs in a separate thread, because it blocks.
async fn resolve(name: String) -> Answer {
    let resolved = tokio::net::lookup_host((name, 0)).await?;
    Ok(resolved.map(|address| address.ip()).collect())
}

/// The newest addresses of a host name, and the state of the attempts to resolve it.
#[derive(Debug, Clone, Default)]
struct Resolution {
    /// The addresses that the last successful attempt found; empty before it.
    addresses: Arc<[IpAddr]>,
    /// When the attempt that found the addresses began; `None` if none has succeeded.
    resolved_at: Option<Instant>,
    /// When the last attempt that has ended began, with or without success; `None` if none has
    /// ended.
    attempted_at: Option<Instant>,
    /// Whether an attempt is running now.
    resolving: bool,
}

impl Resolution {
    /// Stores the outcome of an attempt that started at `began`. A failure keeps the earlier
    /// addresses.
    fn record(&mut self, began: Instant, answer: Answer) {
        self.resolving = false;
        self.attempted_at = Some(began);
        if let Ok(addresses) = answer {
            self.addresses = addresses.iter().map(IpAddr::to_canonical).collect();
            self.resolved_at = Some(began);
        }
    }

    /// Returns true if a request that arrived at `requested_at` can use the known addresses, which
    /// are used for `max_age`, or for [`RETRY`] after a failed attempt. False means that the name
    /// must be resolved again.
    fn is_fresh(&self, requested_at: Instant, max_age: Duration) -> bool {
        let has_failed = self.attempted_at != self.resolved_at;
        let max_age = if has_failed {
            max_age.min(RETRY)
        } else {
            max_age
        };
        self.attempted_at
            .is_some_and(|attempted_at| attempted_at + max_age >= requested_at)
    }

    /// Returns how long a request waits for the running attempt.
    fn wait(&self) -> Duration {
        WAITS[usize::from(self.attempted_at.is_none())]
    }

    /// Returns the known addresses, or an empty list if they are more than 60 s old at `now`.
    /// Returns `None` if no attempt has ended yet.
    fn addresses_at(&self, now: Instant) -> Option<Arc<[IpAddr]>> {
        match self.resolved_at {
            Some(resolved_at) if resolved_at + VALID >= now => Some(Arc::clone(&self.addresses)),
            _ => self.attempted_at.map(|_| Arc::default()),
        }
    }
}

#[cfg(test)]
mod tests;

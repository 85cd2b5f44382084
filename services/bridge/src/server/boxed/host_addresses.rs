//! The IP addresses of claude-api's host, with which the bridge recognizes requests from
//! claude-api's container. They are resolved when a request needs them, and are then at most 1 s
//! old.
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

/// How long resolved addresses are used without a new attempt.
const FRESH: Duration = Duration::from_secs(1);
/// How long resolved addresses stay valid while newer attempts fail or take longer.
const VALID: Duration = Duration::from_secs(60);
/// How long a request waits for a running attempt to resolve the name: 1 s if an earlier attempt
/// has ended, 3 s for the first one.
const WAITS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3)];

type Answer = io::Result<Vec<IpAddr>>;
type Resolve = Arc<dyn Fn(String) -> Pin<Box<dyn Future<Output = Answer> + Send>> + Send + Sync>;

/// The IP addresses of the host in claude-api's URL. A name is resolved again when its addresses
/// are older than 1 s.
pub(super) struct HostAddresses {
    host: Host,
    known: Arc<watch::Sender<Resolution>>,
    resolve: Resolve,
}

#[derive(Debug, Clone)]
enum Host {
    Address(Arc<[IpAddr]>),
    Name(String),
}

impl fmt::Debug for HostAddresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, known, .. } = self;
        let known = &*known.borrow();
        f.debug_struct("HostAddresses")
            .field("host", host)
            .field("known", known)
            .finish_non_exhaustive()
    }
}

impl HostAddresses {
    /// Creates the addresses for the host of `url`, without resolving it yet. The check of the
    /// settings has parsed the URL. A URL without a host has no addresses.
    pub(super) fn from_url(url: &str) -> Self {
        let url = reqwest::Url::parse(url).ok();
        let host = url.as_ref().and_then(|url| url.host_str()).unwrap_or("");
        Self::with_resolver(host, Arc::new(|name| Box::pin(resolve(name))))
    }

    fn with_resolver(host: &str, resolve: Resolve) -> Self {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let host = match bare.parse::<IpAddr>() {
            Ok(address) => Host::Address([address.to_canonical()].into()),
            Err(_) => Host::Name(host.to_owned()),
        };
        Self {
            host,
            known: Arc::new(watch::Sender::new(Resolution::default())),
            resolve,
        }
    }

    /// Returns the addresses of the host, after resolving its name if they are older than 1 s.
    /// Returns `None` if no attempt has ended in time yet, and an empty list if none has succeeded
    /// within the last 60 s. Cancel-safe.
    pub(super) async fn addresses(&self) -> Option<Arc<[IpAddr]>> {
        let name = match &self.host {
            Host::Address(address) => return Some(Arc::clone(address)),
            Host::Name(name) => name,
        };
        let requested_at = Instant::now();
        let mut known = self.known.subscribe();
        let wait = known.borrow().wait();
        let fresh = async {
            while !known.borrow_and_update().is_fresh(requested_at) {
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

    /// Starts a task that resolves `name`, unless one is running.
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
        let answer = (self.resolve)(name.to_owned());
        let known = Arc::clone(&self.known);
        tokio::spawn(async move {
            let answer = answer.await;
            if let Err(error) = &answer {
                tracing::debug!(
                    %error,
                    "could not resolve the host name of claude-api; its last addresses are used \
                     until they are 60 s old"
                );
            }
            known.send_modify(|known| known.record(began, answer));
        });
    }
}

/// Resolves `name` with getaddrinfo(3). The call runs in a thread of the runtime, because it
/// blocks.
async fn resolve(name: String) -> Answer {
    let resolved = tokio::net::lookup_host((name, 0)).await?;
    Ok(resolved.map(|address| address.ip()).collect())
}

/// The newest addresses of a name, and the state of the attempts to resolve it.
#[derive(Debug, Clone, Default)]
struct Resolution {
    addresses: Arc<[IpAddr]>,
    /// The start of the attempt that found the addresses; `None` if none has succeeded.
    resolved_at: Option<Instant>,
    /// The start of the last attempt that has ended, with or without success.
    attempted_at: Option<Instant>,
    resolving: bool,
}

impl Resolution {
    fn record(&mut self, began: Instant, answer: Answer) {
        self.resolving = false;
        self.attempted_at = Some(began);
        if let Ok(addresses) = answer {
            self.addresses = addresses.iter().map(IpAddr::to_canonical).collect();
            self.resolved_at = Some(began);
        }
    }

    /// Whether a request that arrived at `requested_at` can use the known addresses without another
    /// attempt.
    fn is_fresh(&self, requested_at: Instant) -> bool {
        self.attempted_at
            .is_some_and(|attempted_at| attempted_at + FRESH >= requested_at)
    }

    fn wait(&self) -> Duration {
        WAITS[usize::from(self.attempted_at.is_none())]
    }

    /// Returns the addresses if they are at most 60 s old at `now`, otherwise an empty list.
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

//! Keeps the box out. The box is the container of claude-api, in which the model's commands run.
//! They must not use the bridge, because they could start and control executions.
//!
//! A peer is in the box when its address is one of those that the host of claude-api's URL resolves
//! to, and claude-api says that it is boxed. An address of the bridge itself never counts: if
//! both services share an address (host networking, one pod), the box cannot be distinguished from
//! other clients. The bridge warns about that at its start.

mod host_addresses;
mod state;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use addresses::OwnAddresses;
use axum::extract::Request;
use axum::response::Response;
use http::HeaderValue;
use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use protocol::guard::reads_health;
use protocol::{Problem, ProblemType};

use super::problems::problem_page;
use crate::upstream::Upstream;
use host_addresses::HostAddresses;
use state::BoxedState;

/// How long a request may wait until it is known whether its peer is in the box. Less than the time
/// for the head of a request (`HEAD_TIME` in `connections`).
const PATIENCE: Duration = Duration::from_secs(5);
/// The pause between two questions to claude-api whether it is boxed (runs the model's commands in
/// its own container), while the bridge starts.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// The IP address of the client of a connection, as an extension of its requests.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) IpAddr);

/// Whether a peer may use the bridge, or is refused because it is in the box (claude-api's
/// container, in which the model's commands run).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// The peer is not in the box.
    Served,
    /// The peer is in claude-api's container, in which the model's commands run, so its requests
    /// get 401.
    FromBox,
    /// It is not known whether the peer is in claude-api's container: claude-api has not said
    /// whether it is boxed, or the name of its host did not resolve in time. The client gets 503
    /// and may try again.
    Unknown,
}

/// The check of every request for whether it comes from the box, the container of claude-api in
/// which the model's commands run.
#[derive(Debug)]
pub(super) struct BoxRule {
    own: OwnAddresses,
    host: HostAddresses,
    state: BoxedState,
}

impl BoxRule {
    /// Creates the check for the claude-api at `url`, which the check of the settings has already
    /// parsed. `upstream` asks claude-api whether it is boxed.
    ///
    /// # Errors
    /// The addresses of this machine cannot be read.
    pub(super) fn new(url: &str, upstream: Upstream) -> io::Result<Self> {
        Ok(Self {
            own: OwnAddresses::read()?,
            host: HostAddresses::from_url(url),
            state: BoxedState::new(upstream),
        })
    }

    /// Returns the response that refuses a request, or `None` if the request may be served. Every
    /// peer may read the health pages, so that probes work from anywhere.
    pub(super) fn refusal(
        &self,
        request: &Request,
    ) -> impl Future<Output = Option<Response>> + Send + use<'_> {
        let is_health_page = reads_health(request.method(), request.uri());
        let peer = request.extensions().get::<Peer>().copied();
        async move {
            if is_health_page {
                return None;
            }
            let verdict = match peer {
                Some(Peer(address)) => self.judge(address).await,
                None => Verdict::Unknown,
            };
            match verdict {
                Verdict::Served => None,
                Verdict::FromBox => Some(from_the_box()),
                Verdict::Unknown => Some(unknown()),
            }
        }
    }

    /// Decides whether the peer with this address may use the bridge. Takes at most [`PATIENCE`],
    /// after which the verdict is unknown.
    async fn judge(&self, peer: IpAddr) -> Verdict {
        let peer = peer.to_canonical();
        // Every machine has these two addresses, so most local clients cost no system call.
        if peer == Ipv4Addr::LOCALHOST || peer == Ipv6Addr::LOCALHOST {
            return Verdict::Served;
        }
        let decide = async {
            let addresses = self.host.addresses().await;
            let is_outside = addresses.as_ref().is_some_and(|list| !list.contains(&peer));
            if is_outside || self.own.contains(peer) {
                return Verdict::Served;
            }
            if addresses.is_none() {
                return Verdict::Unknown;
            }
            match self.state.is_boxed().await {
                Some(true) => Verdict::FromBox,
                Some(false) => Verdict::Served,
                None => Verdict::Unknown,
            }
        };
        let verdict = tokio::time::timeout(PATIENCE, decide).await;
        verdict.unwrap_or(Verdict::Unknown)
    }

    /// Whether claude-api refuses every request of this bridge, because it takes the bridge's
    /// address for one of the container in which the model's commands run.
    pub(super) async fn is_refused(&self) -> bool {
        self.state.is_refused().await
    }

    /// Logs a warning if claude-api is boxed (runs the model's commands in its own container) and
    /// shares an address with this bridge, because those commands can then use the bridge. Asks
    /// claude-api every second until it has said whether it is boxed.
    pub(super) async fn warn_of_shared_address(&self) {
        let boxed = loop {
            match self.state.is_boxed().await {
                Some(boxed) => break boxed,
                None => tokio::time::sleep(RETRY_PAUSE).await,
            }
        };
        let shared = match self.host.addresses().await {
            Some(addresses) if boxed => addresses.iter().copied().find(|a| self.own.contains(*a)),
            _ => None,
        };
        if shared.is_some() || self.is_refused().await {
            let address = shared.map_or_else(|| "unknown".to_owned(), |a| a.to_string());
            tracing::warn!(
                %address,
                "claude-api shares an address with this bridge (host networking, one pod), so its \
                 box cannot be distinguished from other clients; the rule for the box is not \
                 applied. claude-api serves this bridge only with CLAUDE_API_BOXED=false"
            );
        }
    }
}

fn from_the_box() -> Response {
    let problem = Problem::new(
        ProblemType::FromBox,
        "requests from claude-api's container are refused: commands of the model run there",
    );
    let mut response = problem_page(&problem);
    // RFC 9110, section 15.5.2: 401 names a scheme.
    let scheme = HeaderValue::from_static("Bearer");
    response.headers_mut().insert(WWW_AUTHENTICATE, scheme);
    response
}

fn unknown() -> Response {
    let problem = Problem::new(
        ProblemType::NotReady,
        "it is not known yet whether this request comes from claude-api's container; try again",
    );
    let mut response = problem_page(&problem);
    let seconds = HeaderValue::from_static("1");
    response.headers_mut().insert(RETRY_AFTER, seconds);
    response
}

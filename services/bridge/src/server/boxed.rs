//! Refuses requests from the container of claude-api, which is called the box. The model's commands
//! run there. They must not use the bridge, because they could start and control executions.
//!
//! A peer is in the box when its address is one of those that the host of claude-api's URL resolves
//! to, and claude-api says that it is boxed. An address of the bridge itself never counts: if both
//! services share an address (host networking, one pod), the box cannot be distinguished from other
//! clients. The bridge warns about that at its start.

mod state;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use addresses::{HostAddresses, OwnAddresses};
use axum::response::Response;
use http::HeaderValue;
use http::header::RETRY_AFTER;
use protocol::{Problem, ProblemType};

use super::access::with_scheme;
use super::problems::problem_page;
use crate::upstream::Upstream;
use state::BoxedState;

/// How long a request may wait until it is known whether it was sent from claude-api's container (5
/// s). After that it gets HTTP 503.
const PATIENCE: Duration = Duration::from_secs(5);
/// The pause between two questions to claude-api whether the model's commands run in its container.
/// They are asked while the bridge starts, until claude-api answers.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// How long the resolved addresses of claude-api's host are used (1 s).
const HOST_AGE: Duration = Duration::from_secs(1);

/// Whether a client may use the bridge, or is refused because it runs in claude-api's container,
/// like the model's commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PeerCheck {
    /// The client does not run in claude-api's container, so the request is served.
    Served,
    /// The client runs in claude-api's container, like the model's commands. The request gets HTTP
    /// 401 (Unauthorized).
    FromBox,
    /// It is not known whether the client runs in claude-api's container. Either claude-api has not
    /// said whether the model's commands run there, or the name of its host did not resolve in
    /// time. The client gets HTTP 503 (Service Unavailable) and may try again.
    Unknown,
}

/// The check of every HTTP request whether it was sent from claude-api's container, in which the
/// model's commands run. Such requests are refused.
#[derive(Debug)]
pub(super) struct BoxRule {
    /// The addresses of this machine. A request from one of them is never refused.
    own: OwnAddresses,
    /// The addresses of the host that runs claude-api.
    host: HostAddresses,
    /// Whether the model's commands run in claude-api's container, as claude-api says.
    state: BoxedState,
}

impl BoxRule {
    /// Creates the check. `url` is the URL of claude-api, which the check of the settings has
    /// already parsed. `upstream` is used to ask claude-api whether the model's commands run in its
    /// container. `own` has the addresses of this machine.
    pub(super) fn new(url: &str, upstream: Upstream, own: OwnAddresses) -> Self {
        Self {
            own,
            host: HostAddresses::new(&host_of(url), HOST_AGE),
            state: BoxedState::new(upstream),
        }
    }

    /// Returns the HTTP response that refuses a request, or `None` if the request may be served.
    /// `addresses` are those of the client and of the proxies that the request passed. One address
    /// of claude-api's container among them refuses the request, because a process there could
    /// claim to be a proxy.
    pub(super) async fn refusal(&self, addresses: &[IpAddr]) -> Option<Response> {
        for address in addresses {
            match self.check(*address).await {
                PeerCheck::Served => {}
                PeerCheck::FromBox => return Some(from_the_box()),
                PeerCheck::Unknown => return Some(unknown()),
            }
        }
        None
    }

    /// Decides whether the client with the address `peer` may use the bridge. Takes at most
    /// [`PATIENCE`]. If the question is still open then, returns `PeerCheck::Unknown`.
    async fn check(&self, peer: IpAddr) -> PeerCheck {
        let peer = peer.to_canonical();
        // Every machine has these two addresses, so most local clients cost no system call.
        if peer == Ipv4Addr::LOCALHOST || peer == Ipv6Addr::LOCALHOST {
            return PeerCheck::Served;
        }
        let decide = async {
            let addresses = self.host.addresses().await;
            let is_outside = addresses.as_ref().is_some_and(|list| !list.contains(&peer));
            if is_outside || self.own.contains(peer) {
                return PeerCheck::Served;
            }
            if addresses.is_none() {
                return PeerCheck::Unknown;
            }
            match self.state.is_boxed().await {
                Some(true) => PeerCheck::FromBox,
                Some(false) => PeerCheck::Served,
                None => PeerCheck::Unknown,
            }
        };
        let verdict = tokio::time::timeout(PATIENCE, decide).await;
        verdict.unwrap_or(PeerCheck::Unknown)
    }

    /// Returns true if claude-api refuses every request of this bridge. It does so if the bridge's
    /// address is also one of claude-api's container, in which the model's commands run.
    pub(super) async fn is_refused(&self) -> bool {
        self.state.is_refused().await
    }

    /// Logs a warning if this bridge shares an address with claude-api's container. The model's
    /// commands in that container can then use the bridge. Asks claude-api every second until it
    /// says whether the model's commands run in its container.
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

/// Creates the 401 (Unauthorized) response to a request from claude-api's container.
fn from_the_box() -> Response {
    let problem = Problem::new(
        ProblemType::FromBox,
        "requests from claude-api's container are refused: commands of the model run there",
    );
    with_scheme(problem_page(&problem))
}

/// Returns the host in a URL, or an empty text if there is none.
fn host_of(url: &str) -> String {
    let url = reqwest::Url::parse(url).ok();
    let host = url.as_ref().and_then(|url| url.host_str());
    host.unwrap_or_default().to_owned()
}

/// Creates the 503 (Service Unavailable) response for the time in which it is not known whether the
/// request was sent from claude-api's container. `Retry-After` asks the client to wait 1 s.
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

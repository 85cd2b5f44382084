//! The guard for a service that is boxed: it runs in the same container (the box) as the commands
//! of the model, and these commands must not use the service.
//!
//! - A peer with an address of this container gets 401 (Unauthorized) for every request except the
//!   health pages.
//! - A request of the model's commands may also leave the container and return through the
//!   published port. It then arrives from the gateway, exactly like a request of the host, and
//!   cannot be recognised. So claude-api tests at its start whether such a route exists
//!   ([`crate::reach`]). If one exists, every request needs an access token. Without access tokens,
//!   only the health pages are served.
//! - If clients outside the container share an address with it, they are refused like the model's
//!   commands. The service warns of this at its start.

use std::io;
use std::net::IpAddr;

use addresses::OwnAddresses;
use tokio::sync::watch;
use uuid::Uuid;

use crate::config::NetworkArgs;

/// Whether commands of the model, in the same container (the box), can reach the service through
/// its published port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// The test calls at the start have not ended. Requests wait for them.
    Unknown,
    /// No test call has returned, or no port is published.
    No,
    /// A test call has returned. Without access tokens, only the health pages are served.
    Yes,
}

/// The guard of a service that runs in the same container (the box) as the commands of the model.
/// It recognises requests of such commands by their address, so that the service can refuse them.
#[derive(Debug)]
pub(crate) struct Boxed {
    /// The IP addresses of this container.
    own: OwnAddresses,
    /// The random secret with which this process recognises its own test calls to its published
    /// port.
    pub(crate) nonce: Uuid,
    /// Whether every request needs an access token, which the model's commands do not have.
    pub(crate) has_tokens: bool,
    reach: watch::Sender<Reach>,
}

impl Boxed {
    /// Creates the guard. `None` if the settings say that commands of the model do not run in this
    /// container. If a port is published, requests wait until the test calls at the start have
    /// ended ([`crate::reach`]).
    ///
    /// # Errors
    /// The network addresses of this container cannot be read.
    pub(crate) fn new(args: &NetworkArgs) -> io::Result<Option<Self>> {
        if !args.boxed {
            return Ok(None);
        }
        let first = match args.published_port {
            Some(_) => Reach::Unknown,
            None => Reach::No,
        };
        Ok(Some(Self {
            own: OwnAddresses::read()?,
            nonce: Uuid::new_v4(),
            has_tokens: args.has_tokens(),
            reach: watch::Sender::new(first),
        }))
    }

    /// Returns whether a peer's address belongs to this container, so that the peer may be a
    /// command of the model.
    pub(crate) fn includes(&self, peer: IpAddr) -> bool {
        self.own.include_peer(peer)
    }

    /// Returns whether an address that a trusted proxy forwarded belongs to this container.
    /// Loopback addresses do not count: in the header they are those of the proxy's machine, and a
    /// proxy in this container is itself refused.
    pub(crate) fn includes_forwarded(&self, address: IpAddr) -> bool {
        !address.to_canonical().is_loopback() && self.own.contains(address)
    }

    /// Returns an address that clients outside this container share with it, as far as the settings
    /// show. `None` if they show none. Such clients are refused like the model's commands.
    pub(crate) fn shared_address(&self, listens_on: IpAddr, args: &NetworkArgs) -> Option<IpAddr> {
        let listens_on = listens_on.to_canonical();
        // The loopback of the host says nothing: this container has a loopback of its own.
        let published = args
            .published_on
            .filter(|ip| !ip.to_canonical().is_loopback());
        // Host networking: the address of the host is one of this container.
        let published = published.filter(|ip| self.own.contains(*ip));
        listens_on.is_loopback().then_some(listens_on).or(published)
    }

    /// Handles a test call that arrived through the published port. With the nonce of this process,
    /// the result is true: commands of the model can reach the service by that route, too. From
    /// then on only the health pages are served, unless every request needs an access token. With
    /// any other text, nothing changes and the result is false.
    pub(crate) fn note_return(&self, nonce: &str) -> bool {
        let same = self.has_nonce(nonce);
        if same && self.reach.send_replace(Reach::Yes) != Reach::Yes {
            if self.has_tokens {
                tracing::warn!(
                    "box-reaches-service: commands of the model reach this service through its \
                     published port; only the access tokens keep them from using it. See Security \
                     in docs/operations.md"
                );
            } else {
                tracing::error!(
                    "box-reaches-service: commands of the model reach this service through its \
                     published port; only the health pages are served. See Security in \
                     docs/operations.md"
                );
            }
        }
        same
    }

    /// Returns whether this text is the nonce of this process.
    pub(crate) fn has_nonce(&self, text: &str) -> bool {
        text.parse() == Ok(self.nonce)
    }

    /// Returns whether only the health pages are served. That is so if commands of the model can
    /// reach the service through its published port and no token is needed. Without access tokens,
    /// waits for the test calls at the start, which take at most [`crate::reach::LIMIT`].
    pub(crate) async fn is_closed(&self) -> bool {
        if self.has_tokens {
            return false;
        }
        let mut reach = self.reach.subscribe();
        match reach.wait_for(|reach| *reach != Reach::Unknown).await {
            Ok(reach) => *reach == Reach::Yes,
            // The channel cannot close: the sender is `self`.
            Err(_) => true,
        }
    }

    #[cfg(test)]
    pub(crate) fn nonce_for_tests(&self) -> Uuid {
        self.nonce
    }

    /// Ends the test at the start. If no test call has returned by now, the service counts as not
    /// reachable by commands of the model, and waiting requests are served.
    pub(crate) fn end_calls(&self) {
        self.reach.send_if_modified(|reach| {
            let unknown = *reach == Reach::Unknown;
            if unknown {
                *reach = Reach::No;
            }
            unknown
        });
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use futures::FutureExt;

    use super::*;
    use crate::config::Cli;

    pub(super) fn boxed(flags: &[&str]) -> Option<Boxed> {
        let cli = Cli::parse_from(std::iter::once(&"claude-api").chain(flags));
        Boxed::new(&cli.serve.network).unwrap()
    }

    #[test]
    fn only_a_boxed_service_has_the_rule() {
        assert!(boxed(&[]).is_none());
        let boxed = boxed(&["--boxed"]).unwrap();
        assert!(boxed.includes([127, 0, 0, 2].into()));
        assert!(!boxed.includes([240, 0, 0, 1].into()));
    }

    #[test]
    fn a_forwarded_address_of_this_container_belongs_to_it_unless_it_is_loopback() {
        let boxed = boxed(&["--boxed"]).unwrap();
        for address in OwnAddresses::read().unwrap().now() {
            let belongs = !address.is_loopback();
            assert_eq!(boxed.includes_forwarded(address), belongs, "{address}");
        }
        assert!(!boxed.includes_forwarded([240, 0, 0, 1].into()));
    }

    #[test]
    fn clients_share_an_address_by_loopback_or_by_the_network_of_the_host() {
        let all = IpAddr::from([0, 0, 0, 0]);
        let shared = |flags: &[&str], listens_on| {
            let cli = Cli::parse_from(["claude-api", "--boxed"].iter().chain(flags));
            let boxed = Boxed::new(&cli.serve.network).unwrap().unwrap();
            boxed.shared_address(listens_on, &cli.serve.network)
        };
        let loopback = IpAddr::from([127, 0, 0, 1]);
        assert_eq!(shared(&[], all), None);
        assert_eq!(shared(&[], loopback), Some(loopback));
        for published in ["127.0.0.1", "0.0.0.0", "240.0.0.1"] {
            assert_eq!(shared(&[&format!("--published-on={published}")], all), None);
        }
        let own = OwnAddresses::read().unwrap().now();
        for address in own.into_iter().filter(|ip| !ip.is_loopback()) {
            let flag = format!("--published-on={address}");
            assert_eq!(shared(&[&flag], all), Some(address));
        }
    }

    #[test]
    fn with_tokens_requests_neither_wait_for_the_calls_nor_depend_on_them() {
        let flags = ["--boxed", "--published-port=8002", "--tokens-file=/none"];
        let boxed = boxed(&flags).unwrap();
        assert_eq!(boxed.is_closed().now_or_never(), Some(false));
        assert!(boxed.note_return(&boxed.nonce.to_string()));
        assert_eq!(boxed.is_closed().now_or_never(), Some(false));
    }

    #[test]
    fn requests_do_not_wait_without_a_published_port() {
        let boxed = boxed(&["--boxed"]).unwrap();
        assert_eq!(boxed.is_closed().now_or_never(), Some(false));
    }

    #[test]
    fn requests_wait_for_the_end_of_the_calls() {
        let boxed = boxed(&["--boxed", "--published-port=8002"]).unwrap();
        assert_eq!(boxed.is_closed().now_or_never(), None);
        boxed.end_calls();
        assert_eq!(boxed.is_closed().now_or_never(), Some(false));
    }

    #[test]
    fn only_the_nonce_of_this_process_counts_even_after_the_calls() {
        let flags = ["--boxed", "--published-port=8002"];
        let [one, other] = [(); 2].map(|()| boxed(&flags).unwrap());
        assert!(!one.note_return(&other.nonce.to_string()));
        assert!(!one.note_return("") && !one.note_return("health"));
        assert_eq!(one.is_closed().now_or_never(), None);
        one.end_calls();
        assert!(one.note_return(&one.nonce.to_string()));
        assert_eq!(one.is_closed().now_or_never(), Some(true));
        one.end_calls();
        assert_eq!(one.is_closed().now_or_never(), Some(true));
    }
}

//! The rule about the peers that may connect as `credentials`.
//!
//! Commands of the model run in the same container. A command that opened the connection would
//! learn every grant's hash, and could report that each grant is in force. So a connection is
//! accepted only from an address to which the host of the configured URL resolves now, and never
//! from an address of this container.

use std::net::IpAddr;

use addresses::{HostAddresses, OwnAddresses};

/// The rule about the peers that may connect.
#[derive(Debug)]
pub(super) struct PeerRule {
    /// The addresses of this container, from which nobody may connect. `None` if no commands of the
    /// model share them.
    pub(super) own: Option<OwnAddresses>,
    /// The host of the URL at which the CLI reaches `credentials`.
    pub(super) host: HostAddresses,
}

/// The reason why a connection was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// The peer may be a command of the model.
    #[error("a connection from {0} was refused: it is an address of claude-api's own container")]
    OwnAddress(IpAddr),
    /// The host of the URL has no such address.
    #[error(
        "a connection from {0} was refused: the host of CLAUDE_API_CREDENTIALS_URL does not \
         resolve to that address"
    )]
    OtherHost(IpAddr),
}

impl PeerRule {
    /// Checks a peer against the addresses of this container.
    pub(super) fn check_own(&self, peer: IpAddr) -> Result<(), Refusal> {
        match &self.own {
            Some(own) if own.include_peer(peer) => Err(Refusal::OwnAddress(peer)),
            _ => Ok(()),
        }
    }

    /// Checks whether a peer may connect. May wait up to 3 s for the resolution of the host.
    ///
    /// # Errors
    /// The peer may not connect.
    pub(super) async fn check(&self, peer: IpAddr) -> Result<(), Refusal> {
        self.check_own(peer)?;
        let addresses = self.host.addresses().await.unwrap_or_default();
        if addresses.contains(&peer.to_canonical()) {
            Ok(())
        } else {
            Err(Refusal::OtherHost(peer))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn rule(host: &str, is_boxed: bool) -> PeerRule {
        PeerRule {
            own: is_boxed.then(|| OwnAddresses::read().unwrap()),
            host: HostAddresses::new(host, Duration::ZERO),
        }
    }

    #[tokio::test]
    async fn only_addresses_of_the_host_may_connect_and_in_a_box_no_own_one() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        for (host, is_boxed, peer, expected) in [
            ("127.0.0.2", false, "127.0.0.2", Ok(())),
            ("127.0.0.2", false, "::ffff:127.0.0.2", Ok(())),
            ("localhost", false, "127.0.0.1", Ok(())),
            ("192.0.2.7", true, "192.0.2.7", Ok(())),
            (
                "127.0.0.2",
                false,
                "127.0.0.1",
                Err(Refusal::OtherHost(ip("127.0.0.1"))),
            ),
            (
                "192.0.2.7",
                true,
                "192.0.2.8",
                Err(Refusal::OtherHost(ip("192.0.2.8"))),
            ),
            (
                "127.0.0.2",
                true,
                "127.0.0.2",
                Err(Refusal::OwnAddress(ip("127.0.0.2"))),
            ),
            (
                "localhost",
                true,
                "127.0.0.1",
                Err(Refusal::OwnAddress(ip("127.0.0.1"))),
            ),
            (
                "name.invalid",
                false,
                "127.0.0.1",
                Err(Refusal::OtherHost(ip("127.0.0.1"))),
            ),
        ] {
            let checked = rule(host, is_boxed).check(ip(peer)).await;
            assert_eq!(checked, expected, "{host} {peer}");
        }
    }
}

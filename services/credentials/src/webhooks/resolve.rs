//! The addresses of a receiver, which are resolved once for each attempt, and checked.

use std::io;
use std::net::{IpAddr, SocketAddr};

use futures::FutureExt;
use futures::future::BoxFuture;
use protocol::webhook::{WebhookHost, WebhookHosts, WebhookUrl};
use tokio::net::lookup_host;

use super::addresses::is_public;

/// The maximum number of addresses that are used of one name.
const ADDRESSES: usize = 8;

/// Resolves host names. Tests replace it.
pub(super) trait Resolve: Send + Sync {
    /// Returns all addresses of a name.
    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>>;
}

/// The resolver of this machine.
#[derive(Debug)]
pub(super) struct System;

impl Resolve for System {
    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        async move {
            let addresses = lookup_host((name, 0)).await?;
            Ok(addresses.map(|address| address.ip()).collect())
        }
        .boxed()
    }
}

/// The reason why a receiver has no address that may be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum ResolveError {
    /// The name cannot be resolved.
    #[error("{name} cannot be resolved: {error}")]
    Lookup {
        /// The host name.
        name: String,
        /// The error of the resolver.
        error: io::Error,
    },
    /// The name has no address.
    #[error("{0} has no address")]
    NoAddress(String),
    /// An address is not public, and the operator's list does not name it.
    #[error(
        "{host} has the address {address}, which is not public; to allow it, add {address} with \
         the port to CREDENTIALS_WEBHOOK_HOSTS"
    )]
    NotPublic {
        /// The host of the URL.
        host: String,
        /// The address.
        address: IpAddr,
    },
}

/// Resolves the host of a URL once, and returns the addresses to connect to. If one of several
/// addresses is not allowed, none is used: such an answer is a mistake or an attack.
///
/// # Errors
/// There is no address, or one that is not allowed.
pub(super) async fn checked(
    resolver: &dyn Resolve,
    url: &WebhookUrl,
    hosts: &WebhookHosts,
) -> Result<Vec<SocketAddr>, ResolveError> {
    let addresses = match url.host() {
        WebhookHost::Address(address) => vec![*address],
        WebhookHost::Name(name) => {
            let resolved = resolver.resolve(name).await;
            resolved.map_err(|error| ResolveError::Lookup {
                name: name.clone(),
                error,
            })?
        }
    };
    let host = || url.host().to_string();
    // The canonical form is what was checked, so it is also what is used.
    let addresses: Vec<_> = addresses.iter().map(IpAddr::to_canonical).collect();
    if addresses.is_empty() {
        return Err(ResolveError::NoAddress(host()));
    }
    let port = url.port();
    let is_allowed = |address: IpAddr| is_public(address) || hosts.names_address(address, port);
    if let Some(address) = addresses.iter().find(|address| !is_allowed(**address)) {
        return Err(ResolveError::NotPublic {
            host: host(),
            address: *address,
        });
    }
    let addresses = addresses.into_iter().take(ADDRESSES);
    Ok(addresses
        .map(|address| SocketAddr::new(address, port))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Answer(&'static [&'static str]);

    impl Resolve for Answer {
        fn resolve<'a>(&'a self, _: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
            let addresses = self.0.iter().map(|text| text.parse().unwrap()).collect();
            async { Ok(addresses) }.boxed()
        }
    }

    async fn check(url: &str, answer: &'static [&str], hosts: &str) -> Result<Vec<String>, String> {
        let (url, hosts) = (url.parse().unwrap(), hosts.parse().unwrap());
        let checked = checked(&Answer(answer), &url, &hosts).await;
        let texts = |all: Vec<SocketAddr>| all.iter().map(ToString::to_string).collect();
        checked.map(texts).map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn a_name_may_have_public_addresses_and_those_that_the_list_names() {
        let name = "https://a:8443/";
        for (answer, hosts, expected) in [
            (&["8.8.8.8"][..], "a:8443", Ok(vec!["8.8.8.8:8443"])),
            (&["::ffff:8.8.8.8"], "a:8443", Ok(vec!["8.8.8.8:8443"])),
            (
                &["8.8.8.8", "2606:4700::1"],
                "a:8443",
                Ok(vec!["8.8.8.8:8443", "[2606:4700::1]:8443"]),
            ),
            (
                &["10.0.0.1"],
                "a:8443,10.0.0.1:8443",
                Ok(vec!["10.0.0.1:8443"]),
            ),
            (
                &["::ffff:10.0.0.1"],
                "a:8443,10.0.0.1:8443",
                Ok(vec!["10.0.0.1:8443"]),
            ),
            (
                &["fd00::1", "8.8.8.8"],
                "[fd00::1]:8443",
                Ok(vec!["[fd00::1]:8443", "8.8.8.8:8443"]),
            ),
            (&[], "a:8443", Err("no address")),
            (
                &["10.0.0.1"],
                "a:8443",
                Err("10.0.0.1, which is not public"),
            ),
            (&["10.0.0.1"], "a:8443,10.0.0.1", Err("10.0.0.1")),
            (&["10.0.0.1"], "a:8443,10.0.0.2:8443", Err("10.0.0.1")),
            (&["8.8.8.8", "127.0.0.1"], "a:8443", Err("127.0.0.1")),
            (&["127.0.0.1", "8.8.8.8"], "a:8443", Err("127.0.0.1")),
            (
                &["::ffff:169.254.169.254"],
                "a:8443",
                Err("169.254.169.254"),
            ),
        ] {
            let result = check(name, answer, hosts).await;
            match expected {
                Ok(addresses) => assert_eq!(result.unwrap(), addresses, "{answer:?}"),
                Err(word) => {
                    let error = result.unwrap_err();
                    assert!(error.contains(word), "{answer:?}: {error}");
                }
            }
        }
    }

    #[tokio::test]
    async fn an_address_in_a_url_is_checked_too() {
        assert!(check("https://10.0.0.1/", &[], "8.8.8.8").await.is_err());
        assert!(check("https://[::ffff:127.0.0.1]/", &[], "").await.is_err());
        let named = check("https://10.0.0.1/", &[], "10.0.0.1").await;
        assert_eq!(named.unwrap(), ["10.0.0.1:443"]);
    }
}

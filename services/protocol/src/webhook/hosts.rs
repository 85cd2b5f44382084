//! The operator's list of hosts to which webhooks may be sent.

use std::net::IpAddr;
use std::str::FromStr;

use super::url::{HTTPS_PORT, WebhookHost, WebhookUrl, split_port};

/// The operator's list of receivers: host names and addresses, each with a port (443 if none is
/// given). An empty list allows none.
///
/// A name on the list allows the public addresses to which it resolves. A private, loopback or
/// link-local address is used only if the list names that address, too.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WebhookHosts(Vec<(WebhookHost, u16)>);

/// The error for an entry of the list that is not a host with an optional port. It holds the entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no receiver of webhooks; write HOST or HOST:PORT, with an IPv6 address in brackets, \
     and separate several with commas"
)]
pub struct BadHosts(String);

impl WebhookHosts {
    /// Returns whether the list is empty, so that no webhook can be sent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether the list has exactly the host and the port of this URL.
    #[must_use]
    pub fn allows(&self, url: &WebhookUrl) -> bool {
        self.has(url.host(), url.port())
    }

    /// Returns whether the list names this address with this port.
    #[must_use]
    pub fn names_address(&self, address: IpAddr, port: u16) -> bool {
        self.has(&WebhookHost::Address(address.to_canonical()), port)
    }

    fn has(&self, host: &WebhookHost, port: u16) -> bool {
        let mut entries = self.0.iter();
        entries.any(|(listed, listed_port)| listed == host && *listed_port == port)
    }
}

impl FromStr for WebhookHosts {
    type Err = BadHosts;

    /// Parses the entries between commas. Blank entries are ignored, because an empty environment
    /// variable has one.
    fn from_str(text: &str) -> Result<Self, BadHosts> {
        let entry = |entry: &str| {
            let bad = |_| BadHosts(entry.to_owned());
            let (host, port) = split_port(entry).map_err(bad)?;
            let host = host.parse().map_err(bad)?;
            Ok((host, port.unwrap_or(HTTPS_PORT)))
        };
        let entries = text.split(',').map(str::trim);
        let entries = entries.filter(|entry| !entry.is_empty()).map(entry);
        Ok(Self(entries.collect::<Result<_, _>>()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_and_port_must_be_exactly_on_the_list() {
        let hosts: WebhookHosts = "Hooks.example, a:8443,192.0.2.7,[2001:db8::1]:99,"
            .parse()
            .unwrap();
        for (url, allowed) in [
            ("https://hooks.example/x", true),
            ("https://HOOKS.example:443/", true),
            ("https://hooks.example:8443/", false),
            ("https://x.hooks.example/", false),
            ("https://hooks.example.evil/", false),
            ("https://a:8443/", true),
            ("https://a/", false),
            ("https://192.0.2.7/", true),
            ("https://[::ffff:192.0.2.7]/", true),
            ("https://[2001:db8::1]:99/", true),
            ("https://[2001:db8::2]:99/", false),
        ] {
            assert_eq!(hosts.allows(&url.parse().unwrap()), allowed, "{url}");
        }
        assert!(hosts.names_address("192.0.2.7".parse().unwrap(), 443));
        assert!(hosts.names_address("::ffff:192.0.2.7".parse().unwrap(), 443));
        assert!(!hosts.names_address("192.0.2.7".parse().unwrap(), 80));
        let empty: WebhookHosts = " , ".parse().unwrap();
        assert!(empty.is_empty() && !empty.allows(&"https://a/".parse().unwrap()));
    }

    #[test]
    fn an_entry_that_is_no_host_is_refused() {
        for bad in [
            "https://a",
            "a/b",
            "*.example",
            "a:0",
            "a b",
            "::1",
            "10.0.0.0/8",
            "127.1",
            "a@b",
        ] {
            assert_eq!(bad.parse::<WebhookHosts>(), Err(BadHosts(bad.into())));
        }
    }
}

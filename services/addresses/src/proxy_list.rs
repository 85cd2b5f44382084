//! The operator's list of trusted proxies: networks, single addresses and host names.

use std::net::IpAddr;
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};
use thiserror::Error;

/// The maximum length of a host name in characters (RFC 1123, section 2.1, and RFC 1035, section
/// 2.3.4, without the final dot).
const MAX_NAME: usize = 253;
/// The length of the prefix `::ffff:0:0` of IPv4-mapped IPv6 addresses, in bits (RFC 4291, section
/// 2.5.5.2).
const MAPPED_PREFIX_BITS: u8 = 96;

/// A list of proxies, parsed from text such as `10.0.0.0/8, 192.0.2.7, proxy`. The elements are
/// separated by commas; empty elements are ignored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProxyList {
    /// The networks. A single address is a network of one address.
    pub(crate) networks: Vec<IpNet>,
    /// The host names, which are resolved when they are needed.
    pub(crate) names: Vec<String>,
}

/// A mistake in a list of proxies, with the element and the remedy.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadProxy {
    /// The element has no known form.
    #[error(
        "{0:?} is neither a network like 10.0.0.0/8, nor an IP address, nor a host name; separate \
         several with commas"
    )]
    Unknown(String),
    /// The address of a network has bits beyond its prefix, so it is probably a mistake.
    #[error("{given} is not the first address of its network; write {network} or a single address")]
    HostBits {
        /// The element of the list.
        given: IpNet,
        /// The network that the element probably means.
        network: IpNet,
    },
    /// The network includes every address.
    #[error("{0} includes every address, so every client could name any address as its own")]
    Everybody(IpNet),
}

impl ProxyList {
    /// Returns whether one of the networks includes this address. Host names are not considered.
    pub(crate) fn has_network_of(&self, address: IpAddr) -> bool {
        self.networks
            .iter()
            .any(|network| network.contains(&address))
    }
}

impl FromStr for ProxyList {
    type Err = BadProxy;

    fn from_str(text: &str) -> Result<Self, BadProxy> {
        let mut list = Self::default();
        let elements = text.split(',').map(str::trim);
        for element in elements.filter(|element| !element.is_empty()) {
            if let Some(network) = network(element)? {
                list.networks.push(network);
            } else if is_name(element) {
                list.names.push(element.to_ascii_lowercase());
            } else {
                return Err(BadProxy::Unknown(element.to_owned()));
            }
        }
        Ok(list)
    }
}

/// Parses a network or a single address. An IPv4-mapped one is returned as IPv4. `None` if the text
/// has another form.
fn network(element: &str) -> Result<Option<IpNet>, BadProxy> {
    let bare = element
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(element);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Ok(Some(IpNet::from(address.to_canonical())));
    }
    let Ok(given) = element.parse::<IpNet>() else {
        return Ok(None);
    };
    let network = given.trunc();
    if network != given {
        return Err(BadProxy::HostBits { given, network });
    }
    if network.prefix_len() == 0 {
        return Err(BadProxy::Everybody(network));
    }
    Ok(Some(without_mapping(network)))
}

/// Returns a network of IPv4-mapped IPv6 addresses as the IPv4 network, and any other unchanged.
fn without_mapping(network: IpNet) -> IpNet {
    let IpNet::V6(v6) = network else {
        return network;
    };
    let bits = v6.prefix_len().checked_sub(MAPPED_PREFIX_BITS);
    let mapped = v6.network().to_ipv4_mapped().zip(bits);
    let v4 = mapped.and_then(|(address, bits)| Ipv4Net::new(address, bits).ok());
    v4.map_or(network, IpNet::V4)
}

/// Returns whether the text may be a host name: labels of letters, digits, `-` and `_`, separated
/// by dots. A name whose last label is a number is not accepted, because it would be taken for an
/// IPv4 address (URL Standard, "ends in a number").
fn is_name(text: &str) -> bool {
    let labels: Vec<_> = text.split('.').collect();
    let is_label = |label: &&str| {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        !label.is_empty() && !label.starts_with('-') && label.bytes().all(is_allowed)
    };
    let ends_in_number = labels
        .last()
        .is_some_and(|label| label.bytes().all(|byte| byte.is_ascii_digit()));
    text.len() <= MAX_NAME && labels.iter().all(is_label) && !ends_in_number
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> ProxyList {
        text.parse().unwrap()
    }

    fn has(list: &ProxyList, address: &str) -> bool {
        list.has_network_of(address.parse().unwrap())
    }

    #[test]
    fn networks_addresses_and_names_may_be_mixed() {
        let mixed = list(" 10.0.0.0/8,192.0.2.7, [2001:db8::1] ,fd00::/8, Proxy,a.b-c.example,");
        for inside in ["10.1.2.3", "192.0.2.7", "2001:db8::1", "fd12::1"] {
            assert!(has(&mixed, inside), "{inside}");
        }
        for outside in ["11.0.0.0", "192.0.2.8", "2001:db8::2", "fe80::1", "::"] {
            assert!(!has(&mixed, outside), "{outside}");
        }
        assert_eq!(mixed.names, ["proxy", "a.b-c.example"]);
        assert_eq!(list(" , "), ProxyList::default());
    }

    #[test]
    fn mapped_networks_are_ipv4_networks() {
        assert_eq!(list("::ffff:10.0.0.0/104"), list("10.0.0.0/8"));
        assert_eq!(list("::ffff:192.0.2.7"), list("192.0.2.7/32"));
    }

    #[test]
    fn a_mistake_names_the_element() {
        for bad in [
            "10.0.0.0/33",
            "10.0.0/8",
            "10.0.0",
            "1.2.3.4.5",
            "300.1.1.1",
            "-x",
            "a..b",
            "http://proxy",
            "proxy:80",
            "1.2.3.4:80",
            "a b",
            "*",
        ] {
            let parsed = format!("10.0.0.1,{bad}").parse::<ProxyList>();
            assert_eq!(parsed, Err(BadProxy::Unknown(bad.to_owned())), "{bad}");
        }
        let long = "a.".repeat(127);
        assert!(format!("{long}a").parse::<ProxyList>().is_err());
    }

    #[test]
    fn networks_of_everybody_and_with_host_bits_are_refused() {
        for all in ["0.0.0.0/0", "::/0"] {
            let refused = Err(BadProxy::Everybody(all.parse().unwrap()));
            assert_eq!(all.parse::<ProxyList>(), refused);
        }
        let error = "10.0.0.5/8".parse::<ProxyList>().unwrap_err().to_string();
        assert!(
            error.contains("10.0.0.5/8") && error.contains("10.0.0.0/8"),
            "{error}"
        );
    }
}

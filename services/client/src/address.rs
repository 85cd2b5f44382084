//! The WebSocket address of a bridge, which is checked before the client connects.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use http::Uri;

use crate::Error;

/// The WebSocket address at which a bridge listens by default, on this machine.
pub const DEFAULT_URL: &str = "ws://127.0.0.1:8003/ws";

/// The `ws://` or `wss://` address of a bridge, checked for mistakes such as a wrong scheme or a
/// missing host.
///
/// `http://` and `https://` are read as other spellings of `ws://` and `wss://`. An address without
/// a path means the path `/ws`. An address without a port means 80, or 443 with TLS (RFC 6455,
/// section 3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    text: String,
    /// The host and the port as the address has them, for the header `Host`.
    authority: String,
    /// The host name or IP address, without the brackets of an IPv6 address.
    host: String,
    port: u16,
    tls: bool,
}

impl Address {
    /// Returns the address as text, always with a path, for example `ws://127.0.0.1:8003/ws`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the host name or IP address to connect to. An IPv6 address has no brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the port to connect to.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the host and the port as the address has them, which is the value of the header
    /// `Host`.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Returns whether the connection is encrypted with TLS, which is so for `wss://`.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// Returns whether the host is this machine: a loopback address, or the name `localhost`.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let ip = self.host.parse::<IpAddr>();
        ip.map_or_else(
            |_| self.host.eq_ignore_ascii_case("localhost"),
            |ip| ip.to_canonical().is_loopback(),
        )
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let after_scheme = text.split_once("://").map_or(text, |(_, rest)| rest);
        let authority = after_scheme.split(['/', '?', '#']).next();
        if authority.is_some_and(|authority| authority.contains('@')) {
            // The address is not repeated, because it may have a password.
            return Err(Error::Address(
                "the address has a user name; remove it, and give the token separately".to_owned(),
            ));
        }
        let bad = |mistake: &str| {
            Error::Address(format!("{text:?} {mistake}; give one like {DEFAULT_URL}"))
        };
        let uri: Uri = text
            .trim()
            .parse()
            .map_err(|e| bad(&format!("is not an address ({e})")))?;
        let tls = match uri.scheme_str() {
            Some("ws" | "http") => false,
            Some("wss" | "https") => true,
            Some(other) => {
                return Err(bad(&format!(
                    "has the unknown scheme {other:?}; the bridge is reached by ws:// or wss://"
                )));
            }
            None => return Err(bad("does not begin with ws:// or wss://")),
        };
        let authority = match uri.authority() {
            Some(authority) if !authority.host().is_empty() => authority,
            _ => return Err(bad("has no host name")),
        };
        // A port may be empty (RFC 3986, section 3.2.3).
        let has_port = authority.as_str().len() > authority.host().len() + 1;
        let port = match authority.port_u16() {
            Some(port) => port,
            None if has_port => return Err(bad("has a port that is no number up to 65535")),
            None if tls => 443,
            None => 80,
        };
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let path = uri.path_and_query().map_or("/", |p| p.as_str());
        let path = if path == "/" { "/ws" } else { path };
        let scheme = if tls { "wss" } else { "ws" };
        Ok(Self {
            text: format!("{scheme}://{authority}{path}"),
            authority: authority.as_str().to_owned(),
            host,
            port,
            tls,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_path_gets_the_default_path() {
        for (text, expected) in [
            (DEFAULT_URL, DEFAULT_URL),
            ("ws://bridge:8003", "ws://bridge:8003/ws"),
            ("ws://[::1]:8003/", "ws://[::1]:8003/ws"),
            (" ws://localhost/ws/mcp ", "ws://localhost/ws/mcp"),
            ("wss://bridge.example", "wss://bridge.example/ws"),
            ("http://bridge:8003", "ws://bridge:8003/ws"),
            (
                "https://bridge.example/ccb/ws",
                "wss://bridge.example/ccb/ws",
            ),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().as_str(), expected);
        }
    }

    #[test]
    fn an_address_without_a_port_has_the_port_of_its_scheme() {
        for (text, host, port) in [
            ("ws://bridge:8003/ws", "bridge", 8003),
            ("ws://bridge", "bridge", 80),
            ("ws://[::1]/ws", "::1", 80),
            ("ws://[::1]:8003", "::1", 8003),
            ("ws://bridge:/ws", "bridge", 80),
            ("ws://[::1]:", "::1", 80),
            ("wss://bridge", "bridge", 443),
            ("https://[::1]", "::1", 443),
            ("wss://bridge:8443", "bridge", 8443),
        ] {
            let address = text.parse::<Address>().unwrap();
            assert_eq!((address.host(), address.port()), (host, port), "{text}");
        }
    }

    #[test]
    fn a_loopback_address_is_this_machine() {
        for (text, expected) in [
            (DEFAULT_URL, true),
            ("ws://127.1.2.3", true),
            ("ws://[::1]:8003", true),
            ("ws://[::ffff:127.0.0.1]", true),
            ("wss://LOCALHOST", true),
            ("ws://localhost.example", false),
            ("ws://10.0.0.1", false),
            ("ws://[2001:db8::1]", false),
        ] {
            let address = text.parse::<Address>().unwrap();
            assert_eq!(address.is_loopback(), expected, "{text}");
        }
    }

    #[test]
    fn the_error_of_a_bad_address_names_the_mistake() {
        for (text, word) in [
            ("ftp://127.0.0.1:8003/ws", "\"ftp\""),
            ("127.0.0.1:8003", "ws://"),
            ("", "address"),
            ("ws://user:secret@host/ws", "user name"),
            ("ws:///ws", ""),
            ("ws://host:99999", "65535"),
            ("ws://host:80x", ""),
        ] {
            let error = text.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains(word), "{text}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}

//! The WebSocket address of a bridge, which is checked before the client connects.

use std::fmt;
use std::str::FromStr;

use http::Uri;

use crate::Error;

/// The WebSocket address at which a bridge listens by default, on this machine.
pub const DEFAULT_URL: &str = "ws://127.0.0.1:8003/ws";

/// The `ws://` address of a bridge, checked for mistakes such as a wrong scheme or a missing host.
/// An address without a path means the path `/ws`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address(String);

impl Address {
    /// Returns the address as text, always with a path, for example `ws://127.0.0.1:8003/ws`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Address {
    /// Returns the host and port to connect to, as `host:port`. The port is 80 if the address has
    /// none, the default port of `ws://`.
    pub(crate) fn authority(&self) -> String {
        let rest = self.0.trim_start_matches("ws://");
        let authority = rest.split('/').next().unwrap_or(rest);
        let digits = |port: &str| port.chars().all(|c| c.is_ascii_digit());
        // The default port of ws (RFC 6455, section 3). A port may be empty (RFC 3986, section
        // 3.2.3).
        match authority.rsplit_once(':') {
            Some((host, "")) => format!("{host}:80"),
            Some((_, port)) if digits(port) => authority.to_owned(),
            _ => format!("{authority}:80"),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = |mistake: &str| Error::Address(format!("{text:?} {mistake}"));
        let uri: Uri = text.trim().parse().map_err(|e| {
            bad(&format!(
                "is not an address ({e}); give one like {DEFAULT_URL}"
            ))
        })?;
        match uri.scheme_str() {
            Some("ws") => {}
            Some("wss") => {
                return Err(bad(
                    "needs TLS, which this version does not support; use ws://, and for another \
                     machine a tunnel (ssh -L 8003:127.0.0.1:8003 HOST)",
                ));
            }
            Some("http" | "https") => {
                return Err(bad(&format!(
                    "is a web address; give one like {DEFAULT_URL}"
                )));
            }
            _ => {
                return Err(bad(&format!(
                    "does not begin with ws://; give one like {DEFAULT_URL}"
                )));
            }
        }
        let authority = match uri.authority() {
            Some(authority) if !authority.host().is_empty() => authority,
            _ => {
                return Err(bad(&format!(
                    "has no host name; give one like {DEFAULT_URL}"
                )));
            }
        };
        if authority.as_str().contains('@') {
            return Err(bad("has a user name; remove it, the bridge has no users"));
        }
        let path = uri.path_and_query().map_or("/", |p| p.as_str());
        let path = if path == "/" { "/ws" } else { path };
        Ok(Self(format!("ws://{authority}{path}")))
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
        ] {
            assert_eq!(text.parse::<Address>().unwrap().as_str(), expected);
        }
    }

    #[test]
    fn an_address_without_a_port_has_port_80() {
        for (text, expected) in [
            ("ws://bridge:8003/ws", "bridge:8003"),
            ("ws://bridge", "bridge:80"),
            ("ws://[::1]/ws", "[::1]:80"),
            ("ws://[::1]:8003", "[::1]:8003"),
            ("ws://bridge:/ws", "bridge:80"),
            ("ws://[::1]:", "[::1]:80"),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().authority(), expected);
        }
    }

    #[test]
    fn the_error_of_a_bad_address_names_the_mistake() {
        for (text, word) in [
            ("wss://127.0.0.1:8003/ws", "TLS"),
            ("http://127.0.0.1:8003/ws", "web address"),
            ("127.0.0.1:8003", "ws://"),
            ("", "address"),
            ("ws://user@host/ws", "user name"),
            ("ws:///ws", ""),
        ] {
            let error = text.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}

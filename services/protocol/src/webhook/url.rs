//! The URLs of webhook receivers, in a strict subset of RFC 3986.
//!
//! The request is built from the parsed parts, so no second parser can read the text differently.
//! Everything that parsers are known to disagree about is refused: user names, backslashes,
//! numbers as hosts that are not plain IPv4 addresses, percent-encoded hosts, zones of IPv6.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// The maximum length of the URL of a webhook, in bytes.
pub const URL_BYTES: usize = 2048;
/// The port of `https` without a port in the URL (RFC 9110, section 4.2.2).
pub(super) const HTTPS_PORT: u16 = 443;
/// The scheme of every URL, with the delimiter behind it.
const SCHEME: &str = "https://";
/// The maximum length of a host name in bytes (RFC 1035, section 2.3.4).
const NAME_BYTES: usize = 253;
/// The maximum length of one label of a host name in bytes (RFC 1035, section 2.3.4).
const LABEL_BYTES: usize = 63;

/// The parsed URL of a webhook receiver. Its `Debug` output has no path.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookUrl {
    host: WebhookHost,
    port: u16,
    target: String,
}

/// The host of a URL.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum WebhookHost {
    /// A name in lower case, which must be resolved.
    Name(String),
    /// An address. An IPv4-mapped IPv6 address is stored as the IPv4 address.
    Address(IpAddr),
}

/// The reason why a text is not a URL for a webhook. It repeats nothing of the URL, which may hold
/// a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadUrl {
    /// The text does not begin with `https://`.
    #[error("the URL must begin with https://")]
    NotHttps,
    /// The text is longer than [`URL_BYTES`].
    #[error("the URL has more than {URL_BYTES} bytes")]
    TooLong,
    /// The text has a character that is not a visible ASCII character, or one that parsers treat
    /// differently.
    #[error(
        "the URL has a character that must be percent-encoded: use visible ASCII without \\, and \
         write an international host name as xn--…"
    )]
    Character,
    /// The text has a user name or a password.
    #[error("the URL has a user name or password; omit it, the webhook is signed instead")]
    UserInfo,
    /// The text has a fragment, which is never sent.
    #[error("the URL has a fragment (#…), which is never sent; omit it")]
    Fragment,
    /// The host is missing, or is neither a host name nor an address in the usual form.
    #[error("the URL has no valid host: give a name, an IPv4 address or [an IPv6 address]")]
    Host,
    /// The port is not a number from 1 to 65535.
    #[error("the port of the URL must be a number from 1 to 65535")]
    Port,
    /// The path or the query is malformed.
    #[error("the path or the query of the URL is malformed")]
    Path,
}

impl WebhookUrl {
    /// Returns the host.
    #[must_use]
    pub fn host(&self) -> &WebhookHost {
        &self.host
    }

    /// Returns the port: 443 if the URL has none.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the path with the query, for the request line. It begins with `/`, and may be a
    /// secret.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Returns host and port for the header `Host`, without the port 443. It has no secret.
    #[must_use]
    pub fn authority(&self) -> String {
        match self.port {
            HTTPS_PORT => self.host.to_string(),
            port => format!("{}:{port}", self.host),
        }
    }
}

impl FromStr for WebhookUrl {
    type Err = BadUrl;

    fn from_str(text: &str) -> Result<Self, BadUrl> {
        if text.len() > URL_BYTES {
            return Err(BadUrl::TooLong);
        }
        let has_scheme = text
            .get(..SCHEME.len())
            .is_some_and(|scheme| scheme.eq_ignore_ascii_case(SCHEME));
        if !has_scheme {
            return Err(BadUrl::NotHttps);
        }
        if !text.bytes().all(|b| b.is_ascii_graphic() && b != b'\\') {
            return Err(BadUrl::Character);
        }
        if text.contains('#') {
            return Err(BadUrl::Fragment);
        }
        let rest = &text[SCHEME.len()..];
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(BadUrl::UserInfo);
        }
        let (host, port) = split_port(authority)?;
        let target = if path.starts_with('/') {
            path.to_owned()
        } else {
            format!("/{path}")
        };
        if target.parse::<http::uri::PathAndQuery>().is_err() {
            return Err(BadUrl::Path);
        }
        Ok(Self {
            host: host.parse()?,
            port: port.unwrap_or(HTTPS_PORT),
            target,
        })
    }
}

/// Splits `host`, `host:port`, `[v6]` or `[v6]:port`.
pub(super) fn split_port(authority: &str) -> Result<(&str, Option<u16>), BadUrl> {
    let end = match authority.strip_prefix('[') {
        Some(inner) => inner.find(']').ok_or(BadUrl::Host)? + 2,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, port) = authority.split_at(end);
    if port.is_empty() {
        return Ok((host, None));
    }
    let digits = port.strip_prefix(':').ok_or(BadUrl::Host)?;
    let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    match digits.parse() {
        Ok(port) if is_number && port != 0 => Ok((host, Some(port))),
        _ => Err(BadUrl::Port),
    }
}

impl FromStr for WebhookHost {
    type Err = BadUrl;

    fn from_str(text: &str) -> Result<Self, BadUrl> {
        if let Some(inner) = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
            let address: Ipv6Addr = inner.parse().map_err(|_| BadUrl::Host)?;
            return Ok(Self::Address(IpAddr::V6(address).to_canonical()));
        }
        let is_label = |label: &str| {
            let good = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
            (1..=LABEL_BYTES).contains(&label.len()) && label.bytes().all(good)
        };
        if text.len() > NAME_BYTES || !text.split('.').all(is_label) {
            return Err(BadUrl::Host);
        }
        // A host that ends in a number is an IPv4 address for every parser, but not the same one:
        // 127.1, 0177.0.0.1 and 2130706433 are read in several ways.
        let last = text.rsplit('.').next().unwrap_or_default();
        let hexadecimal = last.get(..2).is_some_and(|x| x.eq_ignore_ascii_case("0x"));
        if hexadecimal || last.bytes().all(|b| b.is_ascii_digit()) {
            let address: Ipv4Addr = text.parse().map_err(|_| BadUrl::Host)?;
            return Ok(Self::Address(address.into()));
        }
        Ok(Self::Name(text.to_ascii_lowercase()))
    }
}

impl fmt::Display for WebhookHost {
    /// Writes the host as a URL has it: an IPv6 address in brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(address)) => address.fmt(f),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

impl fmt::Debug for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WebhookUrl({})", self.authority())
    }
}

#[cfg(test)]
mod tests;

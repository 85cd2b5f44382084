//! The check of the headers `Host` and `Origin`, which keeps web pages away from a local service.
//!
//! A page in a browser can send requests to 127.0.0.1, also through DNS rebinding (CVE-2025-52882).
//! The services therefore check every request before all other work, including any upgrade.

use std::net::{IpAddr, Ipv4Addr};

use http::header::{HOST, ORIGIN};
use http::{HeaderMap, Method, Uri};

/// The hosts of this machine, which are always allowed in the header `Host`.
const LOCAL: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// The hosts and origins from which one service accepts requests.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    hosts: Vec<String>,
    origins: Vec<String>,
}

/// The reason to refuse a request from a foreign host or web page. The message says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Foreign {
    /// The header `Host` is missing, repeated or not allowed.
    #[error("Host {0:?} is not allowed; allow it with --allowed-hosts")]
    Host(String),
    /// The header `Origin` is repeated, `null`, or neither the service's own origin nor on the
    /// list.
    #[error(
        "Origin {0:?} is not allowed; if its pages may use this service, \
         allow it with --allowed-origins"
    )]
    Origin(String),
}

/// Returns whether a request only reads a health endpoint, which needs no check of its sender.
/// Docker's healthcheck runs inside a container whose other requests the services refuse.
#[must_use]
pub fn reads_health(method: &Method, uri: &Uri) -> bool {
    let path = uri.path();
    matches!(*method, Method::GET | Method::HEAD)
        && (path == "/health" || path.starts_with("/health/"))
}

impl Guard {
    /// Creates a guard that allows these hosts besides the local names, and these origins besides
    /// the host of the request itself.
    ///
    /// A host is a name, or `name:port` to allow only that port. An origin is like
    /// `https://app.example:8443`.
    pub fn new(
        hosts: impl IntoIterator<Item = String>,
        origins: impl IntoIterator<Item = String>,
    ) -> Self {
        let hosts = hosts.into_iter().map(|h| h.to_ascii_lowercase()).collect();
        let origins = origins
            .into_iter()
            .map(|o| o.trim_end_matches('/').to_ascii_lowercase())
            .collect();
        Self { hosts, origins }
    }

    /// Returns whether the operator listed this origin. Only pages of listed origins get CORS
    /// headers, with which scripts can read the answers.
    #[must_use]
    pub fn lists(&self, origin: &str) -> bool {
        self.origins.iter().any(|o| o.eq_ignore_ascii_case(origin))
    }

    /// Checks where one HTTP/1.1 request is addressed to and which web page sent it. A request
    /// without `Origin` does not stem from a foreign page, and only its host is checked.
    ///
    /// If the target is an absolute URL, its host replaces `Host` (RFC 9112, section 3.2.2). Both
    /// must be allowed.
    ///
    /// # Errors
    /// The header that is not allowed, with its value.
    pub fn check(&self, target: &Uri, headers: &HeaderMap) -> Result<(), Foreign> {
        let header = single(headers, HOST.as_str()).map_err(Foreign::Host)?;
        let header = self.host(header.unwrap_or_default())?;
        let host = match target.authority() {
            Some(authority) => self.host(authority.as_str())?,
            None => header,
        };
        let Some(origin) = single(headers, ORIGIN.as_str()).map_err(Foreign::Origin)? else {
            return Ok(());
        };
        let origin = origin.to_ascii_lowercase();
        let same = ["http://", "https://"].iter().any(|scheme| {
            let default = if *scheme == "http://" { ":80" } else { ":443" };
            let own = host.strip_suffix(default).unwrap_or(&host);
            origin.strip_prefix(scheme) == Some(own)
        });
        if same || self.origins.contains(&origin) {
            Ok(())
        } else {
            Err(Foreign::Origin(origin))
        }
    }

    /// Returns the host in lower case if it is local or on the list, and else an error.
    fn host(&self, host: &str) -> Result<String, Foreign> {
        let host = host.to_ascii_lowercase();
        let name = without_port(&host);
        let allowed = |h: &String| *h == host || *h == name;
        if LOCAL.contains(&name) || self.hosts.iter().any(allowed) {
            Ok(host)
        } else {
            Err(Foreign::Host(host))
        }
    }
}

/// Parses the address on which a service listens: an IP address, or `localhost` for 127.0.0.1.
/// Other names are refused.
///
/// # Errors
/// The text is neither; the message names the valid forms.
pub fn listen_address(text: &str) -> Result<IpAddr, String> {
    if text.eq_ignore_ascii_case("localhost") {
        return Ok(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
    bare.unwrap_or(text)
        .parse()
        .map_err(|_| "give an IP address or localhost, like 127.0.0.1 or 0.0.0.0".to_owned())
}

/// Returns whether a text is one origin (`scheme://host[:port]`), for an operator's list of
/// origins. `*`, `null` and an origin with a path are not.
#[must_use]
pub fn is_origin(text: &str) -> bool {
    let Some((scheme, host)) = text.trim_end_matches('/').split_once("://") else {
        return false;
    };
    let bad = |c: char| c.is_whitespace() || c.is_control() || "/?#@*,".contains(c);
    !scheme.is_empty() && !host.is_empty() && !scheme.contains(bad) && !host.contains(bad)
}

/// Returns the only value of a header; None if the request does not have it. The error describes a
/// header that is repeated or not ASCII.
fn single<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, String> {
    let mut values = headers.get_all(name).iter();
    let Some(first) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err("(several)".to_owned());
    }
    first
        .to_str()
        .map(Some)
        .map_err(|_| "(not ASCII)".to_owned())
}

/// Returns a host without its `:port`. An IPv6 address keeps its brackets.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') && port.bytes().all(|b| b.is_ascii_digit()) => {
            name
        }
        _ => host,
    }
}

#[cfg(test)]
mod tests;

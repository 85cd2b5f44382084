//! The check of the HTTP headers `Host` and `Origin`, which stops foreign web pages from using a
//! service on the user's machine.
//!
//! A page in a browser can send requests to 127.0.0.1, also through DNS rebinding (CVE-2025-52882).
//! The services therefore check every request before all other work, including any upgrade.

use std::net::{IpAddr, Ipv4Addr};

use http::header::{HOST, ORIGIN};
use http::{HeaderMap, Method, Uri};

/// The names of this machine that are always allowed in the header `Host`.
const LOCAL: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// The allowlist of one service for the HTTP headers `Host` and `Origin`. It protects the service
/// from web pages in the user's browser.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    hosts: Vec<String>,
    origins: Vec<String>,
}

/// The reason why a request from a foreign host or web page is refused (HTTP 403, Forbidden). The
/// message says how the operator can allow it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Foreign {
    /// The header `Host` is missing, repeated, or names a host that is not allowed. Holds its
    /// value.
    #[error("Host {0:?} is not allowed; allow it with --allowed-hosts")]
    Host(String),
    /// The header `Origin` is repeated, `null`, or neither the service's own origin nor on the
    /// operator's list. Holds its value.
    #[error(
        "Origin {0:?} is not allowed; if its pages may use this service, \
         allow it with --allowed-origins"
    )]
    Origin(String),
}

/// Returns whether a request only reads a health endpoint (GET or HEAD of `/health` or below). Such
/// a request is answered without a check of its sender, because Docker's healthcheck runs inside a
/// container whose other requests the services refuse.
#[must_use]
pub fn reads_health(method: &Method, uri: &Uri) -> bool {
    let path = uri.path();
    matches!(*method, Method::GET | Method::HEAD)
        && (path == "/health" || path.starts_with("/health/"))
}

/// Returns a method as an audit line shows it: `*` for one that a client made up, because it may be
/// a secret.
#[must_use]
pub fn shown_method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::PUT => "PUT",
        Method::POST => "POST",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "*",
    }
}

impl Guard {
    /// Creates the check that allows these hosts in addition to the local names, and these origins
    /// in addition to the service's own.
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

    /// Returns whether this origin is on the operator's list, in upper or lower case. Only pages of
    /// listed origins get CORS headers, with which a browser lets their scripts read the answers.
    #[must_use]
    pub fn lists(&self, origin: &str) -> bool {
        self.origins.iter().any(|o| o.eq_ignore_ascii_case(origin))
    }

    /// Checks that a request is addressed to an allowed host and was not sent by a foreign web
    /// page. A request without `Origin` was not sent by a foreign page, so only its host is
    /// checked.
    ///
    /// If the request target is an absolute URL, its host replaces that of the header `Host` (RFC
    /// 9112, section 3.2.2). Both must be allowed.
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

    /// Returns the host in lower case if it is local or on the operator's list. Any other host is
    /// [`Foreign::Host`].
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

/// Parses the IP address on which a service listens. `localhost` means 127.0.0.1, and an IPv6
/// address may have brackets. Other host names are refused.
///
/// # Errors
/// The text is neither an IP address nor `localhost`. The message names the valid forms.
pub fn listen_address(text: &str) -> Result<IpAddr, String> {
    if text.eq_ignore_ascii_case("localhost") {
        return Ok(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
    bare.unwrap_or(text)
        .parse()
        .map_err(|_| "give an IP address or localhost, like 127.0.0.1 or 0.0.0.0".to_owned())
}

/// Returns whether a text is one web origin (`scheme://host[:port]`), for an operator's list of
/// origins. Returns false for `*`, `null`, and an origin with a path.
#[must_use]
pub fn is_origin(text: &str) -> bool {
    let Some((scheme, host)) = text.trim_end_matches('/').split_once("://") else {
        return false;
    };
    let bad = |c: char| c.is_whitespace() || c.is_control() || "/?#@*,".contains(c);
    !scheme.is_empty() && !host.is_empty() && !scheme.contains(bad) && !host.contains(bad)
}

/// Returns the value of a header that may occur at most once. `None` if the request does not have
/// it. The error says that the header is repeated or not ASCII.
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

/// Returns a host without its `:port`. A host without a port is returned unchanged, and an IPv6
/// address keeps its brackets.
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

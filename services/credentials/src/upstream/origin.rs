//! The address of the model's API.

use std::fmt;
use std::net::IpAddr;

use http::{HeaderValue, Uri};

/// The API that is used unless `ANTHROPIC_BASE_URL` is set.
pub const ANTHROPIC: &str = "https://api.anthropic.com";

/// The scheme, host, port and base path of the API. Its text form is the URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    is_tls: bool,
    host: String,
    port: u16,
    /// The host and port as the URL has them, for the header `Host`.
    authority: String,
    /// The path below which the API is, without a slash at its end.
    base_path: String,
}

/// The reason why a text is not a valid address of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadOrigin {
    /// The text has another form.
    #[error("https://HOST[:PORT][/PATH] is needed, without a query")]
    Malformed,
    /// The text has a user or a password.
    #[error("a URL with a user or a password is not supported; use ANTHROPIC_CUSTOM_HEADERS")]
    Password,
    /// A public address without TLS.
    #[error(
        "http is for loopback and private addresses only, because it shows the credential; use \
         https"
    )]
    PlainAndPublic,
}

impl Origin {
    /// Parses a base URL. Resolves nothing.
    ///
    /// # Errors
    /// The text is not a base URL, or is plain HTTP to a public address.
    pub fn parse(text: &str) -> Result<Self, BadOrigin> {
        let text = text.trim();
        // The parser would drop a fragment.
        if text.contains(['#', '?']) {
            return Err(BadOrigin::Malformed);
        }
        let uri: Uri = text.parse().map_err(|_| BadOrigin::Malformed)?;
        let authority = uri.authority().ok_or(BadOrigin::Malformed)?;
        if authority.as_str().contains('@') {
            return Err(BadOrigin::Password);
        }
        let is_tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(BadOrigin::Malformed),
        };
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        if host.is_empty() {
            return Err(BadOrigin::Malformed);
        }
        let address: Option<IpAddr> = host.parse().ok();
        if !is_tls && address.is_some_and(|address| !is_internal(address)) {
            return Err(BadOrigin::PlainAndPublic);
        }
        let default = if is_tls { 443 } else { 80 };
        Ok(Self {
            is_tls,
            port: authority.port_u16().unwrap_or(default),
            authority: authority.as_str().to_owned(),
            base_path: uri.path().trim_end_matches('/').to_owned(),
            host,
        })
    }

    /// Returns whether the API is reached over TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.is_tls
    }

    /// Returns the host, an address without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the value of the header `Host`.
    #[must_use]
    pub fn host_header(&self) -> HeaderValue {
        HeaderValue::try_from(&self.authority).unwrap_or(HeaderValue::from_static(""))
    }

    /// Returns the request target for a path of the API, which begins with `/v1/`.
    #[must_use]
    pub fn target(&self, path: &str) -> String {
        format!("{}{path}", self.base_path)
    }

    /// Returns whether a connection to this address may carry the credential: any address over TLS,
    /// only an internal one without TLS.
    #[must_use]
    pub fn allows(&self, address: IpAddr) -> bool {
        self.is_tls || is_internal(address)
    }

    /// Returns the scheme, host and port, without the base path.
    #[must_use]
    pub fn without_path(&self) -> String {
        let scheme = if self.is_tls { "https" } else { "http" };
        format!("{scheme}://{}", self.authority)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.without_path(), self.base_path)
    }
}

/// Returns whether an address is loopback or private: RFC 1918, or `fc00::/7` (RFC 4193).
fn is_internal(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => address.is_loopback() || address.is_private(),
        IpAddr::V6(address) => address.is_loopback() || address.is_unique_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_keeps_its_path() {
        let origin = Origin::parse("https://gateway.example:8443/claude/").unwrap();
        assert_eq!(origin.target("/v1/models"), "/claude/v1/models");
        assert_eq!((origin.host(), origin.port()), ("gateway.example", 8443));
        assert_eq!(origin.host_header(), "gateway.example:8443");
        assert_eq!(origin.to_string(), "https://gateway.example:8443/claude");
        assert_eq!(origin.without_path(), "https://gateway.example:8443");
        let plain = Origin::parse(ANTHROPIC).unwrap();
        assert_eq!(plain.target("/v1/models"), "/v1/models");
        assert_eq!(plain.port(), 443);
        let inner = Origin::parse("http://[::1]:80").unwrap();
        assert_eq!((inner.host(), inner.port()), ("::1", 80));
    }

    #[test]
    fn only_inner_addresses_are_reached_without_tls() {
        for inner in [
            "127.0.0.1",
            "10.1.2.3",
            "192.168.0.1",
            "172.16.0.9",
            "[fd00::1]",
            "model",
        ] {
            assert!(
                Origin::parse(&format!("http://{inner}:1")).is_ok(),
                "{inner}"
            );
        }
        for public in [
            "1.1.1.1",
            "169.254.169.254",
            "[2001:db8::1]",
            "0.0.0.0",
            "172.32.0.1",
        ] {
            let parsed = Origin::parse(&format!("http://{public}"));
            assert_eq!(parsed, Err(BadOrigin::PlainAndPublic), "{public}");
            assert!(Origin::parse(&format!("https://{public}")).is_ok());
        }
        let named = Origin::parse("http://model:1").unwrap();
        assert!(named.allows([10, 0, 0, 1].into()) && !named.allows([1, 1, 1, 1].into()));
        assert!(!named.allows("::ffff:1.1.1.1".parse().unwrap()));
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "api.anthropic.com",
            "ftp://a",
            "https://",
            "https://a/?b",
            "https://a#b",
        ] {
            assert_eq!(Origin::parse(text), Err(BadOrigin::Malformed), "{text}");
        }
        assert_eq!(Origin::parse("https://u:p@a"), Err(BadOrigin::Password));
    }
}

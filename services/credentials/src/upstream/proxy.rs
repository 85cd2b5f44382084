//! The operator's proxy for HTTPS, from the usual variables. Its password stays in this service.

use std::collections::BTreeMap;
use std::fmt;

use data_encoding::BASE64;
use http::Uri;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The variables that name the proxy. The first one that is set counts.
const VARIABLES: [&str; 4] = ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];
/// The variables that list the hosts without a proxy. The first one that is set counts.
const EXCEPTIONS: [&str; 2] = ["no_proxy", "NO_PROXY"];
/// The maximum number of bytes of the head of a proxy's answer.
const HEAD_BYTES: usize = 16 * 1024;

/// An HTTP proxy that opens tunnels (CONNECT). Its `Debug` output hides the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    host: String,
    port: u16,
    /// The value of `Proxy-Authorization`.
    authorization: Option<String>,
}

/// The reason why a proxy opened no tunnel.
#[derive(Debug, thiserror::Error)]
pub enum TunnelError {
    /// The connection to the proxy broke.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The proxy refused, with this status.
    #[error("the proxy answered {0}")]
    Refused(u16),
    /// The answer of the proxy is not HTTP.
    #[error("the answer of the proxy is malformed")]
    Malformed,
}

impl Proxy {
    /// Finds the proxy for HTTPS to `host` in environment variables. `None` if there is none, or if
    /// `no_proxy` lists the host.
    ///
    /// # Errors
    /// A variable is not the address of an HTTP proxy. The text does not repeat the value.
    pub fn find(variables: &BTreeMap<String, String>, host: &str) -> Result<Option<Self>, String> {
        let first_set = |names: &[&'static str]| {
            let set = names.iter().map(|name| (*name, variables.get(*name)));
            let mut set = set.filter_map(|(name, value)| Some((name, value?.trim())));
            set.find(|(_, value)| !value.is_empty())
        };
        let Some((name, value)) = first_set(&VARIABLES) else {
            return Ok(None);
        };
        if first_set(&EXCEPTIONS).is_some_and(|(_, list)| is_excepted(list, host)) {
            return Ok(None);
        }
        match parse(value) {
            Some(proxy) => Ok(Some(proxy)),
            None => Err(format!(
                "{name}: http://[USER:PASSWORD@]HOST:PORT is needed"
            )),
        }
    }

    /// Returns the host.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Asks the proxy at the other end of `stream` for a tunnel to `host:port`.
    ///
    /// # Errors
    /// The proxy refused, or the connection broke.
    pub async fn open_tunnel(
        &self,
        stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
        host: &str,
        port: u16,
    ) -> Result<(), TunnelError> {
        let host = if host.contains(':') {
            format!("[{host}]")
        } else {
            host.to_owned()
        };
        let mut request = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n");
        if let Some(authorization) = &self.authorization {
            request.push_str(&format!("Proxy-Authorization: {authorization}\r\n"));
        }
        request.push_str("\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut head = Vec::new();
        // Byte by byte, because the bytes after the head belong to the tunnel.
        while !head.ends_with(b"\r\n\r\n") {
            if head.len() == HEAD_BYTES {
                return Err(TunnelError::Malformed);
            }
            head.push(stream.read_u8().await?);
        }
        let status = head
            .strip_prefix(b"HTTP/1.")
            .and_then(|rest| std::str::from_utf8(rest.get(2..5)?).ok()?.parse().ok());
        match status {
            Some(200..=299) => Ok(()),
            Some(status) => Err(TunnelError::Refused(status)),
            None => Err(TunnelError::Malformed),
        }
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({}:{})", self.host, self.port)
    }
}

fn parse(text: &str) -> Option<Proxy> {
    let text = if text.contains("://") {
        text.to_owned()
    } else {
        format!("http://{text}")
    };
    let uri: Uri = text.parse().ok()?;
    let authority = uri.authority()?;
    if uri.scheme_str() != Some("http") || !matches!(uri.path(), "" | "/") {
        return None;
    }
    let user = authority.as_str().rsplit_once('@').map(|(user, _)| user);
    let authorization = match user {
        Some(user) => Some(format!("Basic {}", BASE64.encode(&percent_decoded(user)?))),
        None => None,
    };
    let host = authority.host().trim_matches(['[', ']']);
    (!host.is_empty()).then(|| Proxy {
        host: host.to_owned(),
        port: authority.port_u16().unwrap_or(80),
        authorization,
    })
}

/// Decodes the escapes of a URL. `None` if one is malformed.
fn percent_decoded(text: &str) -> Option<Vec<u8>> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let digits = part.get(..2)?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    Some(bytes)
}

/// Returns whether a list of hosts without a proxy names this host: the host itself, a domain above
/// it, or `*`.
fn is_excepted(list: &str, host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    list.split(',').map(str::trim).any(|entry| {
        let entry = entry.to_ascii_lowercase();
        let domain = entry.trim_start_matches("*.").trim_start_matches('.');
        let above = host
            .strip_suffix(domain)
            .is_some_and(|rest| rest.ends_with('.'));
        entry == "*" || (!domain.is_empty() && (host == domain || above))
    })
}

#[cfg(test)]
mod tests;

//! TLS for `wss://` addresses: the root certificates that a client trusts, and the reasons why a
//! handshake fails.

use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustls::crypto::ring::default_provider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{CertificateError, ClientConfig, RootCertStore};

/// The root certificates that a client trusts: those of this machine, and further ones. Clones
/// share them.
///
/// The certificates of this machine are read at the first connection with TLS. They are in the
/// places where Linux distributions keep them, or in the file that `SSL_CERT_FILE` names.
#[derive(Debug, Clone)]
pub struct Roots {
    /// The certificates that are trusted in addition to those of this machine.
    further: Arc<RootCertStore>,
    /// The settings of every connection, once they are known.
    config: Arc<OnceLock<Arc<ClientConfig>>>,
}

/// The reason why certificates could not be read from a PEM file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadCertificates {
    /// The file could not be read. Holds the reason.
    #[error("could not be read: {0}")]
    Unreadable(String),
    /// The file has no certificate.
    #[error("has no certificate; give a PEM file, which has a line -----BEGIN CERTIFICATE-----")]
    Empty,
    /// A certificate of the file is damaged. Holds the reason.
    #[error("has a damaged certificate: {0}")]
    Damaged(String),
}

/// The reason why no TLS connection to a server could be opened. Another attempt fails for the same
/// reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// No known authority has signed the server's certificate.
    #[error(
        "its certificate is not trusted, because no authority that this machine knows signed it; \
         give the authority's certificate as a PEM file (ccb: --ca FILE)"
    )]
    NotTrusted,
    /// The server's certificate is for other host names than the one in the address.
    #[error("its certificate is not for {host} but for {names}; use such a name in the address")]
    OtherName {
        /// The host name or IP address in the address of the server.
        host: String,
        /// The host names of the certificate, separated by commas.
        names: String,
    },
    /// The server's certificate has expired, or is not valid yet.
    #[error(
        "its certificate has expired or is not valid yet; renew it, or correct this machine's clock"
    )]
    NotValidNow,
    /// The server shows the certificate of an authority instead of one for a server.
    #[error(
        "its certificate is one of an authority (CA:TRUE) and not of a server; sign a certificate \
         for the server with it"
    )]
    OfAuthority,
    /// The server does not speak TLS at this port.
    #[error("it does not speak TLS at this port; use ws:// in place of wss://")]
    NotTls,
    /// This machine has no root certificates, and none were given.
    #[error(
        "this machine has no root certificates; install the package ca-certificates, or give the \
         authority's certificate as a PEM file (ccb: --ca FILE)"
    )]
    NoRoots,
    /// The handshake failed for another reason. Holds the message of the TLS library.
    #[error("the TLS handshake failed: {0}")]
    Failed(String),
}

impl Default for Roots {
    /// Trusts the root certificates of this machine alone.
    fn default() -> Self {
        Self {
            further: Arc::new(RootCertStore::empty()),
            config: Arc::default(),
        }
    }
}

impl Roots {
    /// Trusts the certificates of a PEM text in addition to those of this machine.
    ///
    /// # Errors
    /// The text has no certificate, or a damaged one.
    pub fn with_pem(pem: &[u8]) -> Result<Self, BadCertificates> {
        let damaged = |e: &dyn std::fmt::Display| BadCertificates::Damaged(e.to_string());
        let mut further = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|e| damaged(&e))?;
            further.add(certificate).map_err(|e| damaged(&e))?;
        }
        if further.is_empty() {
            return Err(BadCertificates::Empty);
        }
        Ok(Self {
            further: Arc::new(further),
            config: Arc::default(),
        })
    }

    /// Trusts the certificates of a PEM file in addition to those of this machine. Reads the file
    /// at once.
    ///
    /// # Errors
    /// The file cannot be read, has no certificate, or has a damaged one.
    pub fn with_file(path: &Path) -> Result<Self, BadCertificates> {
        let pem = std::fs::read(path).map_err(|e| BadCertificates::Unreadable(e.to_string()))?;
        Self::with_pem(&pem)
    }

    /// Returns the TLS settings of a connection. Reads the certificates of this machine at the
    /// first call.
    pub(crate) fn config(&self) -> Result<Arc<ClientConfig>, TlsError> {
        if let Some(config) = self.config.get() {
            return Ok(Arc::clone(config));
        }
        let mut roots = RootCertStore::clone(&self.further);
        // An unusable certificate among those of this machine is ignored, as other programs do.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            return Err(TlsError::NoRoots);
        }
        let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|e| TlsError::Failed(e.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        // WebSocket over HTTP/2 (RFC 8441) is not supported.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::clone(self.config.get_or_init(|| Arc::new(config))))
    }
}

/// Returns why a handshake with this host failed. `None` if the connection broke, so that another
/// attempt may succeed.
pub(crate) fn handshake_error(host: &str, error: &io::Error) -> Option<TlsError> {
    let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    Some(match error {
        rustls::Error::InvalidCertificate(certificate) => certificate_error(host, certificate),
        rustls::Error::InvalidMessage(_) => TlsError::NotTls,
        error => TlsError::Failed(error.to_string()),
    })
}

fn certificate_error(host: &str, error: &CertificateError) -> TlsError {
    match error {
        // A bad signature is that of another authority with the same name.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => TlsError::NotTrusted,
        CertificateError::NotValidForNameContext { presented, .. } => TlsError::OtherName {
            host: host.to_owned(),
            names: names(presented),
        },
        CertificateError::NotValidForName => TlsError::OtherName {
            host: host.to_owned(),
            names: names(&[]),
        },
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => TlsError::NotValidNow,
        // The library has no variant of its own for it.
        CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            TlsError::OfAuthority
        }
        error => TlsError::Failed(format!("bad certificate: {error}")),
    }
}

/// Formats the names of a certificate, which the library gives as `DnsName("a.example")`.
fn names(presented: &[String]) -> String {
    let name = |text: &String| {
        let quoted = text.split('"').nth(1);
        quoted.unwrap_or(text).to_owned()
    };
    if presented.is_empty() {
        return "no host name at all".to_owned();
    }
    presented.iter().map(name).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_usable_certificates_is_an_error() {
        let pem = |text: &[u8]| Roots::with_pem(text).map(drop);
        assert_eq!(pem(b""), Err(BadCertificates::Empty));
        assert_eq!(pem(b"no certificate"), Err(BadCertificates::Empty));
        let damaged = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(matches!(pem(damaged), Err(BadCertificates::Damaged(_))));
        let missing = Roots::with_file(Path::new("/does/not/exist"));
        assert!(matches!(missing, Err(BadCertificates::Unreadable(_))));
    }

    #[test]
    fn the_names_of_a_certificate_are_listed() {
        let presented = ["DnsName(\"a.example\")".to_owned(), "other".to_owned()];
        assert_eq!(names(&presented), "a.example, other");
        assert_eq!(names(&[]), "no host name at all");
    }

    /// The WebSocket library logs each handshake request, with its token, at the level trace of the
    /// crate `log`.
    #[test]
    fn the_log_level_that_would_show_tokens_is_compiled_out() {
        assert!(log::STATIC_MAX_LEVEL < log::LevelFilter::Trace);
    }
}

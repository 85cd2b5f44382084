//! The certificates that are trusted: those of this machine, and further ones of the operator.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring::default_provider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// The reason why there are no settings for TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsSettingsError {
    /// A file of certificates cannot be used. Holds the file and the reason.
    #[error("{0}")]
    File(String),
    /// This machine has no root certificates.
    #[error("this machine has no root certificates; install the package ca-certificates")]
    NoRoots,
    /// The library refuses the settings.
    #[error("TLS cannot be set up: {0}")]
    Library(#[from] rustls::Error),
}

/// Returns the settings of connections to the API. `further` is a PEM file with certificates that
/// are trusted in addition to those of this machine. Reads files.
///
/// # Errors
/// The file has no usable certificate, or no certificate is trusted at all.
pub fn settings(further: Option<&Path>) -> Result<Arc<ClientConfig>, TlsSettingsError> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = further {
        add_file(&mut roots, path)
            .map_err(|reason| TlsSettingsError::File(format!("{}: {reason}", path.display())))?;
    }
    // An unusable certificate among those of this machine is ignored, as other programs do.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(TlsSettingsError::NoRoots);
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn add_file(roots: &mut RootCertStore, path: &Path) -> Result<(), String> {
    let pem = std::fs::read(path).map_err(|error| error.to_string())?;
    let before = roots.len();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    if roots.len() == before {
        return Err("has no certificate; give a PEM file".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_certificates_is_a_mistake() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        let mistake = || settings(Some(&path)).unwrap_err().to_string();
        assert!(mistake().contains("ca.pem: No such file"), "{}", mistake());
        std::fs::write(&path, "nothing").unwrap();
        assert!(mistake().contains("has no certificate"), "{}", mistake());
        let damaged = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        std::fs::write(&path, damaged).unwrap();
        assert!(!mistake().contains("has no certificate"), "{}", mistake());
    }
}

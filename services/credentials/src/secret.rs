//! The credential: where it is, its kind, and the header that carries it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use data_encoding::HEXLOWER;
use grants::{CredentialKind, CredentialState, SecretError, read_secret};
use http::HeaderValue;
use http::header::{AUTHORIZATION, HeaderName};
use ring::digest::{SHA256, digest};

/// The kinds of credential in the CLI's order of precedence. The first one that is set is used.
const KINDS: [CredentialKind; 3] = [
    CredentialKind::ApiKey,
    CredentialKind::OauthToken,
    CredentialKind::AuthToken,
];
/// The number of characters of a fingerprint.
const FINGERPRINT_CHARS: usize = 16;

/// The place of a credential.
enum Source {
    /// The value of a variable.
    Value(String),
    /// The file that `NAME_FILE` names. It is read at each use, so that the next request uses a
    /// rotated credential.
    File(PathBuf),
}

/// The credentials that the environment names. Its `Debug` output hides them.
pub struct Secrets {
    sources: Vec<(CredentialKind, Source)>,
}

/// A credential that is ready for use. Its `Debug` output hides it.
#[derive(Clone)]
pub struct Credential {
    kind: CredentialKind,
    secret: String,
    value: HeaderValue,
}

impl Secrets {
    /// Reads the credentials from environment variables. An empty variable counts as not set, and a
    /// variable wins over the file of the same name.
    #[must_use]
    pub fn new(variables: &BTreeMap<String, String>) -> Self {
        let set = |name: &str| variables.get(name).filter(|value| !value.is_empty());
        let sources = KINDS.into_iter().filter_map(|kind| {
            let name = kind.variable();
            let value = set(name).map(|value| Source::Value(value.clone()));
            let file = || set(&format!("{name}_FILE")).map(|path| Source::File(path.into()));
            Some((kind, value.or_else(file)?))
        });
        Self {
            sources: sources.collect(),
        }
    }

    /// Returns the credential that is in use now. Reads its file each time. Blocks on the disk.
    ///
    /// # Errors
    /// There is no usable credential; the state says why.
    pub fn credential(&self) -> Result<Credential, CredentialState> {
        let mut unusable = None;
        for (kind, source) in &self.sources {
            let read = match source {
                Source::Value(value) => Credential::new(*kind, value.clone()).map(Some),
                Source::File(path) => read_secret(path).and_then(|secret| {
                    let secret = secret.map(|secret| Credential::new(*kind, secret));
                    secret.transpose()
                }),
            };
            match read {
                Ok(Some(credential)) => return Ok(credential),
                Ok(None) => {}
                Err(error) => {
                    unusable.get_or_insert_with(|| state_of(*kind, source, error));
                }
            }
        }
        Err(unusable.unwrap_or(CredentialState::Missing))
    }

    /// Returns the facts that claude-api may know about the credential now. Blocks on the disk.
    #[must_use]
    pub fn state(&self) -> CredentialState {
        self.credential()
            .map_or_else(|state| state, |credential| credential.state())
    }
}

fn state_of(kind: CredentialKind, source: &Source, error: SecretError) -> CredentialState {
    let name = kind.variable();
    let reason = match source {
        Source::Value(_) => format!("{name}: {error}"),
        Source::File(path) => format!("{name}_FILE, {}: {error}", path.display()),
    };
    match error {
        SecretError::Io(_) => CredentialState::Unreadable { reason },
        SecretError::Content(_) => CredentialState::Malformed { reason },
    }
}

impl Credential {
    fn new(kind: CredentialKind, secret: String) -> Result<Self, SecretError> {
        let text = match kind {
            CredentialKind::ApiKey => secret.clone(),
            CredentialKind::OauthToken | CredentialKind::AuthToken => format!("Bearer {secret}"),
        };
        let mut value = HeaderValue::try_from(text)
            .map_err(|_| SecretError::Content("the value has characters that no credential has"))?;
        value.set_sensitive(true);
        Ok(Self {
            kind,
            secret,
            value,
        })
    }

    /// Returns the kind.
    #[must_use]
    pub fn kind(&self) -> CredentialKind {
        self.kind
    }

    /// Returns the header of a request to the API. The value is marked as sensitive.
    #[must_use]
    pub fn header(&self) -> (HeaderName, HeaderValue) {
        let name = match self.kind {
            CredentialKind::ApiKey => HeaderName::from_static("x-api-key"),
            CredentialKind::OauthToken | CredentialKind::AuthToken => AUTHORIZATION,
        };
        (name, self.value.clone())
    }

    /// Returns the beta without which the API refuses a credential of this kind. `None` if there is
    /// none.
    #[must_use]
    pub fn beta(&self) -> Option<&'static str> {
        match self.kind {
            CredentialKind::OauthToken => Some("oauth-2025-04-20"),
            CredentialKind::ApiKey | CredentialKind::AuthToken => None,
        }
    }

    /// Returns the secret itself, for the search in answers.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.secret
    }

    /// Returns the facts that claude-api may know about the credential.
    #[must_use]
    pub fn state(&self) -> CredentialState {
        let hash = digest(&SHA256, format!("fingerprint\0{}", self.secret).as_bytes());
        let mut fingerprint = HEXLOWER.encode(hash.as_ref());
        fingerprint.truncate(FINGERPRINT_CHARS);
        CredentialState::Present {
            kind: self.kind,
            fingerprint,
        }
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = self.sources.iter().map(|(kind, _)| kind);
        f.debug_list().entries(kinds).finish()
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credential({:?}, hidden)", self.kind)
    }
}

#[cfg(test)]
mod tests;

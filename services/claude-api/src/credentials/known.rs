//! The facts that `credentials` has reported about itself and the credential.

use grants::{CredentialKind, CredentialState};

use super::api_health::ApiHealth;

/// The way in which the CLI of an execution gets access to the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// By a grant, in the variable for a credential of this kind.
    Grant(CredentialKind),
    /// By this service's own environment or the CLI's own login, because `credentials` has no
    /// credential.
    Own,
}

impl Access {
    /// The access while nothing is known about the credential. An API key is the usual kind.
    pub(super) const UNKNOWN: Self = Self::Grant(CredentialKind::ApiKey);
}

/// The facts that `credentials` has reported. They stay when the connection ends.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Known {
    /// Whether `credentials` is connected now.
    pub(crate) is_connected: bool,
    /// The credential, as last reported. `None` before the first connection.
    pub(crate) credential: Option<CredentialState>,
    /// Whether the API accepts the credential.
    pub(crate) health: ApiHealth,
    /// The reason why the last connection ended or was refused, for people. `None` while connected,
    /// and before the first one.
    pub(crate) mishap: Option<String>,
    /// The kind of the last credential that was present.
    kind: Option<CredentialKind>,
}

impl Known {
    /// Returns the kind of the present credential, or of the last one while its file is unusable.
    /// `None` if there is no credential, or nothing is known.
    pub(crate) fn kind(&self) -> Option<CredentialKind> {
        match &self.credential {
            None | Some(CredentialState::Missing) => None,
            Some(_) => self.kind,
        }
    }

    /// Returns how a CLI gets access to the model. `None` before the first connection.
    pub(crate) fn access(&self) -> Option<Access> {
        match self.credential.as_ref()? {
            CredentialState::Missing => Some(Access::Own),
            // An unusable file is probably repaired soon. It then holds a credential of the same
            // kind again.
            CredentialState::Present { .. }
            | CredentialState::Unreadable { .. }
            | CredentialState::Malformed { .. } => {
                Some(self.kind.map_or(Access::UNKNOWN, Access::Grant))
            }
        }
    }

    /// Stores the credential that `credentials` reported now.
    pub(super) fn set_credential(&mut self, credential: CredentialState) {
        if self.credential.as_ref() == Some(&credential) {
            return;
        }
        if let CredentialState::Present { kind, .. } = &credential {
            self.kind = Some(*kind);
        }
        self.credential = Some(credential);
        self.health.credential_changed();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_is_remembered_while_the_file_of_the_credential_is_unusable() {
        let mut known = Known::default();
        assert_eq!((known.access(), known.kind()), (None, None));
        let unreadable = || CredentialState::Unreadable {
            reason: "x".to_owned(),
        };
        known.set_credential(unreadable());
        assert_eq!(known.access(), Some(Access::UNKNOWN));
        known.set_credential(CredentialState::Present {
            kind: CredentialKind::OauthToken,
            fingerprint: "f".to_owned(),
        });
        known.set_credential(unreadable());
        let oauth = CredentialKind::OauthToken;
        assert_eq!(known.access(), Some(Access::Grant(oauth)));
        assert_eq!(known.kind(), Some(oauth));
        known.set_credential(CredentialState::Missing);
        assert_eq!((known.access(), known.kind()), (Some(Access::Own), None));
    }
}

//! The part of readiness about the credential of the model: in this service's own environment, or
//! in the service `credentials`.

use grants::{CredentialKind, CredentialState};
use jiff::Timestamp;
use serde::Serialize;

use super::obstacle::Obstacle;
use crate::cli::Credential;
use crate::credentials::Known;

/// The member `credential` of `/health/ready`: the facts about the use of the credential.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CredentialFacts {
    /// When the API of the model last accepted the credential. `None` before the first time since
    /// the start of the service.
    pub(crate) last_worked_at: Option<Timestamp>,
    /// When the API of the model last refused the credential. `None` before the first time since
    /// the start of the service.
    pub(crate) last_refused_at: Option<Timestamp>,
    /// The kind of the credential. `None` without one, for the CLI's own login, and for another
    /// provider than Anthropic.
    pub(crate) kind: Option<CredentialKind>,
}

impl CredentialFacts {
    /// Returns the facts with times that are rounded down to the hour.
    pub(crate) fn in_hours(self) -> Self {
        let hour = |at: Timestamp| {
            let seconds = at.as_second();
            Timestamp::from_second(seconds - seconds.rem_euclid(3600)).unwrap_or(at)
        };
        Self {
            last_worked_at: self.last_worked_at.map(hour),
            last_refused_at: self.last_refused_at.map(hour),
            kind: self.kind,
        }
    }
}

/// Returns the obstacle for the credential of this service's own environment. `None` if the CLI has
/// one that was not refused. `refused` is the credential that the API refused last.
pub(super) fn of_environment(
    credential: &Credential,
    refused: Option<&Credential>,
) -> Option<Obstacle> {
    Some(match credential {
        Credential::Missing => Obstacle::new(
            "credential-missing",
            "the CLI has no credential",
            "set ANTHROPIC_API_KEY or CLAUDE_CODE_OAUTH_TOKEN (from `claude setup-token`) in the \
             environment of claude-api and start it again, or log in with the CLI in its \
             configuration folder",
        ),
        Credential::Unreadable(reason) => unreadable(reason, "claude-api"),
        Credential::Malformed(reason) => malformed(reason),
        present if refused == Some(present) => refused_when_last_used(),
        Credential::Present(_) => return None,
    })
}

/// Returns the obstacle for a credential that `credentials` holds. `None` if executions can use it.
/// `own` is the obstacle for the credential of this service's own environment, which is used if
/// `credentials` has none.
pub(super) fn of_credentials(known: &Known, own: Option<Obstacle>) -> Option<Obstacle> {
    if !known.is_connected {
        return Some(away(known));
    }
    Some(match known.credential.as_ref()? {
        CredentialState::Missing => match own {
            Some(own) if own.code == "credential-missing" => Obstacle::new(
                "credential-missing",
                "the service credentials has no credential, and the CLI has no login",
                "set ANTHROPIC_API_KEY or CLAUDE_CODE_OAUTH_TOKEN (from `claude setup-token`) in \
                 the environment of credentials and start it again, or log in with the CLI in its \
                 configuration folder",
            ),
            own => return own,
        },
        CredentialState::Unreadable { reason } => unreadable(reason, "credentials"),
        CredentialState::Malformed { reason } => malformed(reason),
        CredentialState::Present { .. } if known.health.is_refused => refused_when_last_used(),
        CredentialState::Present { .. } => return None,
    })
}

/// Returns the warning `credential-in-box` for these variables of this service. `None` if there are
/// none. `is_used` says whether the CLI gets the credential of the service `credentials`.
pub(super) fn in_box(variables: &[String], is_used: bool) -> Option<Obstacle> {
    let cause = if is_used {
        ", although CLAUDE_API_CREDENTIALS_URL is set"
    } else {
        " that commands of the model can read, because CLAUDE_API_CREDENTIALS_URL is not set"
    };
    (!variables.is_empty()).then(|| {
        Obstacle::new(
            "credential-in-box",
            format!(
                "the environment of claude-api has credentials{cause}: {}",
                variables.join(", ")
            ),
            "set those of the model, and proxies with a password, for the service credentials \
             alone; what you pass to tools on purpose is theirs to read",
        )
    })
}

fn away(known: &Known) -> Obstacle {
    let mishap = known.mishap.as_deref();
    Obstacle::new(
        "credentials-away",
        format!(
            "the service credentials is not connected: {}",
            mishap.unwrap_or("it has not connected since the start")
        ),
        "start it (docker compose up -d credentials) and read its log; executions are accepted, \
         and their CLI repeats its requests for about a minute",
    )
}

fn unreadable(reason: &str, service: &str) -> Obstacle {
    Obstacle::new(
        "credential-unreadable",
        format!("the credential's file cannot be read: {reason}"),
        format!(
            "make it readable for the user that {service} runs as (scripts/up runs claude-api as \
             the caller; otherwise CCB_UID and CCB_GID)"
        ),
    )
}

fn malformed(reason: &str) -> Obstacle {
    Obstacle::new(
        "credential-malformed",
        format!("the credential's file holds no credential: {reason}"),
        "write the credential alone on one line, as UTF-8; the next execution uses it",
    )
}

fn refused_when_last_used() -> Obstacle {
    Obstacle::new(
        "credential-refused",
        "the credential was refused when it was last used",
        "give a valid ANTHROPIC_API_KEY or CLAUDE_CODE_OAUTH_TOKEN, or log in again",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_in_hours_tell_no_minute() {
        let at = |text: &str| Some(text.parse::<Timestamp>().unwrap());
        let facts = CredentialFacts {
            last_worked_at: at("2026-11-30T09:47:38.319Z"),
            last_refused_at: None,
            kind: Some(CredentialKind::ApiKey),
        };
        let rounded = CredentialFacts {
            last_worked_at: at("2026-11-30T09:00:00Z"),
            ..facts.clone()
        };
        assert_eq!(facts.in_hours(), rounded);
    }
}

//! Readiness: whether an execution would start now. The answer is made from the cached results of
//! periodic checks, so that a request for `/health/ready` starts no process.

mod cache;
mod changes;
mod credential;
mod obstacle;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::cli::{Credential, Environment};
use crate::credentials::{Access, Credentials};
use cache::{Cache, Reached};
pub(crate) use credential::CredentialFacts;
pub use obstacle::Obstacle;
pub(crate) use obstacle::{
    MISSING, NO_RUNNER, OBSTACLES, RUNNER_DIED, WARNINGS, no_room, no_tokens, unwritable,
};

/// The codes of all obstacles and warnings at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Conditions {
    /// The obstacles, which keep executions from starting. Empty if the service is ready.
    pub(crate) obstacles: Vec<&'static str>,
    /// The warnings.
    pub(crate) warnings: Vec<&'static str>,
}

/// The conditions that keep executions from starting, as the last checks and executions found them.
/// Cheap to clone.
#[derive(Debug, Clone)]
pub struct Readiness {
    // Held briefly for reads and writes; no await happens inside.
    cache: Arc<Mutex<Cache>>,
    /// The environment of the CLI, in which the credential is looked up for each request.
    environment: Arc<Environment>,
    /// The service `credentials`; `None` if the CLI gets the credential of the environment.
    credentials: Option<Credentials>,
    /// Whether commands of the model run in a container with this service.
    is_boxed: bool,
    /// Wakes the periodic checks, so that the CLI is checked now.
    pub(crate) recheck: Arc<Notify>,
}

impl Readiness {
    /// Creates the state before the first check. Until then the obstacle `cli-unchecked` is
    /// reported, so the service is not ready. Without `credentials`, the CLI gets the credential of
    /// `environment`. `is_boxed` says that commands of the model run in a container with this
    /// service.
    pub(crate) fn new(
        environment: Arc<Environment>,
        credentials: Option<Credentials>,
        is_boxed: bool,
    ) -> Self {
        Self {
            cache: Arc::new(Mutex::new(Cache::unchecked())),
            environment,
            credentials,
            is_boxed,
            recheck: Arc::new(Notify::new()),
        }
    }

    /// Runs `act` on the cached results under their lock.
    fn with<T>(&self, act: impl FnOnce(&mut Cache) -> T) -> T {
        act(&mut self.cache.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the warning `tokens-file-invalid` if the token file has a mistake. Earlier tokens
    /// then stay in force.
    #[must_use]
    pub fn tokens_warning(&self) -> Option<Obstacle> {
        let mistake = self.with(|cache| cache.tokens_mistake.clone())?;
        Some(Obstacle::new(
            "tokens-file-invalid",
            format!(
                "the token file has a mistake, so its last good version is in force: {mistake}"
            ),
            "correct the file; it is read again every second",
        ))
    }

    /// Returns the obstacles for `/health/startup`: the CLI and the folders. Empty if the service
    /// has started successfully.
    #[must_use]
    pub fn startup(&self) -> Vec<Obstacle> {
        self.with(|cache| {
            let cli = cache.cli.as_ref().err().cloned();
            cli.into_iter()
                .chain(cache.folders.iter().cloned())
                .collect()
        })
    }

    /// Returns every condition that would keep an execution from starting now, for `/health/ready`.
    /// Empty if the service is ready. Reads the credential's file.
    #[must_use]
    pub fn obstacles(&self) -> Vec<Obstacle> {
        self.obstacles_with(Some(&self.environment.credential()))
    }

    /// Returns the codes of all obstacles and warnings, for `/metrics`. Reads no file: the
    /// credential and the protections are those of the last check, a few seconds ago.
    pub(crate) fn conditions(&self) -> Conditions {
        let (credential, missing) = self.with(|cache| {
            let missing = cache.missing_protections.clone();
            (cache.credential.clone(), missing)
        });
        let codes = |obstacles: Vec<Obstacle>| obstacles.into_iter().map(|o| o.code);
        let obstacles = codes(self.obstacles_with(credential.as_ref())).collect();
        let own = self.tokens_warning().into_iter();
        let own = codes(own.chain(self.credential_warning()).collect());
        let warnings = own.chain(codes(self.network_warnings())).chain(missing);
        Conditions {
            obstacles,
            warnings: warnings.collect(),
        }
    }

    /// Returns the obstacles if the CLI would use this credential; `None` if it is not known.
    fn obstacles_with(&self, credential: Option<&Credential>) -> Vec<Obstacle> {
        let mut obstacles = self.startup();
        obstacles.extend(credential.and_then(|own| self.credential_obstacle(own)));
        self.with(|cache| {
            obstacles.extend(cache.unmet.iter().cloned());
            obstacles.extend(cache.disk.clone());
            if cache.reached == Some(Reached::WithoutTokens) {
                obstacles.push(obstacle::box_reaches_service());
            }
            if cache.stopping {
                obstacles.push(Obstacle::new(
                    "stopping",
                    "the service is stopping",
                    "try again in a moment",
                ));
            }
        });
        obstacles
    }

    /// Returns the obstacle for the credential. `own` is the one of this service's environment.
    fn credential_obstacle(&self, own: &Credential) -> Option<Obstacle> {
        let own = self.with(|cache| credential::of_environment(own, cache.refused.as_ref()));
        match &self.credentials {
            None => own,
            Some(credentials) => credential::of_credentials(&credentials.known(), own),
        }
    }

    /// Returns the facts about the use of the credential, for `/health/ready`. Reads files.
    pub(crate) fn credential_facts(&self) -> CredentialFacts {
        if let Some(credentials) = &self.credentials {
            let known = credentials.known();
            if known.access() != Some(Access::Own) {
                return CredentialFacts {
                    last_worked_at: known.health.last_worked_at,
                    last_refused_at: known.health.last_refused_at,
                    kind: known.kind(),
                };
            }
        }
        let kind = self.environment.credential_kind();
        self.with(|cache| CredentialFacts {
            last_worked_at: cache.worked_at,
            last_refused_at: cache.refused_at,
            kind,
        })
    }

    /// Returns the warning `credential-in-box` if the environment of this service has credentials,
    /// although `credentials` holds them or could hold them. A service outside of a container has
    /// no `credentials` beside it.
    pub(crate) fn credential_warning(&self) -> Option<Obstacle> {
        let is_used = self.credentials.is_some();
        if !is_used && !self.is_boxed {
            return None;
        }
        credential::in_box(&self.environment.credentials_in_box(), is_used)
    }

    /// Returns whether a CLI that is started now would use its own login. Reads files.
    pub(crate) fn uses_login(&self) -> bool {
        let credentials = self.credentials.as_ref();
        let access = credentials.and_then(|credentials| credentials.known().access());
        let is_own = credentials.is_none() || access == Some(Access::Own);
        is_own && self.environment.uses_login()
    }

    /// Returns the missing protections of the network, which do not keep executions from starting.
    /// `/health/ready` reports them as warnings.
    pub(crate) fn network_warnings(&self) -> Vec<Obstacle> {
        let (reached, shared) = self.with(|cache| (cache.reached, cache.shared));
        let reached = reached == Some(Reached::WithTokens);
        let reached = reached.then(obstacle::box_has_only_tokens);
        let shared = shared.then(obstacle::clients_share_the_box);
        reached.into_iter().chain(shared).collect()
    }

    /// Returns the credential that the CLI would use if it were started now. Reads files.
    #[must_use]
    pub fn credential(&self) -> Credential {
        self.environment.credential()
    }
}

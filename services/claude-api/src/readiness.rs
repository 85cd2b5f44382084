//! Readiness: whether an execution would start now. The answer is made from the cached results of
//! periodic checks, so that a request for `/health/ready` starts no process.

mod credential;
mod obstacle;

use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use tokio::sync::Notify;

use crate::cli::{Credential, Environment};
use crate::credentials::{Access, Credentials};
use crate::times::now;
pub(crate) use credential::CredentialFacts;
pub use obstacle::Obstacle;
pub(crate) use obstacle::{
    MISSING, NO_RUNNER, OBSTACLES, RUNNER_DIED, WARNINGS, no_room, no_tokens, unwritable,
};

/// The results of the last checks. `/health/ready` and `/health/startup` are answered from them.
#[derive(Debug)]
struct Cache {
    /// The result of the last check that the CLI can be started and has the expected version.
    cli: Result<(), Obstacle>,
    /// An obstacle for each folder that the service cannot write.
    folders: Vec<Obstacle>,
    /// An obstacle for each other requirement that is not met: the CLI's configuration, room on
    /// disks, the workspace, a required hook.
    unmet: Vec<Obstacle>,
    /// The obstacle on the spool's disk, such as a full disk. `None` if the spool can be written.
    disk: Option<Obstacle>,
    /// The credential that the model refused last. `None` if none was refused, or if an execution
    /// has succeeded since then.
    refused: Option<Credential>,
    /// When an execution last succeeded with the credential of this service's environment, and when
    /// that credential was last refused.
    worked_at: Option<Timestamp>,
    refused_at: Option<Timestamp>,
    /// Whether the service is shutting down.
    stopping: bool,
    /// The effect of a route by which commands of the model, in the service's own container (the
    /// box), reach the published port. `None` if there is no such route.
    reached: Option<Reached>,
    /// Whether clients outside the box share an address with it.
    shared: bool,
    /// The mistake in the token file; `None` if the version on disk is in force.
    tokens_mistake: Option<String>,
    /// The credential as the last check of the disks found it; `None` before the first.
    credential: Option<Credential>,
    /// The codes of the protections that the last check of the disks found missing.
    missing_protections: Vec<&'static str>,
}

/// The codes of all obstacles and warnings at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Conditions {
    /// The obstacles, which keep executions from starting. Empty if the service is ready.
    pub(crate) obstacles: Vec<&'static str>,
    /// The warnings.
    pub(crate) warnings: Vec<&'static str>,
}

/// The effect of a published port through which commands of the model can reach the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reached {
    /// Every request needs an access token, so the service works; the operator is warned.
    WithTokens,
    /// Nobody needs a token, so the service serves its health pages only.
    WithoutTokens,
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
        let cache = Cache {
            cli: Err(Obstacle::new(
                "cli-unchecked",
                "the CLI is still being checked",
                "wait a few seconds",
            )),
            folders: Vec::new(),
            unmet: Vec::new(),
            disk: None,
            refused: None,
            worked_at: None,
            refused_at: None,
            stopping: false,
            reached: None,
            shared: false,
            tokens_mistake: None,
            credential: None,
            missing_protections: Vec::new(),
        };
        Self {
            cache: Arc::new(Mutex::new(cache)),
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

    /// Notes whether the token file on disk is in force, or the mistake for which it is not.
    pub(crate) fn set_tokens_mistake(&self, mistake: Option<String>) {
        self.with(|cache| cache.tokens_mistake = mistake);
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

    /// Stores the credential that the CLI would use, and the missing protections, as a check found
    /// them.
    pub(crate) fn set_checked(&self, credential: Credential, missing: &[Obstacle]) {
        self.with(|cache| {
            cache.credential = Some(credential);
            cache.missing_protections = missing.iter().map(|warning| warning.code).collect();
        });
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

    /// Records that the model refused the credential of an execution, which it got from the
    /// environment of this service. `credential` is the one with which the execution was started.
    /// Readiness reports it only while the CLI would still use that one, because a newer credential
    /// has not been tried.
    pub fn credential_refused(&self, credential: Option<Credential>) {
        self.with(|cache| {
            cache.refused = credential;
            cache.refused_at = Some(now());
        });
    }

    /// Records that an execution succeeded with the credential of the environment, which removes
    /// the note of a refusal.
    pub fn credential_worked(&self) {
        self.with(|cache| {
            cache.refused = None;
            cache.worked_at = Some(now());
        });
    }

    /// Removes the note of a refused credential, because the issuer may have made the credential
    /// valid again.
    pub fn forget_refusal(&self) {
        self.with(|cache| cache.refused = None);
    }

    /// Returns the credential that the CLI would use if it were started now. Reads files.
    #[must_use]
    pub fn credential(&self) -> Credential {
        self.environment.credential()
    }

    /// Records that an execution's CLI was started, so the CLI exists and runners work. Removes a
    /// cached obstacle that says otherwise (`cli-missing`, `no-runner` or `runner-died`).
    pub fn spawned(&self) {
        self.with(|cache| {
            let ended = [MISSING, NO_RUNNER, RUNNER_DIED];
            if cache.cli.as_ref().is_err_and(|o| ended.contains(&o.code)) {
                cache.cli = Ok(());
            }
        });
    }

    /// Records that an execution could not be accepted, because writing to the spool failed with
    /// `error`. The obstacle stays until the next check of the disk, a few seconds later.
    pub fn unwritable(&self, error: &str) {
        let obstacle = unwritable(error);
        self.with(|cache| cache.disk = Some(obstacle));
    }

    /// Requests a check of the CLI now, because an execution could not be started.
    pub fn spawn_failed(&self) {
        self.recheck.notify_one();
    }

    /// Records that the spool's disk is full. The obstacle stays until the next check of the disk,
    /// a few seconds later.
    pub fn disk_full(&self) {
        let obstacle = no_room("the spool's disk is full");
        self.with(|cache| cache.disk = Some(obstacle));
    }

    /// Records that commands of the model, in the service's own container (the box), can reach the
    /// service through its published port. This holds until the process is restarted. With access
    /// tokens it is a warning, otherwise an obstacle.
    pub(crate) fn box_reaches_service(&self, has_tokens: bool) {
        let reached = match has_tokens {
            true => Reached::WithTokens,
            false => Reached::WithoutTokens,
        };
        self.with(|cache| cache.reached = Some(reached));
    }

    /// Records that clients outside the service's own container share an address with it, so that
    /// they are refused. Returns whether this is new.
    pub(crate) fn clients_share_the_box(&self) -> bool {
        self.with(|cache| !std::mem::replace(&mut cache.shared, true))
    }

    /// Records that the service is shutting down, so that it is not ready from now on.
    pub fn stop(&self) {
        self.with(|cache| cache.stopping = true);
    }

    /// Stores the result of a check of the CLI.
    pub(crate) fn set_cli(&self, cli: Result<(), Obstacle>) {
        self.with(|cache| cache.cli = cli);
    }

    /// Stores the obstacles for folders that cannot be written; none clears them.
    pub(crate) fn set_folders(&self, folders: Vec<Obstacle>) {
        self.with(|cache| cache.folders = folders);
    }

    /// Stores the obstacles for the other requirements: the CLI's configuration, room on disks, the
    /// workspace and a required hook. An empty list clears them.
    pub(crate) fn set_unmet(&self, unmet: Vec<Obstacle>) {
        self.with(|cache| cache.unmet = unmet);
    }

    /// Stores the obstacle on the spool's disk; `None` clears it.
    pub(crate) fn set_disk(&self, disk: Option<Obstacle>) {
        self.with(|cache| cache.disk = disk);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readiness(vars: &[(&str, &str)]) -> Readiness {
        let vars = vars.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
        Readiness::new(Arc::new(Environment::new(vars, &[])), None, false)
    }

    #[test]
    fn a_credential_in_a_box_without_the_service_credentials_is_a_warning() {
        let key = &[("ANTHROPIC_API_KEY", "key")][..];
        for (vars, is_boxed, is_warned) in
            [(key, true, true), (key, false, false), (&[], true, false)]
        {
            let readiness = Readiness {
                is_boxed,
                ..readiness(vars)
            };
            let warning = readiness.credential_warning();
            assert_eq!(warning.is_some(), is_warned, "{vars:?} {is_boxed}");
            if let Some(Obstacle { message, .. }) = warning {
                assert!(
                    message.contains("is not set: ANTHROPIC_API_KEY"),
                    "{message}"
                );
            }
        }
    }

    fn codes(readiness: &Readiness) -> Vec<&'static str> {
        readiness.obstacles().iter().map(|o| o.code).collect()
    }

    #[test]
    fn every_obstacle_has_its_code() {
        let readiness = readiness(&[("CLAUDE_CONFIG_DIR", "/nonexistent")]);
        assert_eq!(codes(&readiness), ["cli-unchecked", "credential-missing"]);
        readiness.set_cli(Ok(()));
        readiness.disk_full();
        readiness.box_reaches_service(false);
        readiness.stop();
        assert_eq!(
            codes(&readiness),
            [
                "credential-missing",
                "no-room",
                "box-reaches-service",
                "stopping"
            ]
        );
        let known = readiness.conditions().obstacles;
        assert_eq!(known, ["no-room", "box-reaches-service", "stopping"]);
        readiness.set_checked(readiness.credential(), &[]);
        assert_eq!(readiness.conditions().obstacles, codes(&readiness));
        assert!(
            readiness.obstacles()[0]
                .remedy
                .contains("ANTHROPIC_API_KEY")
        );
    }

    #[test]
    fn with_tokens_a_reached_service_is_ready_with_a_warning() {
        let readiness = readiness(&[("ANTHROPIC_API_KEY", "key")]);
        readiness.set_cli(Ok(()));
        let warnings = || -> Vec<_> {
            let warnings = readiness.network_warnings().into_iter();
            warnings.map(|warning| warning.code).collect()
        };
        assert_eq!(warnings(), [""; 0]);
        readiness.box_reaches_service(true);
        assert!(readiness.clients_share_the_box() && !readiness.clients_share_the_box());
        assert_eq!(codes(&readiness), [""; 0]);
        assert_eq!(warnings(), ["box-reaches-service", "clients-share-the-box"]);
        readiness.set_tokens_mistake(Some("a mistake".to_owned()));
        let open = Obstacle::new("sandbox-off", "executions run unsandboxed", "sandbox them");
        readiness.set_checked(readiness.credential(), &[open]);
        let expected = [
            "tokens-file-invalid",
            "box-reaches-service",
            "clients-share-the-box",
            "sandbox-off",
        ];
        assert_eq!(readiness.conditions().warnings, expected);
    }

    #[test]
    fn a_refused_credential_is_forgotten_after_a_success_or_a_change() {
        let dir = tempfile::tempdir().unwrap();
        let login = dir.path().join(".credentials.json");
        std::fs::write(&login, r#"{"a":1}"#).unwrap();
        let readiness = readiness(&[("CLAUDE_CONFIG_DIR", dir.path().to_str().unwrap())]);
        readiness.set_cli(Ok(()));
        assert_eq!(codes(&readiness), [""; 0]);
        readiness.credential_refused(Some(readiness.credential()));
        assert_eq!(codes(&readiness), ["credential-refused"]);
        readiness.credential_worked();
        assert_eq!(codes(&readiness), [""; 0]);
        readiness.credential_refused(Some(readiness.credential()));
        std::fs::write(&login, r#"{"a":12}"#).unwrap();
        assert_eq!(codes(&readiness), [""; 0]);
    }
}

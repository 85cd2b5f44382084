//! Whether an execution would start now, from cached answers: no probe starts a process.

mod obstacle;

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::cli::{Credential, Environment};
pub use obstacle::Obstacle;
pub(crate) use obstacle::{MISSING, NO_RUNNER, RUNNER_DIED, no_room, unwritable};

#[derive(Debug)]
struct Cache {
    cli: Result<(), Obstacle>,
    folders: Vec<Obstacle>,
    /// Obstacles other than folders that are not writable: the CLI's configuration, full disks, the
    /// workspace.
    places: Vec<Obstacle>,
    disk: Option<Obstacle>,
    /// The fingerprint of the credential that was refused.
    refused: Option<Credential>,
    stopping: bool,
    /// The box reaches the service from outside.
    reached: bool,
}

/// The cached answers. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Readiness {
    // Short, synchronous reads and writes; no await happens inside.
    cache: Arc<Mutex<Cache>>,
    environment: Arc<Environment>,
    pub(crate) recheck: Arc<Notify>,
}

impl Readiness {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(environment: Arc<Environment>) -> Self {
        let cache = Cache {
            cli: Err(Obstacle::new(
                "cli-unchecked",
                "the CLI is still being checked",
                "wait a few seconds",
            )),
            folders: Vec::new(),
            places: Vec::new(),
            disk: None,
            refused: None,
            stopping: false,
            reached: false,
        };
        Self {
            cache: Arc::new(Mutex::new(cache)),
            environment,
            recheck: Arc::new(Notify::new()),
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Cache) -> T) -> T {
        act(&mut self.cache.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What keeps the service from having started: the CLI and the folders.
    #[must_use]
    pub fn startup(&self) -> Vec<Obstacle> {
        self.with(|cache| {
            let cli = cache.cli.as_ref().err().cloned();
            cli.into_iter()
                .chain(cache.folders.iter().cloned())
                .collect()
        })
    }

    /// What keeps an execution from starting now.
    #[must_use]
    pub fn obstacles(&self) -> Vec<Obstacle> {
        let mut obstacles = self.startup();
        let credential = self.environment.credential();
        self.with(|cache| {
            match &credential {
                Credential::Missing => obstacles.push(Obstacle::new(
                    "credential-missing",
                    "the CLI has no credential",
                    "set ANTHROPIC_API_KEY or CLAUDE_CODE_OAUTH_TOKEN (from `claude setup-token`) in the environment of claude-api and \
                     start it again, or log in with the CLI in its configuration folder",
                )),
                Credential::Unreadable(why) => obstacles.push(Obstacle::new(
                    "credential-unreadable",
                    format!("the credential's file cannot be read: {why}"),
                    "make it readable for the user that claude-api runs as (scripts/up runs it as the caller; otherwise CCB_UID and CCB_GID)",
                )),
                Credential::Malformed(why) => obstacles.push(Obstacle::new(
                    "credential-malformed",
                    format!("the credential's file holds no credential: {why}"),
                    "write the credential alone on one line, as UTF-8; the next execution uses it",
                )),
                present if cache.refused.as_ref() == Some(present) => obstacles.push(Obstacle::new(
                    "credential-refused",
                    "the credential was refused when it was last used",
                    "give a valid ANTHROPIC_API_KEY or CLAUDE_CODE_OAUTH_TOKEN, or log in again",
                )),
                Credential::Present(_) => {}
            }
            obstacles.extend(cache.places.iter().cloned());
            obstacles.extend(cache.disk.clone());
            if cache.reached {
                obstacles.push(Obstacle::new(
                    "box-reaches-service",
                    "commands of the model reach this service through its published port, so only the health pages are served",
                    "set CCB_PUBLISH=127.0.0.1 (the default), or keep the container from that port with a firewall, and start it again; where \
                     the engine forwards the container to the machine's loopback (Docker Desktop), only CLAUDE_API_BOXED=false serves \
                     your clients, and then what the model runs too",
                ));
            }
            if cache.stopping {
                obstacles.push(Obstacle::new("stopping", "the service is stopping", "try again in a moment"));
            }
        });
        obstacles
    }

    /// An execution ended because its credential was refused.
    ///
    /// `credential` is the one that it was started with: a newer one was not tried.
    pub fn credential_refused(&self, credential: Option<Credential>) {
        self.with(|cache| cache.refused = credential);
    }

    /// An execution succeeded.
    pub fn credential_worked(&self) {
        self.with(|cache| cache.refused = None);
    }

    /// What the CLI would use now. Looks at a file.
    #[must_use]
    pub fn credential(&self) -> Credential {
        self.environment.credential()
    }

    /// A CLI was started: whatever the last check met has passed.
    pub fn spawned(&self) {
        self.with(|cache| {
            let passed = [MISSING, NO_RUNNER, RUNNER_DIED];
            if cache.cli.as_ref().is_err_and(|o| passed.contains(&o.code)) {
                cache.cli = Ok(());
            }
        });
    }

    /// The spool did not take an acceptance; the next look at the disk may find that it does again.
    pub fn unwritable(&self, what: &str) {
        let obstacle = unwritable(what);
        self.with(|cache| cache.disk = Some(obstacle));
    }

    /// An execution could not be started: the CLI is checked again soon.
    pub fn spawn_failed(&self) {
        self.recheck.notify_one();
    }

    /// A write met a full disk; the next look at the disk may find room again.
    pub fn disk_full(&self) {
        let obstacle = no_room("the spool's disk is full");
        self.with(|cache| cache.disk = Some(obstacle));
    }

    /// The box reaches the service from outside; that does not change before the next start.
    pub(crate) fn box_reaches_service(&self) {
        self.with(|cache| cache.reached = true);
    }

    /// The service is stopping.
    pub fn stop(&self) {
        self.with(|cache| cache.stopping = true);
    }

    pub(crate) fn set_cli(&self, cli: Result<(), Obstacle>) {
        self.with(|cache| cache.cli = cli);
    }

    pub(crate) fn set_folders(&self, folders: Vec<Obstacle>) {
        self.with(|cache| cache.folders = folders);
    }

    pub(crate) fn set_places(&self, places: Vec<Obstacle>) {
        self.with(|cache| cache.places = places);
    }

    pub(crate) fn set_disk(&self, disk: Option<Obstacle>) {
        self.with(|cache| cache.disk = disk);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readiness(vars: &[(&str, &str)]) -> Readiness {
        let vars = vars.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
        Readiness::new(Arc::new(Environment::new(vars, &[])))
    }

    fn codes(readiness: &Readiness) -> Vec<&'static str> {
        readiness.obstacles().iter().map(|o| o.code).collect()
    }

    #[test]
    fn every_obstacle_is_named() {
        let readiness = readiness(&[("CLAUDE_CONFIG_DIR", "/nonexistent")]);
        assert_eq!(codes(&readiness), ["cli-unchecked", "credential-missing"]);
        readiness.set_cli(Ok(()));
        readiness.disk_full();
        readiness.box_reaches_service();
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
        assert!(
            readiness.obstacles()[0]
                .remedy
                .contains("ANTHROPIC_API_KEY")
        );
    }

    #[test]
    fn a_refused_credential_is_forgotten_by_success_or_change() {
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

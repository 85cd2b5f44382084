//! The events that change readiness: results of checks, and what executions and requests showed.

use super::Readiness;
use super::cache::Reached;
use super::obstacle::{MISSING, NO_RUNNER, Obstacle, RUNNER_DIED, no_room, unwritable};
use crate::cli::Credential;
use crate::times::now;

impl Readiness {
    /// Notes whether the token file on disk is in force, or the mistake for which it is not.
    pub(crate) fn set_tokens_mistake(&self, mistake: Option<String>) {
        self.with(|cache| cache.tokens_mistake = mistake);
    }

    /// Stores the credential that the CLI would use, and the missing protections, as a check found
    /// them.
    pub(crate) fn set_checked(&self, credential: Credential, missing: &[Obstacle]) {
        self.with(|cache| {
            cache.credential = Some(credential);
            cache.missing_protections = missing.iter().map(|warning| warning.code).collect();
        });
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

//! What the tests of the service share: one of which no process starts.

use std::sync::Arc;

use clap::Parser;
use jiff::Timestamp;
use protocol::{Body, ExecutionId, OnInterrupt, State, Status};

use super::Service;
use super::continuation::first_status;
use crate::cli::Environment;
use crate::config::{Cli, Permissions, Settings};
use crate::execution::Accepted;
use crate::execution::accepted::Record;
use crate::execution::policy::Chain;
use crate::execution::task::begin;

/// A service whose queue stands still.
pub(crate) fn open(dir: &std::path::Path) -> Arc<Service> {
    open_with(dir, &[])
}

/// One with these flags.
pub(crate) fn open_with(dir: &std::path::Path, flags: &[&str]) -> Arc<Service> {
    let folders = [
        format!("--spool-dir={}", dir.join("spool").display()),
        format!("--workspace-root={}", dir.join("workspaces").display()),
    ];
    let flags = folders
        .into_iter()
        .chain(flags.iter().map(|&f| f.to_owned()));
    let name = "claude-api".to_owned();
    let cli = Cli::parse_from(std::iter::once(name).chain(flags));
    let settings = Settings::check(cli.serve, Vec::new()).unwrap();
    let home = ("HOME".to_owned(), dir.display().to_string());
    let environment = Environment::new([home], &[]);
    let runners = runner::Runners::new("/nonexistent".into());
    let (service, _) = Service::open(settings, environment, runners).unwrap();
    service.admission.close();
    service
}

/// One on disk that was accepted in this state, with `onInterrupt: "continue"`. It has no owner.
pub(crate) fn accepted(
    service: &Service,
    id: ExecutionId,
    state: State,
    not_before: Option<Timestamp>,
) -> ExecutionId {
    let accepted = Accepted {
        body: Body {
            on_interrupt: OnInterrupt::Continue,
            ..Body::new("x")
        },
        permissions: Permissions::default(),
        conversation: id.to_string(),
        idle_timeout_ms: 1000,
        chain: Chain::default(),
    };
    let mut status = first_status(id, &accepted);
    status.not_before = not_before;
    if state == State::Running {
        begin(&mut status);
    }
    let record = Record::encode(&status, None, service.status_bytes());
    let body = serde_json::to_vec(&accepted).unwrap();
    let digest = accepted.body.digest();
    service
        .spool
        .create(id.uuid(), &body, digest, &record)
        .unwrap();
    id
}

/// What the disk says of it.
pub(crate) fn status(service: &Service, id: ExecutionId) -> Status {
    let entry = service.spool.get(id.uuid()).unwrap().unwrap();
    Record::decode(&entry.status().unwrap()).unwrap().status
}

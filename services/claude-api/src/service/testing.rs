//! Services and executions for the tests of this crate.

use std::sync::Arc;

use clap::Parser;
use futures::FutureExt;
use jiff::Timestamp;
use protocol::{Body, ExecutionId, OnInterrupt, State, Status};
use tokio::sync::watch;

use super::Service;
use crate::cli::Environment;
use crate::config::{Cli, Permissions, Settings};
use crate::execution::Control;
use crate::execution::live::Published;
use crate::execution::owner::Owner;
use crate::execution::wish::Wishes;
use crate::registry::Ticket;
use crate::registry::record::{Accepted, Chain, Record, begin, first_status};

/// Opens a service that starts no executions.
pub(crate) fn open(dir: &std::path::Path) -> Arc<Service> {
    open_with(dir, &[])
}

/// Opens a service with these flags.
pub(crate) fn open_with(dir: &std::path::Path, flags: &[&str]) -> Arc<Service> {
    open_with_runner(dir, flags, "/nonexistent".into())
}

/// Opens a service with these flags, which starts `runner` as its runner.
pub(crate) fn open_with_runner(
    dir: &std::path::Path,
    flags: &[&str],
    runner: std::path::PathBuf,
) -> Arc<Service> {
    let folders = [
        format!("--spool-dir={}", dir.join("spool").display()),
        format!("--workspace-root={}", dir.join("workspaces").display()),
    ];
    let flags = folders
        .into_iter()
        .chain(flags.iter().map(|&flag| flag.to_owned()));
    let name = "claude-api".to_owned();
    let cli = Cli::parse_from(std::iter::once(name).chain(flags));
    let settings = Settings::check(cli.serve, Vec::new()).unwrap();
    let home = ("HOME".to_owned(), dir.display().to_string());
    let environment = Environment::new([home], &[]);
    let runners = runner::Runners::new(runner);
    let (service, _) = Service::open(settings, environment, runners).unwrap();
    service.engine.registry.close();
    service
}

/// Creates an execution without an owner on disk, in this state, with `onInterrupt: "continue"`.
pub(crate) fn accepted(service: &Service, state: State) -> ExecutionId {
    create(service, ExecutionId::random(), state, None, None)
}

/// Creates an execution like [`accepted`], with this id, which may not start before this time.
pub(crate) fn accepted_as(
    service: &Service,
    id: ExecutionId,
    state: State,
    not_before: Option<Timestamp>,
) -> ExecutionId {
    create(service, id, state, not_before, None)
}

/// Creates a policy's continuation of `old`, which has no end yet.
pub(crate) fn continuation(service: &Service, old: ExecutionId) -> ExecutionId {
    create(
        service,
        ExecutionId::random(),
        State::Queued,
        None,
        Some(old),
    )
}

fn create(
    service: &Service,
    id: ExecutionId,
    state: State,
    not_before: Option<Timestamp>,
    continues: Option<ExecutionId>,
) -> ExecutionId {
    let accepted = Accepted {
        principal: None,
        body: Body {
            on_interrupt: OnInterrupt::Continue,
            continues,
            ..Body::new("x")
        },
        permissions: Permissions::default(),
        conversation: id.to_string(),
        forked_from: None,
        idle_timeout_ms: 1000,
        chain: Chain::default(),
        trace: None,
    };
    let mut status = first_status(id, &accepted);
    status.not_before = not_before;
    if state == State::Running {
        let at = status.created_at;
        begin(&mut status, at);
    }
    let registry = &service.engine.registry;
    let id_lock = registry.lock_id(id).now_or_never().expect("a free id");
    let digest = accepted.body.digest();
    registry
        .accept(&id_lock, &accepted, digest, &status)
        .unwrap();
    id
}

/// Returns the files of an execution.
pub(crate) fn entry(service: &Service, id: ExecutionId) -> spool::Entry {
    let lookup = service.engine.registry.find(id).unwrap();
    lookup.into_option().expect("an accepted execution")
}

/// Reads the status of an execution from the disk.
pub(crate) fn status(service: &Service, id: ExecutionId) -> Status {
    let entry = entry(service, id);
    Record::decode(&entry.status().unwrap()).unwrap().status
}

/// Creates an owner of an accepted execution, to which these controls were sent already, and its
/// ticket.
pub(crate) fn owner(
    service: &Arc<Service>,
    id: ExecutionId,
    controls: &[Control],
) -> (Owner, Ticket) {
    let entry = entry(service, id);
    let accepted: Accepted = serde_json::from_slice(&entry.body().unwrap()).unwrap();
    let accepted_status = status(service, id);
    let (publish, _) = watch::channel(Published {
        status: Arc::new(accepted_status),
        before: std::time::Duration::ZERO,
        since: None,
    });
    let wishes = Arc::new(Wishes::new(false));
    for control in controls {
        wishes.apply(*control).unwrap();
    }
    let ticket = service.engine.registry.restore(id, &accepted, false);
    let engine = Arc::clone(&service.engine);
    let owner = Owner::new(engine, accepted, entry, publish, wishes, None, None);
    (owner, ticket)
}

/// Waits for the terminal status of an execution, live or ended.
pub(crate) async fn end(service: &Service, id: ExecutionId) -> Status {
    match service.live(id) {
        Some(live) => live.ended().await.unwrap(),
        None => status(service, id),
    }
}

/// Lists the executions on disk except this one.
pub(crate) fn others(service: &Service, id: ExecutionId) -> Vec<ExecutionId> {
    let ids = service.engine.registry.page(None, 100, None).unwrap().ids;
    ids.into_iter().filter(|other| *other != id).collect()
}

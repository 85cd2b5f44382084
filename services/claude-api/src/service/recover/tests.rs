//! What a start makes of what a kill left.

use std::sync::Arc;

use clap::Parser;
use protocol::{Body, OnInterrupt, Reason, State, Status};

use super::*;
use crate::cli::Environment;
use crate::config::{Cli, Permissions, Settings};
use crate::execution::policy::Chain;
use crate::execution::task::begin;
use crate::service::continuation::first_status;

/// A service of which nothing starts.
fn open(dir: &std::path::Path) -> Arc<Service> {
    let flags = [
        format!("--spool-dir={}", dir.join("spool").display()),
        format!("--workspace-root={}", dir.join("workspaces").display()),
    ];
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

/// One that was accepted in this state, with `onInterrupt: "continue"`.
fn accepted(service: &Service, state: State) -> ExecutionId {
    let id = ExecutionId::random();
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

fn cancel(service: &Service, id: ExecutionId) {
    let entry = service.spool.get(id.uuid()).unwrap().unwrap();
    entry.note_cancel().unwrap();
}

fn status(service: &Service, id: ExecutionId) -> Status {
    let entry = service.spool.get(id.uuid()).unwrap().unwrap();
    Record::decode(&entry.status().unwrap()).unwrap().status
}

#[tokio::test]
async fn an_accepted_cancel_is_neither_run_nor_continued() {
    let dir = tempfile::tempdir().unwrap();
    let before = open(dir.path());
    let [queued, running, waits, interrupted] =
        [State::Queued, State::Running, State::Queued, State::Running]
            .map(|state| accepted(&before, state));
    cancel(&before, queued);
    cancel(&before, running);
    drop(before);
    let service = open(dir.path());
    service.recover().unwrap();
    for id in [queued, running] {
        let end = status(&service, id);
        assert_eq!(
            (end.state, end.reason, end.exit_code, end.continued_by),
            (State::Cancelled, None, None, None)
        );
        assert!(end.ended_at.is_some() && end.crc32.is_some());
        assert!(service.live(id).is_none(), "it was put into the queue");
    }
    assert_eq!(status(&service, waits).state, State::Queued);
    let end = status(&service, interrupted);
    assert_eq!(
        (end.state, end.reason),
        (State::Interrupted, Some(Reason::ServiceStopped))
    );
    let next = end.continued_by.expect("its policy says so");
    assert!(service.live(waits).is_some() && service.live(next).is_some());
    assert_eq!(service.admission.counts(), (2, 0));
}

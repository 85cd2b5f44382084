use std::sync::Arc;

use clap::Parser;
use grants::{GrantHash, Registration};

use super::*;
use crate::config::{Cli, ModelAccess};
use crate::forward::Forwarder;
use crate::forward::record::Ledger;
use crate::reports::Reports;
use crate::table::{Session, Table};
use crate::upstream::Upstream;

const ASK: &str =
    "POST /v1/messages HTTP/1.1\r\nhost: a\r\nx-api-key: g\r\ncontent-length: 2\r\n\r\n";
const LIVE: &str = "GET /health/live HTTP/1.1\r\nhost: a\r\n\r\n";

/// Returns what the decisions need, without a control connection.
fn context() -> Context {
    let variables = [
        ("ANTHROPIC_BASE_URL", "http://127.0.0.1:1"),
        ("ANTHROPIC_API_KEY", "k"),
    ];
    let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let cli = Cli::try_parse_from(["credentials"]).unwrap();
    let settings = cli.serve.check(&variables.map(owned).into()).unwrap();
    let ModelAccess {
        secrets,
        custom,
        connector,
    } = settings.access;
    Context {
        table: Table::default(),
        forwarder: Arc::new(Forwarder {
            upstream: Upstream::new(connector),
            secrets,
            custom,
            allowed: settings.allowed,
            ledger: Arc::new(Ledger {
                prices: settings.prices,
                reports: Reports::default(),
            }),
        }),
    }
}

/// Puts the grant `g` in force. Dropping the result ends that.
fn synced(context: &Context) -> Session {
    let session = context.table.connect();
    let is_registered = session.register(Registration {
        execution_id: "e".to_owned(),
        hash: GrantHash::of("g"),
        principal: None,
        max_cost_usd: Some(1.0),
        spent_usd: 0.0,
    });
    assert!(is_registered);
    session.synced();
    session
}

/// Returns the status of a refusal. `None` if the request is not refused.
fn refused(context: &Context, head: &str, is_local: bool) -> Option<u16> {
    let decision = decide(context, head.as_bytes(), is_local);
    decision.err().map(|refusal| refusal.status.as_u16())
}

#[test]
fn only_this_machine_may_ask_whether_the_service_lives() {
    let context = context();
    assert_eq!(refused(&context, LIVE, true), None);
    assert_eq!(refused(&context, LIVE, false), Some(404));
}

#[test]
fn each_denial_of_a_grant_has_its_status() {
    let context = context();
    assert_eq!(refused(&context, ASK, true), Some(503));
    let session = synced(&context);
    assert_eq!(refused(&context, ASK, false), None);
    let other = ASK.replace("x-api-key: g", "x-api-key: h");
    assert_eq!(refused(&context, &other, true), Some(401));
    let open: Vec<_> = (0..16).map(|_| context.table.open(Some("g"))).collect();
    assert!(open.iter().all(Result::is_ok));
    assert_eq!(refused(&context, ASK, true), Some(429));
    drop(open);
    session.exhaust("e");
    assert_eq!(refused(&context, ASK, true), Some(402));
}

#[test]
fn a_body_must_be_there_exactly_when_the_method_has_one() {
    let context = context();
    let _session = synced(&context);
    let empty = ASK.replace("content-length: 2", "content-length: 0");
    assert_eq!(refused(&context, &empty, false), Some(400));
    let models = ASK.replace("POST /v1/messages", "GET /v1/models");
    assert_eq!(refused(&context, &models, false), Some(400));
    let models = models.replace("content-length: 2\r\n", "");
    assert_eq!(refused(&context, &models, false), None);
}

//! The checks of every HTTP request before its handler: the client's address, the box, `Host` and
//! `Origin`, and whether the bridge serves anybody at all.

use std::net::{IpAddr, Ipv6Addr};

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use protocol::guard::reads_health;

use super::app::App;
use super::audit::AuditedRequest;
use super::connections::Connection;
use super::peer::{Client, bad_forwarded_for};
use super::problems::{Refused, foreign as foreign_page};

/// Checks the access of every HTTP request before its handler runs, and determines its client.
/// Counts each refused request in `/metrics`, and writes an audit line if it was refused for a
/// reason of access.
pub(super) async fn guard(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let audited = AuditedRequest::new(request.method(), request.uri().path());
    let connection = request.extensions_mut().remove::<Connection>();
    let peer = connection.as_ref().map(|connection| connection.peer);
    let (response, client) = match check(&app, connection, &mut request).await {
        Ok(()) => {
            let client = Client::of(&request).address;
            (next.run(request).await, Some(client))
        }
        Err((refusal, client)) => (*refusal, client),
    };
    if let Some(Refused(kind)) = response.extensions().get() {
        app.shared.viewer.metrics.refused(kind);
    }
    let unknown = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    let client = client.or(peer).unwrap_or(unknown);
    app.audit.record(client, &audited, &response);
    response
}

/// Determines the client of a request and stores it as an extension. Refuses requests from
/// claude-api's container and requests whose `Host` or `Origin` header is not allowed. Refuses all
/// requests of an exposed bridge. Health pages may be read from anywhere, so that probes work.
///
/// # Errors
/// The response that refuses the request, and the address of the client if it is known.
async fn check(
    app: &App,
    connection: Option<Connection>,
    request: &mut Request,
) -> Result<(), (Box<Response>, Option<IpAddr>)> {
    let is_health_page = reads_health(request.method(), request.uri());
    let mut client = None;
    if let Some(connection) = connection
        && !is_health_page
    {
        let headers = request.headers().clone();
        let determined = Client::determine(connection, &headers, &app.proxies).await;
        let (determined, addresses) =
            determined.map_err(|error| (Box::new(bad_forwarded_for(&error)), None))?;
        client = Some(determined.address);
        if let Some(refusal) = app.boxed.refusal(&addresses).await {
            return Err((Box::new(refusal), client));
        }
        request.extensions_mut().insert(determined);
    }
    if let Err(foreign) = app.guard.check(request.uri(), request.headers()) {
        return Err((Box::new(foreign_page(&foreign)), client));
    }
    match app.access.exposed_refusal() {
        Some(refusal) if !is_health_page => Err((Box::new(refusal), client)),
        _ => Ok(()),
    }
}

//! The MCP server on `/mcp`, over streamable HTTP. Inside the bridge it acts as a WebSocket client
//! of the bridge over loopback. So MCP clients get the same bytes, states and refusals as WebSocket
//! clients.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::StreamExt;
use http::StatusCode;
use http::header::AUTHORIZATION;
use http_body_util::BodyExt;
use hyper::body::Body as HttpBody;
use mcp::OnRefusal;
use mcp::http::{Caller, HttpSettings, Refusal, Service};
use protocol::{Problem, ProblemType};
use tokio_util::sync::CancellationToken;

use super::access::{Admission, Purpose, no_answer, presented, unauthorized};
use super::app::App;
use super::peer::Client;
use super::problems::{Refused, problem_page};
use crate::access::grant::Grant;
use crate::config::Mcp;
use crate::metrics::Metrics;
use crate::metrics::mcp_reasons::{BAD_REQUEST, MEDIA_TYPE, NOT_FOUND, SERVER_ERROR};

/// The parameters of the MCP server on `/mcp`: the address of this bridge, which the MCP server
/// uses as a client, and the limits of requests.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// The address on which the bridge listens.
    pub address: SocketAddr,
    /// The operator's limits of simultaneous MCP calls and sessions.
    pub settings: Mcp,
    /// The longest HTTP request body that `/mcp` accepts, in bytes.
    pub body_bytes: usize,
    /// The most memory for all request bodies of `/mcp` that are being received or handled, in
    /// bytes.
    pub inbound_bytes: usize,
}

impl Endpoint {
    /// Returns the address at which this process reaches its own listener. It is the loopback
    /// address if the bridge listens on all addresses, and otherwise the listener's own address.
    fn loopback(&self) -> SocketAddr {
        let ip = match self.address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        SocketAddr::new(ip, self.address.port())
    }

    /// Returns the value of the `Host` header that the MCP server sends to the bridge, so that the
    /// bridge can allow it. `None` for a loopback address, which is always allowed. A web page
    /// cannot use this value for DNS rebinding, because it is an address and not a name.
    #[must_use]
    pub fn own_host(&self) -> Option<String> {
        match self.loopback().ip() {
            ip if ip == Ipv4Addr::LOCALHOST || ip == Ipv6Addr::LOCALHOST => None,
            IpAddr::V4(ip) => Some(ip.to_string()),
            IpAddr::V6(ip) => Some(format!("[{ip}]")),
        }
    }

    /// Creates the MCP server. It counts the requests that it refuses in `metrics`. Cancelling
    /// `stop` ends its calls.
    #[must_use]
    pub fn service(self, metrics: Arc<Metrics>, stop: CancellationToken) -> Service {
        let mut settings = mcp::Settings::new(format!("ws://{}/ws", self.loopback()));
        settings.calls = self.settings.calls;
        settings.calls_per_principal = self.settings.calls_per_principal;
        settings.progress = self.settings.progress;
        settings.on_refusal = OnRefusal::new(move |reason| metrics.refused(reason));
        let http = HttpSettings {
            body_bytes: self.body_bytes,
            inbound_bytes: self.inbound_bytes,
            sessions: self.settings.sessions,
            sessions_per_principal: self.settings.sessions_per_principal,
            stop,
        };
        Service::new(settings, http)
    }
}

/// Returns the reason for `/metrics` if the MCP library answered with an HTTP error status. `None`
/// for any other status, which is not a refusal.
fn refused(status: StatusCode) -> Option<&'static str> {
    match status {
        StatusCode::NOT_FOUND => Some(NOT_FOUND),
        StatusCode::METHOD_NOT_ALLOWED => Some(ProblemType::MethodNotAllowed.as_str()),
        StatusCode::NOT_ACCEPTABLE | StatusCode::UNSUPPORTED_MEDIA_TYPE => Some(MEDIA_TYPE),
        status if status.is_client_error() => Some(BAD_REQUEST),
        status if status.is_server_error() => Some(SERVER_ERROR),
        _ => None,
    }
}

/// Handles an HTTP request to `/mcp`. A client without a valid token gets 401, 403 or 429. A
/// request that the MCP library refuses is counted in `/metrics`. A refusal before that, such as a
/// body that is too large, becomes a problem object.
pub async fn handle(State(app): State<App>, mut request: Request) -> Response {
    let presented = match presented(request.headers(), false) {
        Ok(presented) => presented,
        Err(detail) => return unauthorized(detail),
    };
    let client = Client::of(&request).address;
    let admission = app
        .access
        .admit(&presented, None, client, Purpose::Executions);
    let grant = match Box::pin(admission).await {
        Admission::Granted(grant) => grant,
        Admission::Refused(response) => return *response,
        Admission::NoAnswer => return no_answer(),
    };
    // The MCP library keeps the head of a request, and needs no secret of it.
    request.headers_mut().remove(AUTHORIZATION);
    request.extensions_mut().insert(Caller {
        token: presented.credential().map(|token| token.secret().clone()),
        principal: grant.principal().cloned(),
        quota: grant.quota().cloned(),
        share: grant.me().share,
    });
    match app.mcp.handle(request).await {
        Ok(response) => {
            let response =
                response.map(|body| until_revoked(body, grant, app.shared.shutdown.clone()));
            let refused = refused(response.status()).map(Refused);
            let mut response = response.into_response();
            refused.map(|refused| response.extensions_mut().insert(refused));
            response
        }
        Err(refusal) => {
            let (kind, setting) = match &refusal {
                Refusal::TooLarge(_) => (ProblemType::TooLarge, None),
                Refusal::Incomplete | Refusal::Malformed(_) => (ProblemType::InvalidBody, None),
                Refusal::InboundFull => (ProblemType::InboundFull, Some("BRIDGE_INBOUND_BYTES")),
                Refusal::TooManySessions(_) => {
                    (ProblemType::TooManyMcpSessions, Some("BRIDGE_MCP_SESSIONS"))
                }
                Refusal::Stopping => (ProblemType::Stopping, None),
            };
            let detail = match setting {
                Some(setting) => format!("{refusal}; an operator can raise {setting}"),
                None => refusal.to_string(),
            };
            let mut problem = Problem::new(kind, detail);
            if let Refusal::Malformed(malformed) = refusal {
                // The problem is also a JSON-RPC error, for clients that read nothing else.
                let response = serde_json::to_value(malformed.response()).unwrap_or_default();
                let members = response.as_object().cloned().unwrap_or_default();
                problem.extra.extend(members);
            }
            problem_page(&problem)
        }
    }
}

/// Returns the body of a response, changed so that it ends when the token of its client is no
/// longer valid. Otherwise a stream of MCP would stay open. When the bridge stops (`stop`), the
/// body continues: the MCP server answers its calls first.
fn until_revoked(
    body: impl HttpBody<Data = Bytes, Error = Infallible> + Send + 'static,
    grant: Arc<Grant>,
    stop: CancellationToken,
) -> Body {
    let revoked = grant.revoked().clone();
    let revoked = async move {
        revoked.cancelled().await;
        if stop.is_cancelled() {
            std::future::pending::<()>().await;
        }
    };
    let frames = body.into_data_stream().take_until(Box::pin(revoked));
    // The grant is held, so that claude-api is asked about the token while the stream is open.
    Body::from_stream(frames.inspect(move |_| {
        let _ = &grant;
    }))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn local(address: &str) -> Endpoint {
        Endpoint {
            address: address.parse().unwrap(),
            settings: Mcp {
                calls: 1,
                calls_per_principal: 1,
                sessions: 1,
                sessions_per_principal: 1,
                progress: Duration::from_secs(1),
            },
            body_bytes: 1,
            inbound_bytes: 1,
        }
    }

    #[test]
    fn the_bridge_reaches_itself_wherever_it_listens() {
        for (listens, reached, host) in [
            ("127.0.0.1:1", "127.0.0.1:1", None),
            ("0.0.0.0:1", "127.0.0.1:1", None),
            ("[::]:1", "[::1]:1", None),
            ("10.0.0.5:1", "10.0.0.5:1", Some("10.0.0.5")),
            ("[fd00::5]:1", "[fd00::5]:1", Some("[fd00::5]")),
        ] {
            let local = local(listens);
            assert_eq!(local.loopback().to_string(), reached);
            assert_eq!(local.own_host().as_deref(), host);
        }
    }
}

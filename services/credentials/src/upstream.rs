//! The connections to the model's API: HTTP/1.1, over TLS unless the API has a loopback or private
//! address, and through the operator's proxy if there is one.
//!
//! - [`origin`] is the address of the API, which is fixed at the start.
//! - [`proxy`] is the operator's proxy.
//! - [`body`] is the body of a request.
//! - [`tls`] collects the certificates that are trusted.
//! - [`connect`] opens a connection, and [`pool`] keeps it between two requests.

pub mod body;
pub mod connect;
pub mod origin;
pub mod pool;
pub mod proxy;
pub mod tls;

use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;

use body::RequestBody;
use connect::{ConnectError, Connector};
use origin::Origin;
use pool::{Lease, Owner, Pool};

/// The reason why the API did not answer.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// No connection could be opened.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The connection broke before the head of the answer, or the head is malformed.
    #[error("the connection to the API broke before its answer: {0}")]
    Broken(#[source] hyper::Error),
}

/// The client of the model's API. Clones share the connections.
#[derive(Debug, Clone)]
pub struct Upstream(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    connector: Connector,
    pool: Pool,
}

impl Upstream {
    /// Creates the client of the API that `connector` reaches. Opens no connection.
    #[must_use]
    pub fn new(connector: Connector) -> Self {
        Self(Arc::new(Inner {
            connector,
            pool: Pool::default(),
        }))
    }

    /// Returns the address of the API.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        self.0.connector.origin()
    }

    /// Sends a request of an execution, and returns the head of its answer with the connection. The
    /// request target must be a path. There is no time limit for the answer; dropping the future
    /// ends the request.
    ///
    /// A request that could not be written to a connection of the pool, because the API had closed
    /// it, is sent again on another one.
    ///
    /// # Errors
    /// No connection could be opened within 10 s, or it broke before the head of the answer.
    pub async fn send(
        &self,
        mut request: Request<RequestBody>,
        owner: &Owner,
    ) -> Result<(Response<Incoming>, Lease), UpstreamError> {
        loop {
            let (mut connection, is_new) = match self.0.pool.take(&owner.execution_id) {
                Some(connection) => (connection, false),
                None => (self.0.connector.open(&owner.ended).await?, true),
            };
            match connection.sender.try_send_request(request).await {
                Ok(response) => return Ok((response, self.0.pool.lease(connection, owner))),
                Err(mut error) => match error.take_message() {
                    Some(unsent) if !is_new => request = unsent,
                    _ => return Err(UpstreamError::Broken(error.into_error())),
                },
            }
        }
    }
}

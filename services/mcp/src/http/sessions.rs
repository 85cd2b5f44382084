//! The MCP sessions of the HTTP side: the library's, with a limit on their number.
//!
//! Places for sessions ([`super::HttpSettings::sessions`]):
//! - Taken when: an `initialize` has been read, before the library sees it. Released when the
//!   session ends, or when the `initialize` fails.
//! - Who waits behind whom: nobody. When all places are taken, the session that has been idle for
//!   the longest time ends, and its client gets 404 and begins a new one. Without an idle session
//!   the `initialize` is refused with 503. A session is idle while it has no open response and no
//!   running request.
//! - The other direction: a session queues 16 messages each way. A client that does not read one of
//!   its streams holds up its own session only.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rmcp::model::{ClientJsonRpcMessage, ClientRequest, ErrorCode, ServerJsonRpcMessage};
use rmcp::transport::streamable_http_server::session::local::{
    LocalSessionManager, LocalSessionManagerError,
};
use rmcp::transport::streamable_http_server::session::{
    ServerSseMessage, SessionId, SessionManager,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_stream::{Stream, StreamExt};
use tokio_util::either::Either;

use crate::failure::{INVALID_REQUEST, MISSING_CAPABILITY, UNKNOWN_METHOD};
use crate::requests::Requests;
use crate::settings::OnRefusal;

/// The library's sessions, each with a place.
#[derive(Debug)]
pub(super) struct Sessions {
    inner: LocalSessionManager,
    places: Arc<Semaphore>,
    table: Arc<Table>,
    on_refusal: OnRefusal,
}

/// The open sessions. A session that is not in it does not exist, even if the library still ends
/// it.
#[derive(Debug, Default)]
struct Table {
    // A plain lock: held for a look into the map, never over an await.
    open: Mutex<HashMap<SessionId, Entry>>,
}

#[derive(Debug)]
struct Entry {
    _place: OwnedSemaphorePermit,
    requests: Requests,
    /// Open responses and running requests.
    uses: usize,
    idle_since: Instant,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.requests.end();
    }
}

impl Table {
    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Entry>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes the session that has been idle for the longest time.
    fn remove_idle(&self) -> Option<SessionId> {
        let mut open = self.lock();
        let idle = open.iter().filter(|(_, entry)| entry.uses == 0);
        let (id, _) = idle.min_by_key(|(_, entry)| entry.idle_since)?;
        let id = id.clone();
        open.remove(&id);
        Some(id)
    }
}

/// A place for the session of one `initialize`, in the extensions of its HTTP request.
#[derive(Debug, Clone)]
pub(super) struct Place(Arc<Mutex<Option<OwnedSemaphorePermit>>>);

impl Place {
    /// The place that `initialize` carries, unless it was taken before.
    fn of(initialize: &ClientJsonRpcMessage) -> Option<OwnedSemaphorePermit> {
        let ClientJsonRpcMessage::Request(request) = initialize else {
            return None;
        };
        let ClientRequest::InitializeRequest(request) = &request.request else {
            return None;
        };
        let parts = request.extensions.get::<http::request::Parts>()?;
        let Self(place) = parts.extensions.get::<Self>()?;
        place.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A use of a session, which is not idle until all its uses are dropped.
#[derive(Debug)]
pub(super) struct Use {
    table: Arc<Table>,
    id: SessionId,
}

impl Drop for Use {
    fn drop(&mut self) {
        if let Some(entry) = self.table.lock().get_mut(&self.id) {
            entry.uses -= 1;
            entry.idle_since = Instant::now();
        }
    }
}

impl Sessions {
    pub(super) fn new(inner: LocalSessionManager, most: usize, on_refusal: OnRefusal) -> Self {
        Self {
            inner,
            places: Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS))),
            table: Arc::default(),
            on_refusal,
        }
    }

    /// Takes a place for a new session; ends an idle session for it where all places are taken.
    pub(super) async fn place(&self) -> Option<Place> {
        loop {
            if let Ok(place) = self.places.clone().try_acquire_owned() {
                return Some(Place(Arc::new(Mutex::new(Some(place)))));
            }
            let idle = self.table.remove_idle()?;
            tracing::debug!("all places for MCP sessions are taken; ending the one idle longest");
            if let Err(error) = self.inner.close_session(&idle).await {
                tracing::debug!(%error, "could not close an idle MCP session");
            }
        }
    }

    /// The requests of an open session.
    fn requests(&self, id: &SessionId) -> Result<Requests, LocalSessionManagerError> {
        let open = self.table.lock();
        let entry = open.get(id);
        entry
            .map(|entry| entry.requests.clone())
            .ok_or_else(|| LocalSessionManagerError::SessionNotFound(id.clone()))
    }

    /// Uses an open session. None when there is no such session.
    pub(super) fn enter(&self, id: &str) -> Option<Use> {
        let mut open = self.table.lock();
        let (id, _) = open.get_key_value(id)?;
        let id = id.clone();
        open.get_mut(&id)?.uses += 1;
        let table = self.table.clone();
        Some(Use { table, id })
    }
}

/// The reason of a refusal that only the library knows of.
fn refusal(message: &ServerSseMessage) -> Option<&'static str> {
    let ServerJsonRpcMessage::Error(error) = message.message.as_deref()? else {
        return None;
    };
    match error.error.code {
        ErrorCode::METHOD_NOT_FOUND => Some(UNKNOWN_METHOD),
        ErrorCode::MISSING_REQUIRED_CLIENT_CAPABILITY => Some(MISSING_CAPABILITY),
        _ => None,
    }
}

impl SessionManager for Sessions {
    type Error = LocalSessionManagerError;
    type Transport = <LocalSessionManager as SessionManager>::Transport;

    async fn create_session(&self) -> Result<(SessionId, Self::Transport), Self::Error> {
        self.inner.create_session().await
    }

    async fn initialize_session(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<ServerJsonRpcMessage, Self::Error> {
        let Some(place) = Place::of(&message) else {
            // Every `initialize` that begins a session has a place; another one gets no session.
            self.inner.close_session(id).await?;
            return Err(LocalSessionManagerError::SessionNotFound(id.clone()));
        };
        let entry = Entry {
            _place: place,
            requests: Requests::default(),
            uses: 0,
            idle_since: Instant::now(),
        };
        self.table.lock().insert(id.clone(), entry);
        let _use = self.enter(id);
        self.inner.initialize_session(id, message).await
    }

    async fn has_session(&self, id: &SessionId) -> Result<bool, Self::Error> {
        Ok(self.table.lock().contains_key(id))
    }

    /// The library calls it for every session that ends, also for one that ended by itself.
    async fn close_session(&self, id: &SessionId) -> Result<(), Self::Error> {
        self.table.lock().remove(id);
        self.inner.close_session(id).await
    }

    async fn create_stream(
        &self,
        id: &SessionId,
        mut message: ClientJsonRpcMessage,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Self::Error> {
        let handled = match &mut message {
            ClientJsonRpcMessage::Request(request) => match self.requests(id)?.begin(request) {
                Ok(handled) => Some(handled),
                Err(malformed) => {
                    self.on_refusal.call(INVALID_REQUEST);
                    let refused = ServerSseMessage::from_message(malformed.response());
                    return Ok(Either::Left(tokio_stream::once(refused)));
                }
            },
            _ => None,
        };
        let on_refusal = self.on_refusal.clone();
        let stream = self.inner.create_stream(id, message).await?;
        Ok(Either::Right(stream.map(move |message| {
            // The id is free when the answer was routed here, or the stream is lost.
            let _ = &handled;
            if let Some(reason) = refusal(&message) {
                on_refusal.call(reason);
            }
            message
        })))
    }

    async fn accept_message(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<(), Self::Error> {
        match message {
            // The server asks its clients for nothing, so there is nothing to answer.
            ClientJsonRpcMessage::Response(_) | ClientJsonRpcMessage::Error(_) => Ok(()),
            message => self.inner.accept_message(id, message).await,
        }
    }

    async fn create_standalone_stream(
        &self,
        id: &SessionId,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Self::Error> {
        self.inner.create_standalone_stream(id).await
    }

    async fn resume(
        &self,
        id: &SessionId,
        last_event_id: String,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Self::Error> {
        self.inner.resume(id, last_event_id).await
    }
}

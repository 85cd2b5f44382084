//! The MCP sessions over HTTP. The MCP library (rmcp) implements them; this module limits their
//! number.
//!
//! Each session needs a permit, which is called a slot (`HttpSettings::sessions` is their number):
//! - An `initialize` acquires a slot before the library reads it. The slot is released when the
//!   session ends, or when the `initialize` fails.
//! - No session waits for a slot. If all slots are in use, the session that has been idle for the
//!   longest time ends. Its client gets 404 (Not Found) and begins a new session. If no session is
//!   idle, the `initialize` is refused with 503 (Service Unavailable). A session is idle while it
//!   has no open response and no running request.
//! - Each principal has a limit of its own, and so have its shares. An idle session may be ended
//!   for a new one of the same principal. It is ended for a new one of another principal only if
//!   its own principal has more sessions than that one.
//! - A session belongs to the principal that began it. For everybody else it does not exist.
//! - A session queues 16 messages in each direction. A client that does not read one of its streams
//!   delays only its own session.

mod table;

use std::sync::{Arc, Mutex, PoisonError};

use rmcp::model::{ClientJsonRpcMessage, ClientRequest, ErrorCode, ServerJsonRpcMessage};
use rmcp::transport::streamable_http_server::session::local::{
    LocalSessionManager, LocalSessionManagerError,
};
use rmcp::transport::streamable_http_server::session::{
    ServerSseMessage, SessionId, SessionManager,
};
use tokio::sync::Semaphore;
use tokio_stream::{Stream, StreamExt};
use tokio_util::either::Either;

use crate::caller::Owner;
use crate::failure::{INVALID_REQUEST, MISSING_CAPABILITY, UNKNOWN_METHOD};
use crate::owner_counts::OwnerCounts;
use crate::settings::OnRefusal;
pub(super) use table::ForeignSession;
use table::{Slot, Table, Use};

/// The MCP sessions over HTTP, which the MCP library (rmcp) manages. Each has a slot, one of a
/// limited number of permits.
#[derive(Debug)]
pub(super) struct Sessions {
    inner: LocalSessionManager,
    slots: Arc<Semaphore>,
    max: usize,
    /// The sessions of each owner.
    by_owner: OwnerCounts,
    table: Arc<Table>,
    on_refusal: OnRefusal,
}

/// The slot (permit) that an `initialize` request has acquired for its new session. It travels in
/// the extensions of the HTTP request until the session is created.
#[derive(Debug, Clone)]
pub(super) struct SessionSlot(Arc<Mutex<Option<Slot>>>);

impl SessionSlot {
    /// Takes the slot out of an `initialize` request. `None` if the message has no slot, or if the
    /// slot was already taken.
    fn take(initialize: &ClientJsonRpcMessage) -> Option<Slot> {
        let ClientJsonRpcMessage::Request(request) = initialize else {
            return None;
        };
        let ClientRequest::InitializeRequest(request) = &request.request else {
            return None;
        };
        let parts = request.extensions.get::<http::request::Parts>()?;
        let Self(slot) = parts.extensions.get::<Self>()?;
        slot.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Sessions {
    pub(super) fn new(
        inner: LocalSessionManager,
        max: usize,
        per_owner: usize,
        on_refusal: OnRefusal,
    ) -> Self {
        Self {
            inner,
            max,
            by_owner: OwnerCounts::new(per_owner),
            slots: Arc::new(Semaphore::new(max.min(Semaphore::MAX_PERMITS))),
            table: Arc::default(),
            on_refusal,
        }
    }

    /// Acquires a slot for a new session of this owner. If all slots are in use, first ends an idle
    /// session, as [`Table::remove_idle`] selects it. An owner at its own limit loses its own.
    ///
    /// # Errors
    /// The limit that is reached, if no session may be ended for the new one.
    pub(super) async fn acquire_slot(&self, owner: &Owner) -> Result<SessionSlot, usize> {
        loop {
            let of_owner = self.by_owner.begin(owner);
            let is_own_limit = of_owner.is_none();
            let permit = self.slots.clone().try_acquire_owned().ok();
            if let (Some(permit), Some(of_owner)) = (permit, of_owner) {
                let slot = Slot::new(owner.clone(), permit, of_owner);
                return Ok(SessionSlot(Arc::new(Mutex::new(Some(slot)))));
            }
            let idle = self.table.remove_idle(owner, is_own_limit);
            let limit = if is_own_limit {
                self.by_owner.limit_of(owner)
            } else {
                self.max
            };
            let idle = idle.ok_or(limit)?;
            tracing::debug!(
                "the limit on MCP sessions is reached; ending the session that has been idle \
                 longest, to make room for a new one"
            );
            if let Err(error) = self.inner.close_session(&idle).await {
                tracing::debug!(
                    %error,
                    "could not close an idle MCP session cleanly; its slot is free all the same"
                );
            }
        }
    }

    /// Marks an open session as in use until the result is dropped, so that it is not ended as
    /// idle. `None` if there is no session with this id.
    ///
    /// # Errors
    /// The session belongs to another owner.
    pub(super) fn enter(&self, id: &str, owner: &Owner) -> Result<Option<Use>, ForeignSession> {
        self.table.enter(id, owner)
    }
}

/// Returns whether a message on a response stream is the answer to the request, which ends the
/// stream, and not a notification before it.
fn is_answer(message: &ServerSseMessage) -> bool {
    matches!(
        message.message.as_deref(),
        Some(ServerJsonRpcMessage::Response(_) | ServerJsonRpcMessage::Error(_))
    )
}

/// Returns the reason for the metrics if this message is an error with which the MCP library itself
/// refused a request. `None` for every other message.
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
        let Some(slot) = SessionSlot::take(&message) else {
            // Only an `initialize` with a slot may begin a session.
            self.inner.close_session(id).await?;
            return Err(LocalSessionManagerError::SessionNotFound(id.clone()));
        };
        let owner = slot.owner().clone();
        self.table.add(id.clone(), slot);
        let _use = self.enter(id, &owner);
        self.inner.initialize_session(id, message).await
    }

    async fn has_session(&self, id: &SessionId) -> Result<bool, Self::Error> {
        Ok(self.table.has(id))
    }

    /// Ends a session, removes it from the table and releases its slot. The MCP library calls this
    /// for every session that ends, for example also after an idle hour.
    async fn close_session(&self, id: &SessionId) -> Result<(), Self::Error> {
        self.table.remove(id);
        self.inner.close_session(id).await
    }

    async fn create_stream(
        &self,
        id: &SessionId,
        mut message: ClientJsonRpcMessage,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Self::Error> {
        let mut handled = match &mut message {
            ClientJsonRpcMessage::Request(request) => {
                let requests = self.table.requests(id);
                let requests = requests
                    .ok_or_else(|| LocalSessionManagerError::SessionNotFound(id.clone()))?;
                match requests.begin(request) {
                    Ok(handled) => Some(handled),
                    Err(malformed) => {
                        self.on_refusal.call(INVALID_REQUEST);
                        let refused = ServerSseMessage::from_message(malformed.response());
                        return Ok(Either::Left(tokio_stream::once(refused)));
                    }
                }
            }
            _ => None,
        };
        let on_refusal = self.on_refusal.clone();
        let stream = self.inner.create_stream(id, message).await?;
        Ok(Either::Right(stream.map(move |message| {
            if is_answer(&message) {
                // The client may use the id again once it has the answer.
                handled.take();
            }
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
        // A response to an `elicitation/create`. The library ignores others.
        self.inner.accept_message(id, message).await
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

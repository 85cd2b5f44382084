//! The limit on concurrent MCP calls. Each call opens its own connection to the bridge, and needs a
//! permit for it, which is called a slot.
//!
//! - A call acquires its slot before it connects to the bridge. It releases the slot when it ends,
//!   or when its response stream is closed. The client may resume the stream, so the call then
//!   continues without a slot.
//! - Calls that receive the output of an execution have their own slots, and all other calls have
//!   as many again. An execution can therefore be cancelled while all slots for output are in use.
//! - No call waits for a slot. If none is free, the call is refused immediately.
//! - Each principal has a limit of its own, so that it cannot use up all slots.
//! - A result has at most [`crate::Settings::text_bytes`] of output. A client that does not read
//!   its progress notifications delays only the calls of its own session; the executions continue.

use std::sync::Arc;

use client::{Client, Options};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::Settings;
use crate::caller::{Caller, Owner};
use crate::failure::Failure;
use crate::owner_counts::{OwnerCounts, OwnerUse};

/// The kind of an MCP call, which decides the limit that it counts against.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Purpose {
    /// The call receives the output of an execution, possibly until the execution ends (`execute`,
    /// `wait`, `output`, a resource's output).
    View,
    /// The call sends one short request to the bridge and returns its answer.
    Request,
}

/// The limits on concurrent MCP calls, which all sessions share. A call acquires a slot (a permit)
/// of its kind.
#[derive(Debug, Clone)]
pub(crate) struct Slots {
    settings: Arc<Settings>,
    views: Arc<Semaphore>,
    requests: Arc<Semaphore>,
    /// The calls of each owner, of the two kinds.
    by_owner: [OwnerCounts; 2],
    /// The owner of the calls.
    owner: Owner,
    /// The options of the connections to the bridge, with the token of the caller.
    options: Options,
}

/// A running MCP call, with its slot and its own connection to the bridge. Dropping it releases the
/// slot.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) client: Client,
    slot: Option<(OwnedSemaphorePermit, OwnerUse)>,
}

impl Call {
    /// Waits until the response stream of the call is closed, so that the slot can be released.
    /// Waits forever if the slot was released before. Cancel-safe.
    pub(crate) async fn stream_closed(&self, closed: &CancellationToken) {
        if self.slot.is_none() {
            std::future::pending::<()>().await;
        }
        closed.cancelled().await;
    }

    /// Releases the slot, so that another call can begin. This call continues without a slot.
    pub(crate) fn release_slot(&mut self) {
        self.slot = None;
    }
}

impl Slots {
    pub(crate) fn new(settings: Arc<Settings>) -> Self {
        let slots = || Arc::new(Semaphore::new(settings.calls.min(Semaphore::MAX_PERMITS)));
        Self {
            views: slots(),
            requests: slots(),
            by_owner: [(); 2].map(|()| OwnerCounts::new(settings.calls_per_principal)),
            owner: Owner::default(),
            options: settings.client.clone(),
            settings,
        }
    }

    /// Returns the slots for the calls of this caller. Its token is sent to the bridge, and its
    /// calls count for its principal. The limits stay shared with all others.
    pub(crate) fn of(&self, caller: &Caller) -> Self {
        Self {
            owner: Owner::from(caller),
            options: Options {
                token: caller.token.clone(),
                ..self.options.clone()
            },
            ..self.clone()
        }
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Acquires a slot of this kind and connects to the bridge. Fails immediately if no slot is
    /// free.
    ///
    /// # Errors
    /// All slots of this kind are in use, or the bridge does not answer or refuses the connection.
    pub(crate) async fn call(&self, purpose: Purpose) -> Result<Call, Failure> {
        let slot = self.acquire(purpose)?;
        let client = Client::connect(&self.settings.url, self.options.clone()).await?;
        Ok(Call {
            client,
            slot: Some(slot),
        })
    }

    /// Acquires a slot, connects to the bridge, sends one request, and closes the connection after
    /// the answer.
    ///
    /// # Errors
    /// All slots for short requests are in use, or the bridge does not answer or refuses the
    /// request.
    pub(crate) async fn request<T>(
        &self,
        request: impl AsyncFnOnce(&Client) -> Result<T, client::Error>,
    ) -> Result<T, Failure> {
        let call = self.call(Purpose::Request).await?;
        let answer = request(&call.client).await?;
        call.client.close().await;
        Ok(answer)
    }

    fn acquire(&self, purpose: Purpose) -> Result<(OwnedSemaphorePermit, OwnerUse), Failure> {
        let [views, requests] = &self.by_owner;
        let (slots, by_owner) = match purpose {
            Purpose::View => (&self.views, views),
            Purpose::Request => (&self.requests, requests),
        };
        let of_owner = by_owner.begin(&self.owner);
        let of_owner =
            of_owner.ok_or_else(|| Failure::too_many_calls(by_owner.limit_of(&self.owner)))?;
        let slot = slots.clone().try_acquire_owned();
        let slot = slot.map_err(|_| Failure::too_many_calls(self.settings.calls))?;
        Ok((slot, of_owner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_without_a_free_slot_is_refused_and_views_leave_slots_for_requests() {
        let settings = Settings {
            calls: 1,
            ..Settings::new("ws://127.0.0.1:1/ws")
        };
        let slots = Slots::new(Arc::new(settings));
        let first = slots.acquire(Purpose::View).unwrap();
        let refusal = slots.acquire(Purpose::View).unwrap_err().into_result();
        assert_eq!(
            refusal.structured_content.unwrap()["reason"],
            "too_many_calls"
        );
        let _request = slots.acquire(Purpose::Request).unwrap();
        drop(first);
        assert!(slots.acquire(Purpose::View).is_ok());
    }

    #[test]
    fn a_principal_at_its_limit_leaves_slots_for_others() {
        let settings = Settings {
            calls: 2,
            calls_per_principal: 1,
            ..Settings::new("ws://127.0.0.1:1/ws")
        };
        let slots = Slots::new(Arc::new(settings));
        let of = |name: &str| {
            slots.of(&Caller {
                token: name.parse().ok(),
                principal: Some(name.into()),
                share: None,
                quota: None,
            })
        };
        let _first = of("a").acquire(Purpose::View).unwrap();
        assert!(of("a").acquire(Purpose::View).is_err());
        assert!(of("a").acquire(Purpose::Request).is_ok());
        assert!(of("b").acquire(Purpose::View).is_ok());
        let token = of("b").options.token;
        assert_eq!(token.as_ref().map(protocol::Secret::expose), Some("b"));
    }
}

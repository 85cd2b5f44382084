//! Places for calls: how many run at once, and the connection that each one has.
//!
//! - Taken when: a call starts, before it connects to the bridge; released when the call ends, or
//!   when its response stream is lost. The client may resume the stream, so the call continues.
//!   Calls that view an execution and all other calls have the same number of places each, so that
//!   an execution can be cancelled while all views are taken.
//! - Who waits behind whom: nobody. Without a free place the call is refused at once.
//! - The other direction: a result holds at most [`crate::Settings::text_bytes`] of output. A client
//!   that does not read its progress holds up the calls of its own session only; the executions
//!   continue.

use std::sync::Arc;

use client::Client;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::Settings;
use crate::failure::Failure;

/// What a call does with its connection.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Purpose {
    /// It views an execution, for as long as the execution runs.
    View,
    /// It asks for one answer.
    Ask,
}

#[derive(Debug, Clone)]
pub(crate) struct Places {
    settings: Arc<Settings>,
    views: Arc<Semaphore>,
    asks: Arc<Semaphore>,
}

/// One call: a place, and a WebSocket session of its own.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) client: Client,
    place: Option<OwnedSemaphorePermit>,
}

impl Call {
    /// Waits until the place can be given back, because `lost` says that nobody reads the result now.
    /// Waits for ever once the place is given back. Cancel-safe.
    pub(crate) async fn lost(&self, lost: &CancellationToken) {
        if self.place.is_none() {
            std::future::pending::<()>().await;
        }
        lost.cancelled().await;
    }

    /// Gives the place back; the call continues without one.
    pub(crate) fn give_back(&mut self) {
        self.place = None;
    }
}

impl Places {
    pub(crate) fn new(settings: Arc<Settings>) -> Self {
        let places = || Arc::new(Semaphore::new(settings.calls.min(Semaphore::MAX_PERMITS)));
        Self {
            views: places(),
            asks: places(),
            settings,
        }
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Takes a place and connects to the bridge.
    ///
    /// # Errors
    /// All places are taken, or the bridge does not answer.
    pub(crate) async fn call(&self, purpose: Purpose) -> Result<Call, Failure> {
        let place = self.place(purpose)?;
        let client = Client::connect(&self.settings.url, self.settings.client.clone()).await?;
        Ok(Call {
            client,
            place: Some(place),
        })
    }

    /// Asks the bridge one question, on a connection of its own.
    ///
    /// # Errors
    /// As [`Places::call`]; or the bridge refuses.
    pub(crate) async fn ask<T>(
        &self,
        question: impl AsyncFnOnce(&Client) -> Result<T, client::Error>,
    ) -> Result<T, Failure> {
        let call = self.call(Purpose::Ask).await?;
        let answer = question(&call.client).await?;
        call.client.close().await;
        Ok(answer)
    }

    fn place(&self, purpose: Purpose) -> Result<OwnedSemaphorePermit, Failure> {
        let places = match purpose {
            Purpose::View => &self.views,
            Purpose::Ask => &self.asks,
        };
        let place = places.clone().try_acquire_owned();
        place.map_err(|_| Failure::too_many_calls(self.settings.calls))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_call_too_many_is_refused_and_views_leave_places_for_questions() {
        let settings = Settings {
            calls: 1,
            ..Settings::new("ws://127.0.0.1:1/ws")
        };
        let places = Places::new(Arc::new(settings));
        let first = places.place(Purpose::View).unwrap();
        let refusal = places.place(Purpose::View).unwrap_err().into_result();
        assert_eq!(
            refusal.structured_content.unwrap()["reason"],
            "too_many_calls"
        );
        let _ask = places.place(Purpose::Ask).unwrap();
        drop(first);
        assert!(places.place(Purpose::View).is_ok());
    }
}

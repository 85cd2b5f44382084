//! The sender of webhooks: it signs an event, checks the receiver's address, and makes one request.
//!
//! claude-api has the queue and decides about retries. This service has the secrets, because
//! claude-api shares its container with the commands of the model. It checks every order:
//!
//! 1. The URL's host and port must be on the operator's list. claude-api has the same list, but
//!    this one decides.
//! 2. The name is resolved once. If any address of the answer is not public, the attempt fails,
//!    unless the list names that address, too.
//! 3. The connection goes to one of the checked addresses, never to a name. TLS checks the name.
//! 4. No proxy is used, and no redirect is followed. At most 64 KiB of the answer are read, and
//!    dropped.
//!
//! An attempt takes at most 10 s, with all steps.

mod addresses;
mod args;
mod resolve;
mod secrets;
mod send;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use grants::{Delivered, Delivery};
use jiff::Timestamp;
use protocol::webhook::{SignedHeaders, WebhookHosts, WebhookUrl};
use rustls::ClientConfig;
use tokio::sync::Semaphore;
use tokio::time::timeout;

pub use args::WebhookArgs;
use resolve::{Resolve, System};

/// The time for one attempt, from the look-up of the name to the end of the answer.
const ATTEMPT_TIME: Duration = Duration::from_secs(10);
/// The maximum number of attempts in progress. claude-api starts at most 32; this bound does not
/// depend on that.
const ATTEMPTS: usize = 64;

/// The sender of webhooks. An attempt takes a place when its order arrives, and frees it after 10 s
/// at most. Without a free place, the attempt fails at once, and claude-api retries later.
pub struct Sender {
    hosts: WebhookHosts,
    secrets_file: Option<PathBuf>,
    tls: Arc<ClientConfig>,
    resolver: Box<dyn Resolve>,
    places: Semaphore,
    attempt_time: Duration,
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("hosts", &self.hosts)
            .finish_non_exhaustive()
    }
}

/// The reason why an attempt failed. The text has no secret and no path of the URL.
#[derive(Debug, thiserror::Error)]
enum AttemptError {
    /// The URL cannot be used.
    #[error("the URL cannot be used: {0}")]
    Url(#[from] protocol::webhook::BadUrl),
    /// The receiver is not on the operator's list.
    #[error("{0} is not on the list of receivers (CREDENTIALS_WEBHOOK_HOSTS)")]
    NotListed(String),
    /// There is no usable secret.
    #[error(transparent)]
    Secrets(#[from] secrets::SecretsError),
    /// The receiver has no address that may be used.
    #[error(transparent)]
    Resolve(#[from] resolve::ResolveError),
    /// The request failed.
    #[error(transparent)]
    Send(#[from] send::SendError),
    /// The receiver answered with a status outside of 200 to 299.
    #[error("the receiver answered with status {0}{hint}", hint = hint(*.0))]
    Status(u16),
    /// The attempt took too long.
    #[error("the attempt took longer than 10 s")]
    Time,
    /// All places are taken.
    #[error("too many attempts are in progress")]
    TooMany,
}

/// Returns advice about a status that a wrong URL often causes.
fn hint(status: u16) -> &'static str {
    match status {
        300..=399 => "; redirects are not followed, so the URL must be the final one",
        _ => "",
    }
}

impl AttemptError {
    /// Returns whether no later attempt can succeed.
    fn is_final(&self) -> bool {
        // The operator may add a receiver to this service's list later, as to claude-api's before.
        matches!(self, Self::Url(_) | Self::Status(410))
    }
}

impl Sender {
    /// Creates the sender from checked settings. `tls` has the certificates that are trusted.
    #[must_use]
    pub fn new(args: &WebhookArgs, tls: Arc<ClientConfig>) -> Self {
        Self {
            hosts: args.webhook_hosts.clone(),
            secrets_file: args.webhook_secrets_file.clone(),
            tls,
            resolver: Box::new(System),
            places: Semaphore::new(ATTEMPTS),
            attempt_time: ATTEMPT_TIME,
        }
    }

    /// Makes one attempt to deliver an event, and returns the result. Takes at most 10 s. A dropped
    /// call cuts the request; the receiver may have handled it.
    pub async fn deliver(&self, delivery: Delivery) -> Delivered {
        let result = match self.places.try_acquire() {
            Ok(_place) => timeout(self.attempt_time, Box::pin(self.attempt(&delivery)))
                .await
                .unwrap_or(Err(AttemptError::Time)),
            Err(_) => Err(AttemptError::TooMany),
        };
        match result {
            Ok(()) => Delivered::Accepted,
            Err(error) if error.is_final() => Delivered::Refused {
                reason: error.to_string(),
            },
            Err(error) => Delivered::Failed {
                reason: error.to_string(),
            },
        }
    }

    async fn attempt(&self, delivery: &Delivery) -> Result<(), AttemptError> {
        let url: WebhookUrl = delivery.url.parse()?;
        if !self.hosts.allows(&url) {
            return Err(AttemptError::NotListed(url.authority()));
        }
        let principal = delivery.principal.as_deref();
        let secrets = secrets::read(self.secrets_file.as_deref(), principal).await?;
        let addresses = resolve::checked(&*self.resolver, &url, &self.hosts).await?;
        let body = serde_json::to_vec(&delivery.payload).unwrap_or_default();
        let headers = SignedHeaders::sign(&secrets, &delivery.id, Timestamp::now(), &body);
        let tls = Arc::clone(&self.tls);
        let status = send::post(&url, &addresses, tls, &headers, body).await?;
        match status {
            200..=299 => Ok(()),
            other => Err(AttemptError::Status(other)),
        }
    }
}

#[cfg(test)]
mod tests;

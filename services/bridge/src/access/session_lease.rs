//! The session token of a redeemed ticket, which is valid only while its session is open.

use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::credential::Credential;
use crate::upstream::Upstream;

/// The pause before a failed renewal is repeated (5 s), unless the usual one is shorter.
const RETRY: Duration = Duration::from_secs(5);

/// Keeps the token of a session valid that began with a ticket: it renews the token until the lease
/// is dropped, and then ends it. The grant of the session holds the lease, and so do all calls that
/// the session leaves behind, such as the cancel of an execution that nobody views.
///
/// claude-api ends a token that nobody renews for 2 min. So a bridge that crashes leaves no token
/// behind, and an end that does not reach claude-api is only late.
#[derive(Debug)]
pub struct SessionLease {
    /// Ends the task that renews the token.
    _dropped: DropGuard,
}

impl SessionLease {
    /// Starts to renew a token, once in each `interval`. `renewal` is the secret that renews it,
    /// and `upstream` a client for claude-api without a token.
    #[must_use]
    pub fn start(upstream: &Upstream, renewal: &Credential, interval: Duration) -> Self {
        let upstream = upstream.with_authorization(renewal.authorization());
        let dropped = CancellationToken::new();
        let held = dropped.clone();
        tokio::spawn(async move {
            held.run_until_cancelled(renew(&upstream, interval)).await;
            if let Err(failure) = upstream.end_session().await {
                tracing::debug!(
                    error = failure.logged(),
                    "could not end the token of a session; claude-api ends it within 2 min"
                );
            }
        });
        Self {
            _dropped: dropped.drop_guard(),
        }
    }
}

/// Renews a token until claude-api says that it has ended. Then waits forever: the judge ends the
/// session, because claude-api refuses the token.
async fn renew(upstream: &Upstream, interval: Duration) {
    let mut pause = interval;
    loop {
        sleep(pause).await;
        pause = match upstream.renew_session().await {
            Ok(()) => interval,
            Err(failure) if failure.is_transient() => interval.min(RETRY),
            Err(failure) => {
                tracing::debug!(
                    error = failure.logged(),
                    "claude-api does not renew the token of a session any more"
                );
                return std::future::pending().await;
            }
        };
    }
}

//! Shares: tokens that open one execution. Their hashes are stored in the folder of the execution,
//! and a deletion of the execution ends them.

use std::sync::Arc;

use protocol::access::{Share, ShareRequest};
use protocol::{ExecutionId, Problem, ProblemType};
use uuid::Uuid;

use super::find::visible;
use super::{Service, spool_unwritable};
use crate::access::shares::Shares;
use crate::access::{Caller, Right};

impl Service {
    /// Creates a share of an execution. It is on disk when this returns.
    ///
    /// # Errors
    /// - 409 `wrong-state` without a token file, because everybody opens every execution then.
    /// - 409 `wrong-state` if the execution has too many shares.
    /// - 400 `invalid-body` for a lifetime that is out of range.
    /// - 401 `unauthorized` if the client's token has ended meanwhile.
    /// - 507 `spool-unwritable`, 500 `internal`, and the errors of [`Service::find`].
    pub(crate) async fn share(
        self: &Arc<Self>,
        caller: &Caller,
        id: ExecutionId,
        request: ShareRequest,
    ) -> Result<Share, Problem> {
        let now = self.engine.access.clock.now();
        let add = move |shares: &mut Shares| shares.add(id, request, now);
        let share = self.change_shares(caller, id, add).await?;
        let (token, principal) = (caller.name(), caller.principal());
        let expires = share.expires.to_string();
        let role = share.role.role().as_str();
        tracing::info!(target: "audit", token, principal, execution = %id, role, expires, "shared");
        Ok(share)
    }

    /// Ends a share of an execution. Its open streams end within 6 s.
    ///
    /// # Errors
    /// 404 `not-found` if the execution has no such share, and the errors of [`Service::share`].
    pub(crate) async fn end_share(
        self: &Arc<Self>,
        caller: &Caller,
        id: ExecutionId,
        share: Uuid,
    ) -> Result<(), Problem> {
        let remove = move |shares: &mut Shares| {
            if shares.remove(share) {
                return Ok(());
            }
            let detail = format!("execution {id} has no share {share}; it may have ended already");
            Err(Problem::new(ProblemType::NotFound, detail))
        };
        self.change_shares(caller, id, remove).await?;
        let (token, principal) = (caller.name(), caller.principal());
        tracing::info!(target: "audit", token, principal, execution = %id, %share, "ended a share");
        Ok(())
    }

    /// Changes the shares of an execution on disk. One change of an execution at a time.
    async fn change_shares<T: Send + 'static>(
        self: &Arc<Self>,
        caller: &Caller,
        id: ExecutionId,
        change: impl FnOnce(&mut Shares) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        if !self.engine.access.has_tokens() {
            return Err(Problem::new(
                ProblemType::WrongState,
                "this service has no token file, so every client opens every execution; give the \
                 execution's id instead of a share",
            ));
        }
        let id_lock = self.engine.registry.lock_id(id).await;
        // After the body and the lock, which may have taken a while.
        let caller = self.recheck(caller, Right::Own).await?;
        let known = self.look_up(id).await?;
        let view = visible(known, &caller, id)?;
        let entry = view.entry().clone();
        let changed = spool::blocking::run(move || {
            let _id_lock = id_lock;
            let damaged = |error: &dyn std::fmt::Display| {
                tracing::error!(
                    execution = %id,
                    %error,
                    "could not read the shares of an execution"
                );
                Problem::new(
                    ProblemType::Internal,
                    "the shares of the execution cannot be read; the log of claude-api says why",
                )
            };
            let json = entry.shares().map_err(|error| damaged(&error))?;
            let mut shares = Shares::parse(&json).map_err(|error| damaged(&error))?;
            let result = change(&mut shares)?;
            entry.write_shares(&shares.to_json()).map_err(|error| {
                tracing::warn!(
                    execution = %id,
                    %error,
                    "could not write the shares of an execution"
                );
                spool_unwritable()
            })?;
            Ok(result)
        });
        let failed = |_| Problem::new(ProblemType::Internal, "the change of the shares failed");
        changed.await.map_err(failed)?
    }
}

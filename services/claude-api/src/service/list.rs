//! The list of all executions, running and ended, in pages.

use std::sync::Arc;

use protocol::{ExecutionId, Problem, ProblemType};

use super::{Service, not_found, problem};
use crate::access::{Caller, Right};
use crate::registry::{NotListed, Page};

impl Service {
    /// Returns one page of the list of the executions that the client sees, newest first: at most
    /// `limit` ids of executions that were accepted before the execution `before`. Without
    /// `before`, the page begins with the newest execution.
    ///
    /// # Errors
    /// 403 `forbidden` if the client may not list; 404 `not-found` if the execution `before` is
    /// unknown or belongs to another principal; or a disk error.
    pub(crate) async fn page(
        self: &Arc<Self>,
        caller: &Caller,
        before: Option<ExecutionId>,
        limit: usize,
    ) -> Result<Page, Problem> {
        caller.check(Right::List)?;
        let owner = (!caller.sees_all()).then(|| caller.owner());
        let service = Arc::clone(self);
        let page = move || service.engine.registry.page(before, limit, owner);
        let page = spool::blocking::run(page);
        match page.await {
            Ok(Ok(page)) => Ok(page),
            Ok(Err(NotListed::UnknownBefore(before))) => Err(not_found(before)),
            Ok(Err(NotListed::Failed(failure))) => Err(problem(&failure)),
            Err(_) => Err(Problem::new(ProblemType::Internal, "listing failed")),
        }
    }
}

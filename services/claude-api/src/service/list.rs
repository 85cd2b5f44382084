//! The list of all executions, running and ended, in pages.

use std::sync::Arc;

use protocol::{ExecutionId, Problem, ProblemType};

use super::{Service, not_found, problem};
use crate::registry::{NotListed, Page};

impl Service {
    /// Returns one page of the list of executions: at most `limit` ids of executions that were
    /// accepted before the execution `before`, newest first. Without `before`, the page begins with
    /// the newest execution.
    ///
    /// # Errors
    /// 404 `not-found` if the execution `before` is unknown, or a disk error.
    pub async fn page(
        self: &Arc<Self>,
        before: Option<ExecutionId>,
        limit: usize,
    ) -> Result<Page, Problem> {
        let service = Arc::clone(self);
        let page = spool::blocking::run(move || service.engine.registry.page(before, limit));
        match page.await {
            Ok(Ok(page)) => Ok(page),
            Ok(Err(NotListed::UnknownBefore(before))) => Err(not_found(before)),
            Ok(Err(NotListed::Failed(failure))) => Err(problem(&failure)),
            Err(_) => Err(Problem::new(ProblemType::Internal, "listing failed")),
        }
    }
}

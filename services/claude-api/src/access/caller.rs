//! The client of a request, and what it may do.

use std::sync::Arc;

use protocol::access::{Role, ShareRole};
use protocol::{ExecutionId, Me, Problem, ProblemType, SecretHash};
use spool::Owner;

use super::subject::Subject;
use super::table::TokenRow;

/// A right of a client, which one kind of request needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Right {
    /// To read one execution: status, output, events.
    View,
    /// To pause, resume and cancel one execution, and to send input to it.
    Control,
    /// To list executions.
    List,
    /// To start executions, to delete them, and to share them.
    Own,
    /// To read the metrics of the service.
    Metrics,
}

/// The client of a request, as its token says. Every request that concerns executions names it.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    kind: Kind,
    /// The hash of the session token that the request has. `None` if it has another secret, or
    /// none.
    session_token: Option<SecretHash>,
}

#[derive(Debug, Clone)]
enum Kind {
    /// Any client of a service without a token file.
    Anyone,
    /// The holder of a token.
    Token(Arc<TokenRow>),
    /// The holder of a share.
    Share {
        id: ExecutionId,
        /// The owner of the execution.
        owner: Owner,
        role: ShareRole,
        expires: jiff::Timestamp,
        hash: SecretHash,
    },
}

impl From<Kind> for Caller {
    fn from(kind: Kind) -> Self {
        Self {
            kind,
            session_token: None,
        }
    }
}

impl Caller {
    /// Creates the client of a service without a token file, who may do everything.
    pub(crate) fn anyone() -> Self {
        Self::from(Kind::Anyone)
    }

    /// Creates the holder of a token of the operator's file.
    pub(crate) fn token(row: Arc<TokenRow>) -> Self {
        Self::from(Kind::Token(row))
    }

    /// Creates the holder of a share of the execution `id` of this owner. `hash` is that of the
    /// share's token.
    pub(crate) fn share(
        id: ExecutionId,
        owner: Owner,
        role: ShareRole,
        expires: jiff::Timestamp,
        hash: SecretHash,
    ) -> Self {
        Self::from(Kind::Share {
            id,
            owner,
            role,
            expires,
            hash,
        })
    }

    /// Returns the client with the hash of the session token with which it sent the request.
    pub(crate) fn with_session_token(self, hash: Option<SecretHash>) -> Self {
        Self {
            session_token: hash,
            ..self
        }
    }

    /// Returns the hash of the session token that the request has. `None` if it has another secret.
    pub(crate) fn session_token(&self) -> Option<SecretHash> {
        self.session_token
    }

    /// Returns the token or share that the client's secret stands for. `None` without a token file.
    pub(crate) fn subject(&self) -> Option<Subject> {
        match &self.kind {
            Kind::Anyone => None,
            Kind::Token(row) => Some(Subject::Token(row.token.sha256)),
            Kind::Share { id, hash, .. } => Some(Subject::Share(*id, *hash)),
        }
    }

    /// Returns the row of the client's token, if it has a token of the operator's file.
    pub(crate) fn row(&self) -> Option<&Arc<TokenRow>> {
        match &self.kind {
            Kind::Token(row) => Some(row),
            Kind::Anyone | Kind::Share { .. } => None,
        }
    }

    /// Returns the answer to `GET /v1/me`, without the keys of its quota.
    pub(crate) fn me(&self) -> Me {
        match &self.kind {
            Kind::Anyone => Me::without_tokens(),
            Kind::Token(row) => Me {
                principal: Some(row.token.principal.clone()),
                role: row.token.role,
                name: Some(row.token.name.clone()),
                expires: row.token.expires,
                share: None,
                quota: None,
                share_quota: None,
            },
            Kind::Share {
                id, role, expires, ..
            } => Me {
                principal: None,
                role: role.role(),
                name: None,
                expires: Some(*expires),
                share: Some(*id),
                quota: None,
                share_quota: None,
            },
        }
    }

    /// Returns the principal to whom new executions of this client belong. `None` without a token
    /// file, and for a share, which starts none.
    pub(crate) fn principal(&self) -> Option<&str> {
        self.row().map(|row| row.token.principal.as_str())
    }

    /// Returns the owner of the client's new executions, as the spool stores it.
    pub(crate) fn owner(&self) -> Owner {
        self.principal().map_or(Owner::NONE, Owner::of)
    }

    /// Returns the owner against whose part of shared resources a request counts. The holder of a
    /// share counts for the principal that shared, which otherwise could get more than its part.
    pub(crate) fn quota(&self) -> Owner {
        match &self.kind {
            Kind::Share { owner, .. } => *owner,
            Kind::Anyone | Kind::Token(_) => self.owner(),
        }
    }

    /// Returns whether the executions of every principal are visible to the client.
    pub(crate) fn sees_all(&self) -> bool {
        match &self.kind {
            Kind::Anyone => true,
            Kind::Token(row) => row.token.role == Role::Admin,
            Kind::Share { .. } => false,
        }
    }

    /// Returns whether the execution `id` of this owner is visible to the client. An execution that
    /// is not visible does not exist for it.
    pub(crate) fn sees(&self, id: ExecutionId, owner: Owner) -> bool {
        match &self.kind {
            Kind::Share { id: shared, .. } => *shared == id,
            Kind::Anyone | Kind::Token(_) => self.sees_all() || owner == self.owner(),
        }
    }

    /// Returns whether the client is the holder of a share.
    pub(crate) fn is_share(&self) -> bool {
        matches!(self.kind, Kind::Share { .. })
    }

    /// Returns whether the client reads metrics and nothing else.
    pub(crate) fn has_only_metrics(&self) -> bool {
        matches!(&self.kind, Kind::Token(row) if row.token.role == Role::Metrics)
    }

    /// Checks that the client has a right.
    ///
    /// # Errors
    /// 403 `forbidden`, with the role that would be needed.
    pub(crate) fn check(&self, right: Right) -> Result<(), Problem> {
        let may = match (&self.kind, right) {
            (Kind::Anyone, _) => true,
            (Kind::Token(row), Right::View | Right::List) => row.token.role.may_view(),
            (Kind::Token(row), Right::Control | Right::Own) => row.token.role.may_control(),
            (Kind::Token(row), Right::Metrics) => row.token.role.may_read_metrics(),
            (Kind::Share { .. }, Right::View) => true,
            (Kind::Share { role, .. }, Right::Control) => *role == ShareRole::Control,
            (Kind::Share { .. }, Right::List | Right::Own | Right::Metrics) => false,
        };
        if may {
            return Ok(());
        }
        let role = self.me().role.as_str();
        let detail = match (&self.kind, right) {
            (Kind::Share { .. }, Right::List | Right::Own | Right::Metrics) => {
                "a share opens one execution alone; use a token of the operator for this".to_owned()
            }
            (_, Right::Metrics) => {
                format!("the role {role} cannot read metrics; use a token of the role metrics")
            }
            (_, Right::Control | Right::Own) => format!(
                "the role {role} cannot start, control, delete or share executions; use a token of \
                 the role control"
            ),
            (_, Right::View | Right::List) => {
                format!("the role {role} cannot read executions; use a token of the role view")
            }
        };
        Err(Problem::new(ProblemType::Forbidden, detail))
    }

    /// Checks that the client may use a workspace.
    ///
    /// # Errors
    /// 403 `forbidden`, with the workspaces that the token permits.
    pub(crate) fn check_workspace(&self, workspace: &str) -> Result<(), Problem> {
        let Some(row) = self.row() else {
            return Ok(());
        };
        if row.token.allows_workspace(workspace) {
            return Ok(());
        }
        let allowed = row.token.workspaces.join(", ");
        Err(Problem::new(
            ProblemType::Forbidden,
            format!("this token may not use the workspace {workspace:?}, only {allowed}"),
        ))
    }

    /// Returns the name of the client for the audit log: the name of its token, `share`, or `-`.
    pub(crate) fn name(&self) -> &str {
        match &self.kind {
            Kind::Anyone => "-",
            Kind::Token(row) => &row.token.name,
            Kind::Share { .. } => "share",
        }
    }
}

#[cfg(test)]
mod tests;

//! Access: who a client is, and what it may do (docs/protocol.md, "Access").
//!
//! ```text
//! request ─▶ Authorization ─▶ Service::authenticate ─▶ Caller ─▶ every call of the service
//!                                      │
//!            token_file ─▶ table ──────┤
//!            (read each second)        ├── share, in the execution's folder (shares)
//!                                      └── session token of a redeemed ticket (session_tokens)
//! ```
//!
//! - [`token_file`] parses the operator's file, [`table`] finds tokens by their hash, [`source`]
//!   holds the table in force, and [`reload`] notices changes of the file.
//! - [`subject`] is the token or share that a secret stands for.
//! - [`caller`] has the rights of a client.
//! - [`tickets`] and [`session_tokens`] let web pages open WebSocket sessions. Both are kept in an
//!   [`allotted_table`].
//! - [`quota_keys`] are the keys by which bridges count principals and shares.
//! - [`shares`] are the tokens of single executions.
//! - [`spending`] counts the costs of each principal and day.
//! - [`clock`] is a wall clock that never goes back.
//! - [`guarded`] counts wrong tokens and writes the audit log.

mod allotted_table;
pub(crate) mod caller;
pub(crate) mod clock;
pub(crate) mod guarded;
pub(crate) mod quota_keys;
pub(crate) mod reload;
pub(crate) mod session_tokens;
pub(crate) mod shares;
pub(crate) mod source;
pub(crate) mod spending;
pub(crate) mod subject;
pub(crate) mod table;
pub(crate) mod tickets;
pub(crate) mod token_file;

use std::path::Path;
use std::sync::Arc;

use protocol::SecretHash;

pub(crate) use caller::{Caller, Right};
use clock::Clock;
use guarded::Guarded;
use quota_keys::QuotaKeys;
use reload::Reading;
use session_tokens::SessionTokens;
use source::TokenSource;
use spending::{Budgets, Spending};
pub(crate) use subject::Subject;
use table::TokenTable;
use tickets::Tickets;

/// The name of the folder in the spool with the files of this module.
const FOLDER: &str = "access";

/// Everything that decides who a client is. There is one for the service.
pub(crate) struct Access {
    /// The operator's tokens; `None` without a token file. Then every client is an admin.
    tokens: Option<TokenSource>,
    /// The tickets that can still be redeemed.
    pub(crate) tickets: Tickets,
    /// The tokens of redeemed tickets.
    pub(crate) session_tokens: SessionTokens,
    /// The keys by which bridges count principals and shares.
    pub(crate) quota_keys: QuotaKeys,
    /// The costs of each principal on the present day.
    pub(crate) spending: Spending,
    /// The wall clock by which tokens and shares expire.
    pub(crate) clock: Clock,
    /// The counts of wrong tokens, and the audit log.
    pub(crate) guarded: Guarded,
}

impl Access {
    /// Reads the token file, if there is one, and opens the files of this module in the spool's
    /// folder. Blocks on the disk.
    ///
    /// # Errors
    /// The token file has mistakes, or the commands of the model may write it. The text has all
    /// mistakes. Or a file in the spool cannot be used, or the system has no random numbers.
    pub(crate) fn open(
        tokens_file: Option<&Path>,
        rules: token_file::Rules,
        spool_dir: &Path,
    ) -> Result<Self, String> {
        let clock = Clock::default();
        let tokens = match tokens_file {
            None => None,
            Some(path) => Some(TokenSource::open(path, rules)?),
        };
        let folder = spool_dir.join(FOLDER);
        let unusable = |error: std::io::Error| {
            format!("the folder {} cannot be used: {error}", folder.display())
        };
        spool::private_dir(&folder).map_err(unusable)?;
        Ok(Self {
            tokens,
            tickets: Tickets::default(),
            session_tokens: SessionTokens::default(),
            quota_keys: QuotaKeys::open(&folder.join("quota.key")).map_err(unusable)?,
            spending: Spending::open(folder.join("spending.json"), &clock).map_err(unusable)?,
            clock,
            guarded: Guarded::default(),
        })
    }

    /// Returns whether the service has a token file, so that every request needs a token.
    pub(crate) fn has_tokens(&self) -> bool {
        self.tokens.is_some()
    }

    /// Returns the table of tokens that is in force. `None` without a token file.
    pub(crate) fn table(&self) -> Option<Arc<TokenTable>> {
        Some(self.tokens.as_ref()?.table())
    }

    /// Returns whether there is a token file, but no token in force.
    pub(crate) fn refuses_everybody(&self) -> bool {
        self.table()
            .is_some_and(|table| table.names().next().is_none())
    }

    /// Counts the principals with a budget for a day, by how much of it is spent. Waits for a cost
    /// that is being written to the disk.
    pub(crate) fn budgets(&self) -> Budgets {
        let now = self.clock.now();
        let mut counts = Budgets::default();
        let table = self.table().unwrap_or_default();
        for (principal, budget) in table.budgets() {
            counts.add(self.spending.spent(principal, now), budget);
        }
        counts
    }

    /// Reads the token file every second, and calls `note` with each [`Reading`] but
    /// [`Reading::Same`]. Ends the streams of expired tokens. Returns immediately without a token
    /// file, and otherwise never.
    pub(crate) async fn watch_tokens(&self, note: impl Fn(Reading)) {
        if let Some(source) = &self.tokens {
            reload::watch(source, &self.clock, note).await;
        }
    }

    /// Returns the client whose token has this hash. `None` if no token of the file in force has
    /// it, if the token has expired, or without a token file.
    pub(crate) fn find_token(&self, hash: &SecretHash) -> Option<Caller> {
        let row = self.table()?.find(hash)?;
        let expired = row.token.expires.is_some_and(|at| at <= self.clock.now());
        (!expired).then(|| Caller::token(row))
    }
}

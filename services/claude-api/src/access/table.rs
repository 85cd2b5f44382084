//! The tokens in force, found by the hash of their text.

use std::collections::HashMap;
use std::sync::Arc;

use protocol::SecretHash;
use protocol::access::Role;
use spool::Owner;
use tokio_util::sync::CancellationToken;

use super::token_file::TokenEntry;

/// A token in force.
#[derive(Debug)]
pub(crate) struct TokenRow {
    /// The token, as the file describes it.
    pub(crate) token: TokenEntry,
    /// Cancelled when the token is removed from the file or expires, and when it moves to another
    /// principal. Also cancelled when it loses the role admin, or the right to read. Open streams
    /// of its holder then end.
    pub(crate) revoked: CancellationToken,
}

/// All tokens of one version of the file.
#[derive(Debug, Default)]
pub(crate) struct TokenTable {
    rows: Vec<Arc<TokenRow>>,
    /// The limits of each principal, from whichever of its tokens names them.
    principals: HashMap<String, PrincipalLimits>,
}

/// The limits that all tokens of one principal share.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct PrincipalLimits {
    /// The maximum cost of a UTC day, in US dollars.
    pub(crate) budget_usd_per_day: Option<f64>,
    /// The maximum number of executions that run at the same time.
    pub(crate) running: Option<u64>,
}

impl TokenTable {
    /// Creates the table of these tokens. A token keeps its `revoked` from `earlier`, so its open
    /// streams continue, unless its principal or its right to read has changed, or it has lost the
    /// role admin.
    pub(crate) fn new(tokens: Vec<TokenEntry>, earlier: &Self) -> Self {
        let mut principals: HashMap<String, PrincipalLimits> = HashMap::new();
        for token in &tokens {
            let limits = principals.entry(token.principal.clone()).or_default();
            limits.budget_usd_per_day = limits.budget_usd_per_day.or(token.budget_usd_per_day);
            limits.running = limits.running.or(token.running);
        }
        let row = |token: TokenEntry| {
            let keeps = |old: &&Arc<TokenRow>| {
                // A token that had expired begins anew.
                keeps_streams(old, &token) && !old.revoked.is_cancelled()
            };
            let kept = earlier.rows.iter().find(keeps);
            let revoked = kept.map_or_else(CancellationToken::new, |old| old.revoked.clone());
            Arc::new(TokenRow { token, revoked })
        };
        Self {
            rows: tokens.into_iter().map(row).collect(),
            principals,
        }
    }

    /// Finds the token with this hash. Compares with every token, and each comparison takes the
    /// same time. So the time does not tell how near a wrong token is.
    pub(crate) fn find(&self, hash: &SecretHash) -> Option<Arc<TokenRow>> {
        let mut found = None;
        for row in &self.rows {
            if row.token.sha256.matches(hash) {
                found = Some(Arc::clone(row));
            }
        }
        found
    }

    /// Ends the open streams of all tokens that are not in `newer`, or have another principal or
    /// fewer rights there.
    pub(crate) fn revoke_missing(&self, newer: &Self) {
        for old in &self.rows {
            if !newer.rows.iter().any(|new| keeps_streams(old, &new.token)) {
                old.revoked.cancel();
            }
        }
    }

    /// Ends the open streams of tokens that have expired at `now`.
    pub(crate) fn revoke_expired(&self, now: jiff::Timestamp) {
        for row in &self.rows {
            if row.token.expires.is_some_and(|at| at <= now) {
                row.revoked.cancel();
            }
        }
    }

    /// Returns the limits of a principal. All are absent for a principal without a token.
    pub(crate) fn limits_of(&self, principal: &str) -> PrincipalLimits {
        self.principals.get(principal).copied().unwrap_or_default()
    }

    /// Returns the principals that have a budget for a day, each with that budget in US dollars.
    pub(crate) fn budgets(&self) -> impl Iterator<Item = (&str, f64)> {
        let principals = self.principals.iter();
        principals.filter_map(|(name, limits)| Some((name.as_str(), limits.budget_usd_per_day?)))
    }

    /// Returns the maximum number of running executions of each principal that has one. `all` is
    /// the maximum of the service. If several principals start executions, each may use half of it
    /// unless the file says otherwise, so that nobody keeps the others waiting.
    pub(crate) fn running_limits(&self, all: u64) -> HashMap<Owner, u64> {
        let starts = |name: &&String| self.starts_executions(&Owner::of(name));
        let several = self.principals.keys().filter(starts).count() > 1;
        let default = several.then_some((all / 2).max(1));
        let limit = |(name, limits): (&String, &PrincipalLimits)| {
            let running = limits.running.or(default)?;
            Some((Owner::of(name), running))
        };
        self.principals.iter().filter_map(limit).collect()
    }

    /// Returns whether a token may start executions of this owner. Executions without a principal
    /// are the admins'.
    pub(crate) fn starts_executions(&self, owner: &Owner) -> bool {
        self.rows.iter().any(|row| match *owner == Owner::NONE {
            true => row.token.role == Role::Admin,
            false => row.token.role.may_control() && Owner::of(&row.token.principal) == *owner,
        })
    }

    /// Returns the names of all tokens, in the order of the file.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.rows.iter().map(|row| row.token.name.as_str())
    }

    /// Returns the entry of the token with this name.
    pub(crate) fn named(&self, name: &str) -> Option<&TokenEntry> {
        let row = self.rows.iter().find(|row| row.token.name == name)?;
        Some(&row.token)
    }
}

/// Returns whether the streams of `old` continue after its entry has become `new`.
fn keeps_streams(old: &TokenRow, new: &TokenEntry) -> bool {
    let role = |role: Role| role.may_view();
    old.token.sha256 == new.sha256
        && old.token.principal == new.principal
        && role(old.token.role) == role(new.role)
        && !(old.token.role == Role::Admin && new.role != Role::Admin)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn entry(name: &str, principal: &str, role: Role) -> TokenEntry {
        TokenEntry {
            name: name.to_owned(),
            sha256: SecretHash::of(name.as_bytes()),
            role,
            principal: principal.to_owned(),
            states_principal: true,
            workspaces: vec!["*".to_owned()],
            max_budget_usd: None,
            budget_usd_per_day: None,
            running: None,
            expires: None,
        }
    }

    pub(crate) fn row(name: &str, principal: &str, role: Role) -> Arc<TokenRow> {
        Arc::new(TokenRow {
            token: entry(name, principal, role),
            revoked: CancellationToken::new(),
        })
    }

    fn table(tokens: Vec<TokenEntry>, earlier: &TokenTable) -> TokenTable {
        TokenTable::new(tokens, earlier)
    }

    #[test]
    fn a_token_is_found_by_its_hash_alone() {
        let rows = vec![entry("a", "p", Role::View), entry("b", "p", Role::View)];
        let table = table(rows, &TokenTable::default());
        let found = table.find(&SecretHash::of(b"b")).unwrap();
        assert_eq!(found.token.name, "b");
        assert!(table.find(&SecretHash::of(b"c")).is_none());
    }

    #[test]
    fn streams_end_only_for_tokens_that_are_removed_or_demoted() {
        let first = table(
            vec![
                entry("stays", "p", Role::View),
                entry("promoted", "p", Role::View),
                entry("removed", "p", Role::View),
                entry("moved", "p", Role::View),
                entry("demoted", "p", Role::Admin),
            ],
            &TokenTable::default(),
        );
        let second = table(
            vec![
                entry("stays", "p", Role::View),
                entry("promoted", "p", Role::Control),
                entry("moved", "q", Role::View),
                entry("demoted", "p", Role::View),
            ],
            &first,
        );
        first.revoke_missing(&second);
        let revoked = |name: &[u8]| {
            let row = first.find(&SecretHash::of(name)).unwrap();
            row.revoked.is_cancelled()
        };
        assert!(!revoked(b"stays") && !revoked(b"promoted"));
        assert!(revoked(b"removed") && revoked(b"moved") && revoked(b"demoted"));
        let again = second.find(&SecretHash::of(b"stays")).unwrap();
        second.revoke_missing(&TokenTable::default());
        assert!(again.revoked.is_cancelled() && revoked(b"stays"));
    }

    #[test]
    fn several_principals_have_half_of_the_permits_unless_the_file_says_otherwise() {
        let mut limited = entry("b", "b", Role::Control);
        limited.running = Some(7);
        let tokens = vec![
            entry("a", "a", Role::Control),
            limited,
            entry("v", "v", Role::View),
        ];
        let both = table(tokens, &TokenTable::default());
        let limits = both.running_limits(9);
        let of = |name| limits.get(&Owner::of(name)).copied();
        assert_eq!((of("a"), of("b")), (Some(4), Some(7)));
        let one = table(vec![entry("a", "a", Role::Control)], &TokenTable::default());
        assert!(one.running_limits(9).is_empty());
        assert!(one.starts_executions(&Owner::of("a")));
        assert!(!both.starts_executions(&Owner::of("v")));
        assert!(!both.starts_executions(&Owner::NONE));
    }

    #[test]
    fn a_renewed_token_gets_streams_again() {
        let mut old = entry("a", "p", Role::View);
        old.expires = Some(jiff::Timestamp::UNIX_EPOCH);
        let first = table(vec![old], &TokenTable::default());
        first.revoke_expired(jiff::Timestamp::UNIX_EPOCH);
        let second = table(vec![entry("a", "p", Role::View)], &first);
        let renewed = second.find(&SecretHash::of(b"a")).unwrap();
        assert!(!renewed.revoked.is_cancelled());
    }

    #[test]
    fn an_expired_token_ends_its_streams() {
        let mut old = entry("old", "p", Role::View);
        old.expires = Some(jiff::Timestamp::UNIX_EPOCH);
        let table = table(
            vec![old, entry("new", "p", Role::View)],
            &TokenTable::default(),
        );
        table.revoke_expired(jiff::Timestamp::UNIX_EPOCH);
        let [old, new] = [b"old", b"new"].map(|name| table.find(&SecretHash::of(name)).unwrap());
        assert!(old.revoked.is_cancelled() && !new.revoked.is_cancelled());
    }
}

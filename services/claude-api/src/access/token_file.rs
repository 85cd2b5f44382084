//! The operator's file of tokens (docs/protocol.md, "Token file"), as TOML.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use jiff::Timestamp;
use protocol::SecretHash;
use protocol::access::Role;
use serde::Deserialize;
use wildmatch::WildMatch;

/// The longest name of a token or a principal, in bytes.
const NAME_BYTES: usize = 63;

/// The rules of this service for its token file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rules {
    /// Whether the commands of the model run in the service's own container. Then they must not be
    /// able to write the file.
    pub(crate) is_boxed: bool,
    /// Whether executions of several principals may run here: the sandbox is complete, or the
    /// operator says so (`--principals-share-a-box`).
    pub(crate) allows_several_principals: bool,
}

/// One token of the file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TokenEntry {
    /// The unique name of the token.
    pub(crate) name: String,
    /// The hash by which the token is recognised.
    pub(crate) sha256: SecretHash,
    /// The requests that the token permits.
    pub(crate) role: Role,
    /// The principal whose executions the token opens.
    pub(crate) principal: String,
    /// Whether the file states the principal. Otherwise it is the name.
    pub(crate) states_principal: bool,
    /// The patterns of the workspaces that the token permits. `*` stands for any text, `?` for one
    /// character.
    pub(crate) workspaces: Vec<String>,
    /// The maximum and the default of `maxBudgetUsd` of an execution, in US dollars.
    pub(crate) max_budget_usd: Option<f64>,
    /// The maximum cost of the principal on a UTC day, in US dollars.
    pub(crate) budget_usd_per_day: Option<f64>,
    /// The maximum number of executions of the principal that run at the same time.
    pub(crate) running: Option<u64>,
    /// When the token stops working.
    pub(crate) expires: Option<Timestamp>,
}

impl TokenEntry {
    /// Returns whether the token permits executions in this workspace.
    pub(crate) fn allows_workspace(&self, workspace: &str) -> bool {
        let matches = |pattern: &String| WildMatch::new(pattern).matches(workspace);
        self.workspaces.iter().any(matches)
    }
}

/// One `[[token]]` block of the file, before it is checked.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Block {
    name: String,
    sha256: String,
    role: String,
    principal: Option<String>,
    workspaces: Option<Vec<String>>,
    max_budget_usd: Option<f64>,
    budget_usd_per_day: Option<f64>,
    running: Option<u64>,
    expires: Option<toml::value::Datetime>,
}

impl Rules {
    /// Checks that the commands of the model cannot write the token file or its folder. Blocks on
    /// the disk.
    ///
    /// # Errors
    /// The service's user can write one of them, in a container in which such commands run.
    pub(crate) fn check_permissions(self, path: &Path) -> Result<(), String> {
        use rustix::fs::{Access, access};
        let folder = path.parent().unwrap_or(path);
        for writable in [path, folder] {
            if self.is_boxed && access(writable, Access::WRITE_OK).is_ok() {
                return Err(format!(
                    "--tokens-file: this service may write {}, so commands of the model may too; \
                     mount the folder read-only",
                    writable.display()
                ));
            }
        }
        Ok(())
    }
}

/// Parses the text of a token file.
///
/// # Errors
/// All mistakes, one text each, with the token's name and the remedy. No text has a secret.
pub(crate) fn parse(text: &str, rules: Rules) -> Result<Vec<TokenEntry>, Vec<String>> {
    let table: toml::Table = match text.parse() {
        Ok(table) => table,
        Err(error) => {
            let mistake = format!("not valid TOML: {}", one_line(&error));
            return Err(vec![without_tokens(&mistake)]);
        }
    };
    let mut mistakes = Vec::new();
    let mut tokens = Vec::new();
    for (key, value) in table {
        match (key.as_str(), value) {
            ("token", toml::Value::Array(blocks)) => {
                for (n, block) in blocks.into_iter().enumerate() {
                    match entry(block) {
                        Ok(token) => tokens.push(token),
                        Err(mistake) => mistakes.push(format!("token {}: {mistake}", n + 1)),
                    }
                }
            }
            ("token", _) => mistakes.push("write each token as a block [[token]]".to_owned()),
            (other, _) => mistakes.push(format!("{other:?} is unknown; only [[token]] is allowed")),
        }
    }
    mistakes.extend(conflicts(&tokens, rules));
    if mistakes.is_empty() {
        Ok(tokens)
    } else {
        Err(mistakes
            .iter()
            .map(|mistake| without_tokens(mistake))
            .collect())
    }
}

/// Checks one block. The error says what is wrong with it, without its hash.
fn entry(block: toml::Value) -> Result<TokenEntry, String> {
    let Block {
        name,
        sha256,
        role,
        principal,
        workspaces,
        max_budget_usd,
        budget_usd_per_day,
        running,
        expires,
    } = block.try_into().map_err(|error| one_line(&error))?;
    for name in std::iter::once(&name).chain(&principal) {
        if !is_name(name) {
            return Err(format!(
                "{name:?} is no name; use 1 to {NAME_BYTES} characters of a-z, 0-9 and -"
            ));
        }
    }
    let in_token = |text: String| format!("{name:?}: {text}");
    let sha256 = sha256
        .parse()
        .map_err(|error: protocol::access::BadHash| in_token(format!("sha256: {error}")))?;
    let role = role
        .parse()
        .map_err(|error: String| in_token(format!("role {role:?}: {error}")))?;
    for (field, amount) in [
        ("maxBudgetUsd", max_budget_usd),
        ("budgetUsdPerDay", budget_usd_per_day),
    ] {
        if amount.is_some_and(|usd| !(usd > 0.0 && usd.is_finite())) {
            return Err(in_token(format!("{field} must be above 0")));
        }
    }
    if running == Some(0) {
        return Err(in_token("running is 0; give at least 1".to_owned()));
    }
    let workspaces = workspaces.unwrap_or_else(|| vec!["*".to_owned()]);
    if workspaces.is_empty() {
        return Err(in_token(
            "workspaces is empty; name one, or leave the field out for all".to_owned(),
        ));
    }
    let expires = expires.map(|date| midnight(&date)).transpose();
    Ok(TokenEntry {
        states_principal: principal.is_some(),
        principal: principal.unwrap_or_else(|| name.clone()),
        sha256,
        role,
        workspaces,
        max_budget_usd,
        budget_usd_per_day,
        running,
        expires: expires.map_err(in_token)?,
        name,
    })
}

/// Finds the mistakes that concern several tokens.
fn conflicts(tokens: &[TokenEntry], rules: Rules) -> Vec<String> {
    let mut mistakes = Vec::new();
    let (mut names, mut hashes) = (HashSet::new(), HashSet::new());
    let mut limits: HashMap<&str, (Option<f64>, Option<u64>)> = HashMap::new();
    for token in tokens {
        let name = &token.name;
        if !names.insert(name) {
            mistakes.push(format!("two tokens have the name {name:?}"));
        }
        if !hashes.insert(token.sha256) {
            mistakes.push(format!("{name:?} has the sha256 of another token"));
        }
        let borrowed = |other: &&TokenEntry| other.principal == *name && other.name != *name;
        if !token.states_principal
            && let Some(other) = tokens.iter().find(borrowed)
        {
            mistakes.push(format!(
                "{name:?} is also the principal of {:?}; write principal = {name:?} if both are \
                 one principal, or rename one of them",
                other.name
            ));
        }
        let (budget, running) = limits.entry(&token.principal).or_default();
        let differs = |field: &str| {
            format!(
                "{name:?}: {field} differs from another token of principal {:?}; give it once, or \
                 the same",
                token.principal
            )
        };
        if let (Some(one), Some(other)) = (*budget, token.budget_usd_per_day)
            && one != other
        {
            mistakes.push(differs("budgetUsdPerDay"));
        }
        if let (Some(one), Some(other)) = (*running, token.running)
            && one != other
        {
            mistakes.push(differs("running"));
        }
        *budget = budget.or(token.budget_usd_per_day);
        *running = running.or(token.running);
    }
    let starts = |token: &&TokenEntry| token.role.may_control();
    let principals: HashSet<_> = tokens.iter().filter(starts).map(|t| &t.principal).collect();
    if principals.len() > 1 && !rules.allows_several_principals {
        mistakes.push(
            "several principals start executions, but the sandbox is off or incomplete here \
             (/health/ready says why), so commands of one could act on executions of another; use \
             one principal, or set --principals-share-a-box (CLAUDE_API_PRINCIPALS_SHARE_A_BOX)"
                .to_owned(),
        );
    }
    mistakes
}

fn is_name(name: &str) -> bool {
    let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=NAME_BYTES).contains(&name.len()) && name.bytes().all(good)
}

/// Returns a text with `...` in place of everything that may be a token. An operator may write a
/// token into the wrong field, and the text is on a page that needs no token.
fn without_tokens(text: &str) -> String {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("ccb") {
        let (before, word) = rest.split_at(start);
        let end = word.find(|c| !is_part(c)).unwrap_or(word.len());
        shown.push_str(before);
        shown.push_str(if end > 12 { "..." } else { &word[..end] });
        rest = &word[end..];
    }
    shown.push_str(rest);
    shown
}

/// Returns the first moment of a date in UTC.
fn midnight(date: &toml::value::Datetime) -> Result<Timestamp, String> {
    let (Some(day), None, None) = (date.date, date.time, date.offset) else {
        return Err(format!(
            "expires {date} is no date; write it like 2027-01-31"
        ));
    };
    format!("{day}T00:00:00Z")
        .parse()
        .map_err(|_| format!("expires {date} is no date; write it like 2027-01-31"))
}

/// Returns the message of a TOML error without the quoted line of the file, which may be long.
fn one_line(error: &toml::de::Error) -> String {
    error.message().replace('\n', "; ")
}

#[cfg(test)]
mod tests;

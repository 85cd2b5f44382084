//! The operator's token file, to which entries are added. claude-api reads it; its rules are in
//! docs/protocol.md, "Token file".

use std::collections::{HashMap, HashSet};

use protocol::{Role, SecretHash};
use serde::{Deserialize, Serialize};
use toml::value::Datetime;

use crate::values;

/// The content of a token file.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenFile {
    #[serde(default)]
    pub(super) token: Vec<Entry>,
}

/// The entry of one token: what it may do, and the hash that recognises it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Entry {
    /// The unique name of the token.
    pub(super) name: String,
    /// The SHA-256 of the token, as 64 hexadecimal digits.
    pub(super) sha256: String,
    pub(super) role: Role,
    /// Whose executions the token opens. `None` means the name.
    pub(super) principal: Option<String>,
    /// Globs of the workspaces that the token may use. `None` means all.
    pub(super) workspaces: Option<Vec<String>>,
    /// The maximum cost of one execution, in US dollars.
    pub(super) max_budget_usd: Option<f64>,
    /// The maximum cost of the executions of the principal on one day, in US dollars.
    pub(super) budget_usd_per_day: Option<f64>,
    /// The maximum number of running executions of the principal.
    pub(super) running: Option<u32>,
    /// The day at whose beginning the token stops working.
    pub(super) expires: Option<Datetime>,
}

impl TokenFile {
    /// Creates a file with one entry.
    pub(super) fn of(entry: Entry) -> Self {
        Self { token: vec![entry] }
    }

    /// Parses a file and checks its entries.
    ///
    /// # Errors
    /// The file is no TOML, or breaks a rule. The text has no line of the file, because a careless
    /// operator may have pasted a token there.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let file: Self = toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start));
            let line = before.map_or(1, |before| before.matches('\n').count() + 1);
            format!("line {line} is wrong; see \"Token file\" in docs/protocol.md")
        })?;
        file.check()?;
        Ok(file)
    }

    /// Checks names, principals and hashes. claude-api also checks the budgets, `workspaces`,
    /// `running` and `expires`, and the number of principals (docs/protocol.md, "Token file").
    ///
    /// # Errors
    /// A rule is broken. The text names the entry and the remedy.
    pub(super) fn check(&self) -> Result<(), String> {
        let (mut names, mut hashes) = (HashSet::new(), HashSet::new());
        for entry in &self.token {
            let name = &entry.name;
            let wrong = |what: &str, mistake: &str| {
                Err(format!(
                    "the {what} of the token {name:?} is wrong: {mistake}"
                ))
            };
            if let Err(mistake) = values::name(name) {
                return wrong("name", &mistake);
            }
            if let Some(Err(mistake)) = entry.principal.as_deref().map(values::name) {
                return wrong("principal", &mistake);
            }
            let Ok(hash) = entry.sha256.parse::<SecretHash>() else {
                return wrong("sha256", "give 64 hexadecimal digits");
            };
            if !names.insert(name) {
                return Err(format!(
                    "two tokens have the name {name:?}; choose another name"
                ));
            }
            if !hashes.insert(hash) {
                return Err(format!(
                    "the token {name:?} is there twice, under two names; remove one"
                ));
            }
        }
        self.check_principals()?;
        self.check_limits()
    }

    /// Refuses two tokens of one principal with different limits for the principal.
    fn check_limits(&self) -> Result<(), String> {
        let mut limits: HashMap<&str, (Option<f64>, Option<u32>)> = HashMap::new();
        for entry in &self.token {
            let principal = entry.principal.as_ref().unwrap_or(&entry.name);
            let (budget, running) = limits.entry(principal).or_default();
            let differing = [
                ("budgetUsdPerDay", differ(*budget, entry.budget_usd_per_day)),
                ("running", differ(*running, entry.running)),
            ];
            if let Some((field, _)) = differing.into_iter().find(|(_, differs)| *differs) {
                return Err(format!(
                    "{field} of the token {:?} differs from another token of the principal \
                     {principal:?}; give it once, or the same",
                    entry.name
                ));
            }
            *budget = budget.or(entry.budget_usd_per_day);
            *running = running.or(entry.running);
        }
        Ok(())
    }

    /// Refuses a token that would open another one's executions by accident, because its name is
    /// the principal of the other.
    fn check_principals(&self) -> Result<(), String> {
        for entry in self.token.iter().filter(|entry| entry.principal.is_none()) {
            let name = &entry.name;
            let same = |other: &&Entry| other.principal.as_ref() == Some(name);
            if let Some(other) = self.token.iter().find(same) {
                return Err(format!(
                    "the token {name:?} would open the executions of {:?}, whose principal has \
                     that name; state principal = {name:?} for the token {name:?} if that is \
                     intended (--principal {name}), else choose another name",
                    other.name
                ));
            }
        }
        Ok(())
    }
}

/// Returns whether two limits are both given, and differ.
fn differ<T: PartialEq>(one: Option<T>, other: Option<T>) -> bool {
    one.is_some() && other.is_some() && one != other
}

#[cfg(test)]
impl Entry {
    /// Creates an entry with this name for this token.
    pub(super) fn example(name: &str, token: &[u8]) -> Self {
        Self {
            name: name.to_owned(),
            sha256: SecretHash::of(token).to_string(),
            role: Role::Control,
            principal: None,
            workspaces: None,
            max_budget_usd: None,
            budget_usd_per_day: None,
            running: None,
            expires: None,
        }
    }
}

/// Returns the TOML text of an entry, as the token file has it.
pub(super) fn block(entry: &Entry) -> Result<String, String> {
    #[derive(Serialize)]
    struct One<'a> {
        token: [&'a Entry; 1],
    }
    toml::to_string(&One { token: [entry] }).map_err(|e| format!("could not write TOML: {e}"))
}

#[cfg(test)]
mod tests;

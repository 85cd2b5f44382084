//! Checks I7 for everything that a client receives: no message, header or byte shows anything of
//! another principal (docs/protocol.md, "Principals").
//!
//! The text of each message is searched as a whole, so that the check knows no field: for the marks
//! of the other principals, and for UUIDs. A UUID belongs to the principal that chose it, that owns
//! the execution with this id, or whose clients received it first (such as the id of a session).

use std::collections::{HashMap, HashSet, hash_map::Entry};
use std::sync::Mutex;

use serde_json::Value;
use uuid::Uuid;

use super::{
    execution::Execution,
    marks::{chosen_by, foreign_mark, uuids},
    principal::{MARKS, Principal},
    world::{World, lock},
};

/// The facts about all messages so far that the checks need.
#[derive(Debug, Default)]
pub(super) struct Isolation {
    /// The principal of each known UUID that no client chose. No await happens inside the locks.
    owners: Mutex<HashMap<Uuid, usize>>,
    /// The limits that the first client received: they are the same for all.
    limits: Mutex<HashMap<&'static str, Value>>,
    /// The first answer of each kind about an id that does not exist for the client.
    refusals: Mutex<HashMap<String, String>>,
}

/// Which UUIDs of a message say nothing new.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Exempt<'a> {
    /// The ids that the request named: an answer may repeat them.
    pub(super) asked: &'a [String],
    /// Whether the message is output. Its unknown UUIDs are too many to remember.
    pub(super) output: bool,
}

impl World {
    /// Checks a text that a client of a principal received.
    ///
    /// # Errors
    /// What the text shows of another principal.
    pub(super) fn check_isolation(
        &self,
        principal: &Principal,
        text: &str,
        exempt: Exempt<'_>,
    ) -> Result<(), String> {
        if principal.name.is_none() {
            return Ok(());
        }
        let to = principal.shown();
        if let Some(mark) = foreign_mark(text, Some(principal.number)) {
            return Err(format!(
                "I7: a message to {to} shows data of another principal, {mark}: {}",
                around(text, mark)
            ));
        }
        for id in uuids(text) {
            let is_asked = || exempt.asked.iter().any(|asked| *asked == id.to_string());
            let owner = self.owner_of(id, (!exempt.output).then_some(principal.number));
            if owner.is_some_and(|owner| owner != principal.number) && !is_asked() {
                return Err(format!(
                    "I7: a message to {to} shows an id of another principal, {id}: {}",
                    around(text, &id.to_string())
                ));
            }
        }
        Ok(())
    }

    /// Checks a page that needs no token or that belongs to the operator: it names no principal.
    ///
    /// # Errors
    /// What the page shows of a principal.
    pub(super) fn check_page(&self, text: &str) -> Result<(), String> {
        let id = uuids(text).find(|id| self.owner_of(*id, None).is_some());
        let id = id.map(|id| id.to_string());
        match foreign_mark(text, None).map(str::to_owned).or(id) {
            Some(shown) => Err(format!("I7: the page shows {shown}, of some principal")),
            None => Ok(()),
        }
    }

    /// Returns the principal to which a UUID belongs. An unknown one belongs to `receiver` from now
    /// on.
    fn owner_of(&self, id: Uuid, receiver: Option<usize>) -> Option<usize> {
        if let Some(owner) = chosen_by(id) {
            return Some(owner);
        }
        let mut owners = lock(&self.isolation.owners);
        match (owners.entry(id), receiver) {
            (Entry::Occupied(known), _) => Some(*known.get()),
            (Entry::Vacant(unknown), Some(receiver)) => Some(*unknown.insert(receiver)),
            (Entry::Vacant(_), None) => None,
        }
    }

    /// Notes the owner of an execution whose id a service made.
    ///
    /// # Errors
    /// If a client of another principal received the id before.
    pub(super) fn claim_id(&self, execution: &Execution) -> Result<(), String> {
        let Ok(id) = execution.id.parse::<Uuid>() else {
            return Ok(());
        };
        match self.owner_of(id, Some(execution.principal)) {
            Some(owner) if owner != execution.principal => Err(format!(
                "I7: {id} of {} was shown to {}, another principal",
                MARKS[execution.principal], MARKS[owner]
            )),
            _ => Ok(()),
        }
    }

    /// Checks the limits that a client received: they depend on no principal. `source` is the
    /// request or the message with them.
    ///
    /// # Errors
    /// How they differ from those of an earlier client.
    pub(super) fn check_limits(&self, source: &'static str, limits: &Value) -> Result<(), String> {
        if limits.is_null() {
            return Ok(());
        }
        let mut known = lock(&self.isolation.limits);
        let first = known.entry(source).or_insert_with(|| limits.clone());
        if first == limits {
            return Ok(());
        }
        Err(format!(
            "I7: the limits differ between clients: {first} then {limits}"
        ))
    }

    /// Checks a list that a client received: all its executions are known as its own, none twice.
    ///
    /// # Errors
    /// The rule that the list breaks.
    pub(super) fn check_list(&self, principal: &Principal, list: &Value) -> Result<(), String> {
        let mut ids = HashSet::new();
        for status in list["executions"].as_array().into_iter().flatten() {
            let id = status["executionId"].as_str().unwrap_or_default();
            if !ids.insert(id) {
                return Err(format!("a list has {id} twice"));
            }
            if status["principal"].as_str() != principal.name {
                return Err(format!(
                    "I7: a list for {} has {id} of {}, another principal",
                    principal.shown(),
                    status["principal"]
                ));
            }
            // A child that no status has named yet is unknown; the audit reads it.
            if let Some(execution) = self.find(id) {
                self.judge(&execution, status, false)
                    .map_err(|rule| format!("{id} in a list: {rule}"))?;
            }
        }
        Ok(())
    }

    /// Checks that all answers of one kind about ids that do not exist for the client are equal.
    /// `answer` has a placeholder for each id of the request.
    ///
    /// # Errors
    /// The first answer, and this one.
    pub(super) fn check_refusal(&self, kind: String, answer: &str) -> Result<(), String> {
        let mut known = lock(&self.isolation.refusals);
        let first = known.entry(kind).or_insert_with(|| answer.to_owned());
        if first == answer {
            return Ok(());
        }
        Err(format!(
            "I7: an answer about an id of another principal differs from that about an unknown id: \
             {first} and {answer}"
        ))
    }
}

/// Returns the part of a text around a word, for the message of a violation.
fn around(text: &str, word: &str) -> String {
    const WIDTH: usize = 120;
    let at = text.find(word).unwrap_or(0);
    let from = text.floor_char_boundary(at.saturating_sub(WIDTH));
    let to = text.ceil_char_boundary((at + word.len() + WIDTH).min(text.len()));
    text[from..to].to_owned()
}

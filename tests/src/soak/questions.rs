//! The questions of one execution, as all its clients together know them: which were shown, what
//! was answered, and how each was closed. Pure.
//!
//! A question is closed once, and everybody learns the same end. The first confirmed answer is that
//! end, and no other answer is confirmed.

use std::time::{Duration, Instant};

use rand::{rngs::StdRng, seq::IndexedRandom};
use serde_json::Value;

use super::dialogue::{Dialogue, Outcome, Patience};

/// The time for which a status may still show a question that was closed.
const STATUS_LAG: Duration = Duration::from_secs(3);

/// How a question was closed, in the words of the protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
struct End {
    closed_by: String,
    decision: Option<String>,
    principal: Option<String>,
    /// `None` if the report has no time.
    at: Option<String>,
}

impl End {
    /// Reads the end from a `questionClosed`, an entry of the list, or a refused answer.
    fn read(closed: &Value) -> Self {
        let text = |name: &str| closed[name].as_str().map(str::to_owned);
        Self {
            closed_by: text("closedBy").unwrap_or_default(),
            decision: text("decision"),
            principal: text("principal"),
            at: text("closedAt"),
        }
    }

    /// Returns whether two reports are about the same end.
    fn agrees(&self, other: &Self) -> bool {
        let facts = |end: &Self| {
            let Self {
                closed_by,
                decision,
                principal,
                at: _,
            } = end;
            (closed_by.clone(), decision.clone(), principal.clone())
        };
        // The bridge and claude-api each note the time at which an end of the execution closed it.
        let is_end = self.closed_by == "end";
        let same_time = is_end || self.at.is_none() || other.at.is_none() || self.at == other.at;
        facts(self) == facts(other) && same_time
    }
}

/// One question.
#[derive(Debug, Clone)]
pub(super) struct Question {
    pub(super) id: String,
    /// Its number in the dialogue.
    pub(super) number: usize,
    /// When a client first knew that it was open.
    since: Instant,
    /// The last time at which it was certainly open.
    open_at: Instant,
    /// The valid answers that clients have sent, each once.
    offers: Vec<Value>,
    /// The answer that was confirmed.
    confirmed: Option<Value>,
    end: Option<End>,
    /// When a client first knew the end.
    ended: Option<Instant>,
}

/// A reply to an answer.
#[derive(Debug, Clone, Copy)]
pub(super) enum Reply<'a> {
    /// It was confirmed. Has the result.
    Confirmed(&'a Value),
    /// The question was closed before. Has the fields that say how.
    Closed(&'a Value),
    /// The answer does not fit the question.
    Invalid,
    /// The execution or the question is unknown.
    Unknown,
    /// A service was not reachable: the answer may have been stored.
    Unavailable,
}

/// An answer that was sent.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sent {
    pub(super) question: String,
    pub(super) answer: Value,
    /// Whether it fits its question.
    pub(super) is_valid: bool,
}

/// The questions of one execution.
#[derive(Debug, Default)]
pub(super) struct Questions {
    all: Vec<Question>,
    /// The number of answers that were refused because another one had closed the question.
    pub(super) refused_late: u64,
    /// The answers that were confirmed again.
    pub(super) repeats: u64,
}

impl Questions {
    pub(super) fn all(&self) -> &[Question] {
        &self.all
    }

    fn find(&mut self, id: &Value) -> Option<&mut Question> {
        let id = id.as_str()?;
        self.all.iter_mut().find(|one| one.id == id)
    }

    /// Records a question from a status, a list or a notification.
    ///
    /// # Errors
    /// If it is not a question of the dialogue, or that was asked before with another id.
    pub(super) fn shown(&mut self, dialogue: &Dialogue, shown: &Value) -> Result<(), String> {
        let id = shown["questionId"].as_str().unwrap_or_default();
        let title = shown["title"].as_str().unwrap_or_default();
        let number = title.split(' ').next().and_then(|word| word.parse().ok());
        let ask = number.and_then(|number: usize| Some((number, dialogue.asks.get(number)?)));
        let Some((number, ask)) = ask.filter(|(_, ask)| ask.title.starts_with(title)) else {
            return Err(format!("a question that its CLI did not ask: {shown}"));
        };
        let input = shown.get("input").filter(|input| !input.is_null());
        if shown["kind"] != ask.kind
            || shown["tool"] != ask.tool
            || input.is_some_and(|input| *input != ask.input)
            || shown["expiresAt"].is_null() != (dialogue.timeout == Some(0.0))
        {
            return Err(format!("the question differs from {ask:?}: {shown}"));
        }
        if let Some(known) = self.all.iter().find(|one| one.number == number) {
            if known.id == id {
                return Ok(());
            }
            return Err(format!(
                "question {number} was asked twice: {} and {id}",
                known.id
            ));
        }
        let now = Instant::now();
        self.all.push(Question {
            id: id.to_owned(),
            number,
            since: now,
            open_at: now,
            offers: Vec::new(),
            confirmed: None,
            end: None,
            ended: None,
        });
        Ok(())
    }

    /// Records that claude-api has shown a question as open, in an answer to a request that was
    /// sent at this time. `is_list`: the answer is a list of questions, which is never late.
    ///
    /// # Errors
    /// If it was closed before.
    pub(super) fn open(&mut self, id: &Value, sent: Instant, is_list: bool) -> Result<(), String> {
        let Some(question) = self.find(id) else {
            return Ok(());
        };
        let slack = if is_list { Duration::ZERO } else { STATUS_LAG };
        if question.ended.is_some_and(|ended| ended + slack < sent) {
            return Err(format!(
                "question {id} is open after its end: {:?}",
                question.end
            ));
        }
        question.open_at = question.open_at.max(sent);
        Ok(())
    }

    /// Records the end of a question. Ignores a question that no client has seen.
    ///
    /// # Errors
    /// If another end is known, or the end contradicts the answers.
    pub(super) fn closed(&mut self, closed: &Value) -> Result<(), String> {
        match self.find(&closed["questionId"]) {
            Some(question) => question.close(End::read(closed)),
            None => Ok(()),
        }
    }

    /// Records an answer that a client is about to send. Returns whether the same answer was sent
    /// before.
    pub(super) fn offer(&mut self, sent: &Sent) -> bool {
        let id = Value::from(sent.question.as_str());
        let Some(question) = self.find(&id).filter(|_| sent.is_valid) else {
            return false;
        };
        let is_repeated = question.offers.contains(&sent.answer);
        if !is_repeated {
            question.offers.push(sent.answer.clone());
        }
        is_repeated
    }

    /// Checks the reply to an answer of `principal`. `may_be_unknown`: a client may have deleted
    /// the execution, or no client has an answer that it exists.
    ///
    /// # Errors
    /// The rule that the reply breaks.
    pub(super) fn replied(
        &mut self,
        sent: &Sent,
        reply: Reply<'_>,
        principal: Option<&str>,
        may_be_unknown: bool,
    ) -> Result<(), String> {
        let id = Value::from(sent.question.as_str());
        let answer = &sent.answer;
        let broken = |rule: &str| Err(format!("{rule}: answer {answer} to {id} got {reply:?}"));
        let Some(question) = self.find(&id) else {
            return broken("an answer to a question that nobody has seen");
        };
        match reply {
            Reply::Confirmed(_) if !sent.is_valid => broken("an invalid answer was confirmed"),
            Reply::Confirmed(result) => {
                let due = (answer["decision"].as_str(), principal);
                let got = (result["decision"].as_str(), result["principal"].as_str());
                if result["questionId"] != id || got != due {
                    return broken("the confirmation names something else");
                }
                let is_repeat = question.confirmed.is_some();
                let first = question.confirmed.get_or_insert_with(|| answer.clone());
                if *first != *answer {
                    return Err(format!(
                        "two answers to {id} were confirmed: {first} and {answer}"
                    ));
                }
                let end = End {
                    closed_by: "answer".to_owned(),
                    decision: due.0.map(str::to_owned),
                    principal: principal.map(str::to_owned),
                    at: None,
                };
                question.close(end)?;
                self.repeats += u64::from(is_repeat);
                Ok(())
            }
            Reply::Closed(_) if question.confirmed.as_ref() == Some(answer) => {
                broken("the confirmed answer was refused")
            }
            Reply::Closed(closed) => {
                question.close(End::read(closed))?;
                self.refused_late += 1;
                Ok(())
            }
            Reply::Invalid if sent.is_valid => broken("a valid answer was refused"),
            Reply::Unknown if !may_be_unknown => broken("a question is unknown"),
            Reply::Invalid | Reply::Unknown | Reply::Unavailable => Ok(()),
        }
    }

    /// Checks that every question is closed.
    ///
    /// # Errors
    /// Names a question whose end nobody knows.
    pub(super) fn all_closed(&self) -> Result<(), String> {
        match self.all.iter().find(|one| one.end.is_none()) {
            Some(one) => Err(format!("question {} has no end", one.id)),
            None => Ok(()),
        }
    }

    /// Returns the possible outcomes of each question of the dialogue.
    pub(super) fn outcomes(&self, dialogue: &Dialogue) -> Vec<Vec<Outcome>> {
        let outcomes = |number: usize| {
            let known = self.all.iter().find(|one| one.number == number);
            let ask = &dialogue.asks[number];
            let answers = |which: &dyn Fn(&Value) -> bool| -> Vec<Outcome> {
                let offers = known.into_iter().flat_map(|one| &one.offers);
                let offers = offers.filter(|offer| which(offer));
                offers.map(|offer| ask.outcome(offer)).collect()
            };
            let (mut all, end) = match known {
                Some(Question {
                    confirmed: Some(answer),
                    ..
                }) => (vec![ask.outcome(answer)], Some("answer")),
                Some(Question { end: Some(end), .. }) if end.closed_by == "answer" => {
                    let decision = end.decision.as_deref();
                    let same = |offer: &Value| offer["decision"].as_str() == decision;
                    (answers(&same), Some("answer"))
                }
                Some(Question { end: Some(end), .. }) => (Vec::new(), Some(end.closed_by.as_str())),
                Some(_) | None => (answers(&|_| true), None),
            };
            if end == Some("timeout") || end.is_none() && dialogue.has_timeout() {
                all.push(Outcome::TIMEOUT);
            }
            // Nobody is asked either once the execution is being ended, by a cancel for example.
            if known.is_none() {
                all.extend(Outcome::UNASKED);
            }
            // The CLI may read an interrupt before the answer that was confirmed.
            if end == Some("withdrawn") || end != Some("end") && dialogue.has_interrupt {
                all.push(Outcome::EndsTurn);
            }
            all
        };
        (0..dialogue.asks.len()).map(outcomes).collect()
    }

    /// Returns whether an answer may have ended the turn.
    pub(super) fn may_end_turn(&self) -> bool {
        let mut offers = self.all.iter().flat_map(|one| &one.offers);
        offers.any(|offer| offer["interrupt"] == true)
    }

    /// Returns a question that was not announced to a view although it was open for longer than
    /// `limit` since a time.
    pub(super) fn unannounced(
        &self,
        since: Instant,
        limit: Duration,
        is_announced: impl Fn(&str) -> bool,
    ) -> Option<&Question> {
        self.all.iter().find(|one| {
            let from = one.since.max(since);
            one.open_at.saturating_duration_since(from) > limit && !is_announced(&one.id)
        })
    }

    /// Returns a question whose end a view has not told for longer than `limit` since a time,
    /// although it must.
    pub(super) fn unclosed(
        &self,
        since: Instant,
        limit: Duration,
        is_due: impl Fn(&str) -> bool,
    ) -> Option<&Question> {
        self.all.iter().find(|one| {
            let ended = one.ended.map(|ended| ended.max(since));
            ended.is_some_and(|ended| ended.elapsed() > limit) && is_due(&one.id)
        })
    }

    /// Returns an open question that clients may answer now.
    pub(super) fn ripe(&self, dialogue: &Dialogue) -> Option<&Question> {
        self.all.iter().find(|one| {
            let patience = dialogue.asks[one.number].patience;
            let is_due = matches!(patience, Patience::For(time) if one.since.elapsed() >= time);
            one.end.is_none() && is_due
        })
    }

    /// Returns an open question that is older than this.
    pub(super) fn older_than(&self, age: Duration) -> Option<&Question> {
        let mut open = self.all.iter().filter(|one| one.end.is_none());
        open.find(|one| one.since.elapsed() > age)
    }

    /// Returns a random question that was closed.
    pub(super) fn any_closed(&self, rng: &mut StdRng) -> Option<&Question> {
        let closed: Vec<_> = self.all.iter().filter(|one| one.end.is_some()).collect();
        closed.choose(rng).copied()
    }
}

impl Question {
    /// Records an end.
    fn close(&mut self, end: End) -> Result<(), String> {
        if let Some(first) = &mut self.end {
            if !first.agrees(&end) {
                return Err(format!(
                    "question {} was closed twice: {first:?} and {end:?}",
                    self.id
                ));
            }
            first.at = first.at.take().or(end.at);
            return Ok(());
        }
        let decision = end.decision.as_deref();
        let is_offered = |offer: &Value| offer["decision"].as_str() == decision;
        if end.closed_by == "answer" && !self.offers.iter().any(is_offered) {
            return Err(format!(
                "question {} was closed by an answer that nobody gave: {end:?}",
                self.id
            ));
        }
        self.ended = Some(Instant::now());
        self.end = Some(end);
        Ok(())
    }

    /// Returns an answer that was sent before; `None` if there is none.
    pub(super) fn any_offer(&self, rng: &mut StdRng) -> Option<Value> {
        self.offers.choose(rng).cloned()
    }

    /// Returns the cause of its end; `None` while it is open.
    pub(super) fn closed_by(&self) -> Option<&str> {
        self.end.as_ref().map(|end| end.closed_by.as_str())
    }
}

#[cfg(test)]
mod tests;

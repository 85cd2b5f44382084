//! Waits for answers, updates, output, notices and the close. Every wait panics, with the
//! transcript, after [`Options::patience`](super::Options::patience) or when the session has ended.

use std::{fmt::Display, time::Instant};

use serde_json::Value;

use super::Client;
use crate::ws::{reader::Inner, status};

impl Client {
    /// Waits for the answer to a request and returns its result.
    ///
    /// # Panics
    /// If no answer arrives in time.
    ///
    /// # Errors
    /// The error object of the answer.
    pub async fn answer(&self, id: u64) -> Result<Value, Value> {
        let key = id.to_string();
        let mut answer = self
            .until(&format!("the answer to {id}"), |inner| {
                inner.answers.get(&key).cloned()
            })
            .await;
        if answer.get("error").is_some() {
            Err(answer["error"].take())
        } else {
            Ok(answer["result"].take())
        }
    }

    /// Waits for the terminal statusUpdate of the current view. Returns the output since the
    /// view's beginning, and the status.
    ///
    /// # Panics
    /// If it does not arrive in time.
    pub async fn wait_terminal(&self, execution: impl Display) -> (Vec<u8>, Value) {
        let execution = execution.to_string();
        self.until(&format!("the end of {execution}"), |inner| {
            let end = inner.end(&execution)?;
            Some((inner.output(&execution), end))
        })
        .await
    }

    /// Waits for the terminal statusUpdate of the current view or the end of the session,
    /// whichever is first. Returns the output since the view's beginning, and the status if it
    /// arrived.
    ///
    /// # Panics
    /// If neither arrives in time.
    pub async fn wait_terminal_or_closed(
        &self,
        execution: impl Display,
    ) -> (Vec<u8>, Option<Value>) {
        let execution = execution.to_string();
        let what = format!("the end of {execution} or of the session");
        self.until(&what, |inner| {
            let end = inner.end(&execution);
            (end.is_some() || inner.closed.is_some()).then(|| (inner.output(&execution), end))
        })
        .await
    }

    /// Waits for a statusUpdate with this status (in capitals) in the current view, and returns
    /// the newest one.
    ///
    /// # Panics
    /// If it does not arrive in time.
    pub async fn wait_status(&self, execution: impl Display, status: &str) -> Value {
        let execution = execution.to_string();
        self.until(&format!("{status} of {execution}"), |inner| {
            let mut newest = inner.updates.get(&execution)?.iter().rev();
            newest.find(|update| update["status"] == status).cloned()
        })
        .await
    }

    /// Waits for a statusUpdate with this status (in capitals), after the first `seen` updates of
    /// the current view.
    ///
    /// # Panics
    /// If it does not arrive in time.
    pub async fn wait_update(&self, execution: impl Display, seen: usize, status: &str) -> Value {
        let execution = execution.to_string();
        self.until(&format!("{status} of {execution}"), |inner| {
            let updates = inner.updates.get(&execution)?;
            let mut later = updates.iter().skip(seen);
            later.find(|update| update["status"] == status).cloned()
        })
        .await
    }

    /// Waits until the current view has `count` statusUpdates for which `matches` holds, and
    /// returns these, the oldest first.
    ///
    /// # Panics
    /// If they do not arrive in time.
    pub async fn wait_updates(
        &self,
        execution: impl Display,
        count: usize,
        matches: impl Fn(&Value) -> bool,
    ) -> Vec<Value> {
        let execution = execution.to_string();
        self.until(&format!("{count} updates of {execution}"), |inner| {
            let updates = inner.updates.get(&execution)?;
            let good = updates.iter().filter(|update| matches(update)).take(count);
            let good: Vec<_> = good.cloned().collect();
            (good.len() == count).then_some(good)
        })
        .await
    }

    /// Waits until the current view has received at least `bytes` bytes of output, and returns
    /// their count.
    ///
    /// # Panics
    /// If they do not arrive in time.
    pub async fn wait_output(&self, execution: impl Display, bytes: u64) -> u64 {
        let execution = execution.to_string();
        self.until(&format!("{bytes} bytes of {execution}"), |inner| {
            let received = inner.received.get(&execution).copied();
            received.filter(|count| *count >= bytes)
        })
        .await
    }

    /// Waits until the current view has at least `count` gaps, and returns all of them.
    ///
    /// # Panics
    /// If they do not arrive in time.
    pub async fn wait_gaps(&self, execution: impl Display, count: usize) -> Vec<(u64, u64)> {
        let execution = execution.to_string();
        self.until(&format!("{count} gaps of {execution}"), |inner| {
            let gaps = inner.gaps.get(&execution)?;
            (gaps.len() >= count).then(|| gaps.clone())
        })
        .await
    }

    /// Waits until the current view has announced `count` questions, and returns these, the oldest
    /// first.
    ///
    /// # Panics
    /// If they do not arrive in time.
    pub async fn wait_questions(&self, execution: impl Display, count: usize) -> Vec<Value> {
        let execution = execution.to_string();
        self.until(&format!("{count} questions of {execution}"), |inner| {
            let messages = inner.questions.get(&execution)?.iter();
            let questions = messages.filter_map(|params| params.get("question"));
            let questions: Vec<_> = questions.take(count).cloned().collect();
            (questions.len() == count).then_some(questions)
        })
        .await
    }

    /// Waits until the current view has been told the end of this question. Returns the params of
    /// `questionClosed`.
    ///
    /// # Panics
    /// If it does not arrive in time.
    pub async fn wait_closed_question(&self, execution: impl Display, question: &Value) -> Value {
        let execution = execution.to_string();
        let id = &question["questionId"];
        self.until(&format!("the end of question {id}"), |inner| {
            let mut messages = inner.questions.get(&execution)?.iter();
            messages.find(|params| params["questionId"] == *id).cloned()
        })
        .await
    }

    /// Waits for a notice with this code, and returns the first one of the session.
    ///
    /// # Panics
    /// If it does not arrive in time.
    pub async fn wait_notice(&self, code: &str) -> Value {
        self.until(&format!("a notice {code}"), |inner| {
            let mut notices = inner.notices.iter();
            notices.find(|notice| notice["code"] == code).cloned()
        })
        .await
    }

    /// Waits for an answer with id null, or a batch of answers, and removes and returns it.
    ///
    /// # Panics
    /// If none comes in time.
    pub async fn wait_without_id(&self) -> Value {
        self.until("an answer without id", |inner| {
            (!inner.loose.is_empty()).then(|| inner.loose.remove(0))
        })
        .await
    }

    /// Waits for the rejection of an execute without an id, and removes and returns it.
    ///
    /// # Panics
    /// If none arrives in time.
    pub async fn wait_rejection(&self) -> Value {
        self.until("a rejection", |inner| {
            inner.updates.get_mut("").and_then(Vec::pop)
        })
        .await
    }

    /// Waits for the end of the session and returns its close code: 1005 for a close without a
    /// code, 1006 for a broken connection.
    ///
    /// # Panics
    /// If it does not arrive in time.
    pub async fn wait_closed(&self) -> u16 {
        self.until("the close", |inner| inner.closed).await
    }

    /// Waits until `look` returns a value; calls it again after each message.
    pub(super) async fn until<T>(
        &self,
        what: &str,
        mut look: impl FnMut(&mut Inner) -> Option<T>,
    ) -> T {
        let mut changes = self.shared.changes();
        let end = Instant::now() + self.options.patience;
        loop {
            changes.mark_unchanged();
            let closed = {
                let mut inner = self.shared.lock();
                if let Some(rule) = inner.violation.take() {
                    panic!(
                        "a rule of the protocol is broken: {rule}\n{}",
                        inner.transcript()
                    );
                }
                if let Some(result) = look(&mut inner) {
                    return result;
                }
                inner.closed
            };
            let ended = match closed {
                Some(code) => format!("closed with {code}"),
                None => {
                    let left = end.saturating_duration_since(Instant::now());
                    match tokio::time::timeout(left, changes.changed()).await {
                        Ok(_) => continue,
                        Err(_) => "time is up".to_owned(),
                    }
                }
            };
            panic!(
                "waited for {what}; {ended}\n{}",
                self.shared.lock().transcript()
            );
        }
    }
}

impl Inner {
    /// The terminal statusUpdate of the current view.
    fn end(&self, execution: &str) -> Option<Value> {
        let last = self.updates.get(execution)?.last()?;
        status::is_terminal(last["state"].as_str()?).then(|| last.clone())
    }

    /// The output of the current view.
    fn output(&self, execution: &str) -> Vec<u8> {
        self.outputs.get(execution).cloned().unwrap_or_default()
    }
}

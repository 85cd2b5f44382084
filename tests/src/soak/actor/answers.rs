//! What answers mean, and which errors may come.

use std::sync::{Arc, atomic::Ordering};

use serde_json::Value;

use super::{Actor, link::Asked};
use crate::soak::execution::Execution;

impl Actor {
    pub(super) fn answered(&mut self, answer: &Value) -> Result<(), String> {
        let Some(asked) = self
            .link
            .as_mut()
            .and_then(|link| link.pending.remove(&answer["id"].to_string()))
        else {
            // An answer without an id: to a malformed frame.
            return Ok(());
        };
        if let Some(error) = answer.get("error") {
            let code = error["code"].as_i64().unwrap_or_default();
            return self
                .refused(&asked, code)
                .map_err(|rule| format!("{rule}: {error}"));
        }
        let status = &answer["result"];
        match asked {
            Asked::Execute {
                execution,
                same,
                over,
            } => {
                if !same {
                    return Err(format!(
                        "{} was executed again with another body",
                        execution.id
                    ));
                }
                judge(&execution, status, over)?;
                self.begin(&execution, None);
            }
            Asked::Attach {
                execution,
                offset,
                over,
                ..
            } => {
                judge(&execution, status, over)?;
                self.begin(&execution, offset);
            }
            Asked::Control { execution, over } => judge(&execution, status, over)?,
            Asked::Detach(execution) => {
                self.views.remove(&execution.id);
            }
            Asked::Other => {}
            Asked::Bad => return Err(format!("nonsense was answered: {status}")),
        }
        Ok(())
    }

    fn begin(&mut self, execution: &Arc<Execution>, offset: Option<u64>) {
        let view = self.view(execution, false);
        view.active = true;
        view.attached(offset);
    }

    /// Which errors may come, and what follows from them.
    fn refused(&mut self, asked: &Asked, code: i64) -> Result<(), String> {
        if code == -32005 {
            self.world.unavailable.fetch_add(1, Ordering::Relaxed);
        }
        match asked {
            Asked::Bad | Asked::Other => Ok(()),
            Asked::Execute {
                execution, same, ..
            } => {
                let deleted = execution.facts().deleted;
                match code {
                    -32009 if deleted => self.forget(execution),
                    -32009 if !same => Ok(()),
                    // Full, or not reached in time: it is tried again.
                    -32004 | -32005 => self.inactive(execution),
                    _ => Err("an execute was refused".into()),
                }
            }
            Asked::Attach {
                execution, seen, ..
            } => {
                let (deleted, accepted) = {
                    let facts = execution.facts();
                    (facts.deleted, facts.accepted)
                };
                match code {
                    -32003 if deleted || !accepted => self.forget(execution),
                    -32009 if deleted => self.forget(execution),
                    -32007 => self.from_the_oldest(execution),
                    -32602 if !seen => self.forget(execution),
                    -32602 => Err("what was seen before was taken back".into()),
                    -32005 => self.inactive(execution),
                    _ => Err("an attach was refused".into()),
                }
            }
            Asked::Control { execution, .. } | Asked::Detach(execution) => {
                let (deleted, accepted) = {
                    let facts = execution.facts();
                    (facts.deleted, facts.accepted)
                };
                match code {
                    -32003 if deleted || !accepted => Ok(()),
                    -32009 if deleted => Ok(()),
                    // Not viewed here (any more): detach of it.
                    -32003 if matches!(asked, Asked::Detach(_)) => self.forget(execution),
                    -32005 | -32008 => Ok(()),
                    _ => Err("a control was refused".into()),
                }
            }
        }
    }

    fn forget(&mut self, execution: &Execution) -> Result<(), String> {
        self.views.remove(&execution.id);
        Ok(())
    }

    fn inactive(&mut self, execution: &Execution) -> Result<(), String> {
        if let Some(view) = self.views.get_mut(&execution.id) {
            view.active = false;
        }
        Ok(())
    }

    /// What was freed meanwhile is gone: the view begins anew, with a gap.
    fn from_the_oldest(&mut self, execution: &Arc<Execution>) -> Result<(), String> {
        self.views.remove(&execution.id);
        self.view(execution, false);
        Ok(())
    }
}

fn judge(execution: &Execution, status: &Value, over: bool) -> Result<(), String> {
    execution
        .judge(status, over)
        .map_err(|rule| format!("{}: {rule}", execution.id))
}

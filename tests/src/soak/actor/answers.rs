//! Handles answers, and checks which errors are allowed.

use std::sync::{Arc, atomic::Ordering};

use jiff::Timestamp;
use serde_json::Value;

use super::{
    Actor,
    feed::{input_accepted, input_refused},
    link::{Request, RequestKind},
};
use crate::soak::{
    execution::Execution,
    waiting::{Counted, Sample},
};

impl Actor {
    pub(super) fn answered(&mut self, answer: &Value) -> Result<(), String> {
        let Some(link) = &mut self.link else {
            return Ok(());
        };
        if answer["id"].is_null() {
            return link.malformed.refused(answer);
        }
        link.malformed.answered(&answer["id"])?;
        // The checker reports an answer to an unknown id.
        let Some(request) = link.pending.remove(&answer["id"].to_string()) else {
            return Ok(());
        };
        if let RequestKind::Attack(attack) = request.what {
            return self.attack_answered(attack, &request, answer);
        }
        if request.what == RequestKind::Answer {
            return self.answer_replied(&request, answer);
        }
        if let Some(error) = answer.get("error") {
            let code = error["code"].as_i64().unwrap_or_default();
            return self
                .refused(&request, code, error)
                .map_err(|rule| format!("{rule}: {error}"));
        }
        let status = &answer["result"];
        if request.what == RequestKind::Bad {
            return Err(format!("an invalid request got a result: {status}"));
        }
        if request.what == RequestKind::List {
            return self.world.check_list(&self.principal, status);
        }
        let Some(execution) = request.execution else {
            return Ok(());
        };
        match request.what {
            RequestKind::Conflict => {
                return Err(format!(
                    "{} was executed again with another body",
                    execution.id
                ));
            }
            RequestKind::Detach => {
                self.views.remove(&execution.id);
                return Ok(());
            }
            RequestKind::Input(offer) => return input_accepted(&execution, offer, status),
            _ => {}
        }
        self.world
            .judge(&execution, status, request.ended)
            .map_err(|rule| format!("{}: {rule}", execution.id))?;
        self.world
            .note_position(&execution, status, Some(request.sent));
        match request.what {
            RequestKind::Execute => self.begin(&execution, None),
            RequestKind::Cancel => execution.cancelled(status)?,
            RequestKind::Attach {
                offset,
                fresh,
                skip,
                ..
            } => {
                if fresh {
                    self.views.remove(&execution.id);
                }
                self.view(&execution, skip).skip = skip;
                self.begin(&execution, offset);
            }
            _ => {}
        }
        Ok(())
    }

    fn begin(&mut self, execution: &Arc<Execution>, offset: Option<u64>) {
        let view = self.view(execution, false);
        view.active = true;
        view.attached(offset);
    }

    /// Checks that an error is allowed, and applies its consequences.
    fn refused(&mut self, request: &Request, code: i64, error: &Value) -> Result<(), String> {
        if code == -32005 {
            self.world.unavailable.fetch_add(1, Ordering::Relaxed);
        }
        if matches!(code, -32002 | -32006) {
            return Err("the token of the client permits the request".into());
        }
        let Some(execution) = &request.execution else {
            return Ok(());
        };
        let deleted = execution.facts().deleted;
        let unknown = deleted || !request.accepted;
        match (request.what, code) {
            (RequestKind::Conflict, -32009 | -32004 | -32005) => Ok(()),
            (RequestKind::Input(offer), _) => input_refused(request, execution, offer, error),
            // The existing view does not change.
            (RequestKind::Attach { fresh: true, .. }, -32003 | -32009) if unknown => Ok(()),
            (RequestKind::Attach { fresh: true, .. }, -32005 | -32007) => Ok(()),
            (RequestKind::Attach { seen: false, .. }, -32602) => Ok(()),
            (RequestKind::Attach { .. }, -32602) => {
                Err("an offset that was reached is refused".into())
            }
            (RequestKind::Attach { .. }, -32007) => self.begin_at_the_oldest(execution),
            (RequestKind::Attach { .. } | RequestKind::Detach, -32003 | -32009) if unknown => {
                self.forget(execution)
            }
            (RequestKind::Execute, -32009) if deleted => self.forget(execution),
            (RequestKind::Execute, -32009)
                if error["data"]["reason"] == "cancelled_before_accepted" =>
            {
                self.cancelled_before(execution, request)
            }
            (RequestKind::Execute, -32003 | -32008) if execution.continues().is_some() => {
                self.too_late(execution, request, error)?;
                self.forget(execution)
            }
            (RequestKind::Execute, -32004) => self.lane_full(execution, request, error),
            // The service is not reachable: the client retries.
            (RequestKind::Execute, -32005) | (RequestKind::Attach { .. }, -32005) => {
                self.inactive(execution)
            }
            (RequestKind::Control | RequestKind::Cancel, -32003 | -32009) if unknown => Ok(()),
            // The session has no view any more.
            (RequestKind::Detach, -32003) => self.forget(execution),
            (RequestKind::Control | RequestKind::Cancel, -32005 | -32008)
            | (RequestKind::Detach, -32005) => Ok(()),
            (what, _) => Err(format!("{what:?} of {} was refused", execution.id)),
        }
    }

    /// Keeps the length of a full lane for the audit. No part of the queue but that of a lane can
    /// be full in a run.
    fn lane_full(
        &mut self,
        execution: &Execution,
        request: &Request,
        error: &Value,
    ) -> Result<(), String> {
        let data = &error["data"];
        let Some(length) = data["length"].as_u64() else {
            return Err("I7: others fill the queue".into());
        };
        let session = self.link.as_ref().map(|link| link.session.as_str());
        let lane = execution.params["lane"].as_str().or(session);
        self.world.note_sample(Sample {
            principal: execution.principal,
            counted: Counted::InLane(lane.unwrap_or_default().to_owned()),
            count: length,
            from: request.sent,
            to: Timestamp::now(),
        });
        self.world.full_lanes.fetch_add(1, Ordering::Relaxed);
        self.inactive(execution)
    }

    /// Checks an execution whose execute a bridge gave up: no client has an answer that it exists,
    /// and a client requested a cancel.
    fn cancelled_before(&mut self, execution: &Execution, request: &Request) -> Result<(), String> {
        {
            let mut facts = execution.facts();
            if request.accepted || facts.accepted || !facts.may_cancel {
                return Err(format!(
                    "{} was cancelled before it was accepted",
                    execution.id
                ));
            }
            facts.refused = true;
        }
        self.forget(execution)
    }

    /// Checks a refused execution: another one continues the same execution, or that is deleted.
    fn too_late(
        &self,
        execution: &Execution,
        request: &Request,
        error: &Value,
    ) -> Result<(), String> {
        let known = execution.continues().and_then(|old| self.world.find(old));
        let Some(old) = known.filter(|_| !request.accepted) else {
            return Err(format!("{} was refused", execution.id));
        };
        execution.facts().refused = true;
        match error["data"]["continuedBy"].as_str() {
            Some(by) if by != execution.id => self.world.continued(&old, by),
            None if old.facts().deleted => Ok(()),
            _ => Err(format!(
                "{} was refused, to continue {}",
                execution.id, old.id
            )),
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

    /// Restarts a view whose next bytes were freed: the new one begins with a gap.
    fn begin_at_the_oldest(&mut self, execution: &Arc<Execution>) -> Result<(), String> {
        self.views.remove(&execution.id);
        self.view(execution, false);
        Ok(())
    }
}

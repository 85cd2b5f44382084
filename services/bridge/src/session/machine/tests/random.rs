//! Random requests with random replies in random order, against a simple model. Every request is
//! answered exactly once. An execution has at most one view, and the view begins directly after its
//! answer. The last granted request about a view decides whether the view is open. An execute that
//! is a notification begins a view like any other, and its refusal is reported.

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;
use protocol::access::{Share, ShareRole};
use protocol::question::{Answered, Decision};
use uuid::Uuid;

use super::*;
use steps::{Request, Step, step};

mod steps;

fn execution(number: u8) -> ExecutionId {
    ExecutionId::from(Uuid::from_u128(
        0x4000_8000_0000_0000_0000 + u128::from(number),
    ))
}

/// An action of the machine that has no result yet.
enum Open {
    Job(Job),
    Call(Token, Call),
}

/// The state of a view after a granted request.
#[derive(Debug, Clone, Copy, PartialEq)]
enum ViewState {
    Open,
    Closed,
}

/// A request that the machine has read.
struct SentRequest {
    /// The view that the request changes, and its new state.
    change: Option<(ExecutionId, ViewState)>,
    is_notification: bool,
}

struct Model {
    machine: Machine,
    open: Vec<Open>,
    /// All requests. The index of a request is its id, and the prompt of an execute.
    requests: Vec<SentRequest>,
    /// Whether a request was granted. For a notification: whether its execute was accepted.
    answers: HashMap<u64, bool>,
    /// Accepted notifications whose view may begin, without an answer.
    unanswered: Vec<ExecutionId>,
    /// Notifications that were refused.
    refused: usize,
    /// Messages that report a refused notification.
    rejections: usize,
    views: HashMap<ExecutionId, u64>,
    used: HashSet<u64>,
}

impl Model {
    fn message(&mut self, request: &Request) -> Value {
        let id = self.requests.len() as u64;
        let about = |number: u8| json!({"executionId": execution(number)});
        let maybe = |number: Option<u8>| number.map_or_else(|| json!({}), about);
        let (name, params, change) = match *request {
            Request::Execute(n) | Request::ExecuteNotification(n) => {
                let params = json!({"prompt": id.to_string(), "executionId": execution(n)});
                ("execute", params, Some((execution(n), ViewState::Open)))
            }
            Request::Attach(n) => ("attach", about(n), Some((execution(n), ViewState::Open))),
            Request::Detach(n) => ("detach", about(n), Some((execution(n), ViewState::Closed))),
            Request::Cancel(n) => {
                let mut params = maybe(n);
                params["type"] = "CANCEL".into();
                ("control", params, None)
            }
            Request::Status(n) => ("status", maybe(n), None),
            Request::Input(n) => {
                let params = json!({"executionId": execution(n), "offset": 0, "data": "{}\n"});
                ("input", params, None)
            }
            Request::Events(n) => ("events", about(n), None),
            Request::Share(n) => ("share", about(n), None),
            Request::Answer(n) => {
                let mut params = about(n);
                params["questionId"] = Uuid::nil().to_string().into();
                params["decision"] = "allow".into();
                ("answer", params, None)
            }
            Request::List => ("list", json!({}), None),
            Request::Ping => ("ping", json!({}), None),
            Request::Nonsense => ("nonsense", json!({}), None),
        };
        let is_notification = matches!(request, Request::ExecuteNotification(_));
        self.requests.push(SentRequest {
            change,
            is_notification,
        });
        if is_notification {
            return json!({"jsonrpc": "2.0", "method": name, "params": params});
        }
        json!({"jsonrpc": "2.0", "id": id, "method": name, "params": params})
    }

    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        let first = self.requests.len() as u64;
        let actions = match step {
            Step::Request(request) => {
                let text = self.message(request).to_string();
                self.machine.on_text(&text, None)
            }
            Step::Batch(requests) => {
                let batch: Vec<_> = requests.iter().map(|r| self.message(r)).collect();
                let text = Value::from(batch).to_string();
                self.machine.on_text(&text, None)
            }
            Step::Finish(which, succeeds) => {
                if self.open.is_empty() {
                    return Ok(());
                }
                self.finish_one(which.index(self.open.len()), *succeeds)
            }
        };
        // A notification that was not handed over is refused.
        let handed_over: HashSet<u64> = actions.iter().filter_map(number).collect();
        for new in first..self.requests.len() as u64 {
            if self.requests[new as usize].is_notification && !handed_over.contains(&new) {
                self.answers.insert(new, false);
                self.refused += 1;
            }
        }
        self.take(actions)
    }

    /// Finishes an open job or call. The executor finishes executes in order, calls in any order.
    fn finish_one(&mut self, index: usize, succeeds: bool) -> Vec<Action> {
        let job = |open: &Open| matches!(open, Open::Job(_));
        let index = if job(&self.open[index]) {
            self.open.iter().position(job).unwrap()
        } else {
            index
        };
        let error = || RpcError::new(-32005, "x", "x").with("accepted", "unknown");
        match self.open.remove(index) {
            Open::Job(Job { token, handover }) => {
                let number = prompt(&handover.body);
                if self.requests[number as usize].is_notification {
                    self.answers.insert(number, succeeds);
                    if succeeds {
                        self.unanswered.push(handover.id);
                    } else {
                        self.refused += 1;
                    }
                }
                let result = if succeeds {
                    Ok(running(handover.id))
                } else {
                    Err(error())
                };
                self.machine.on_executed(token, result)
            }
            Open::Call(token, call) => {
                let (result, ended) = if succeeds {
                    reply_to(call)
                } else {
                    (Err(error()), vec![])
                };
                self.machine.on_called(token, result, &ended)
            }
        }
    }

    fn take(&mut self, actions: Vec<Action>) -> Result<(), TestCaseError> {
        let mut granted = Vec::new();
        // The view that must begin next. None after a batch: there a later request may have changed
        // the view before the answer.
        let mut due = None;
        for action in actions {
            if !matches!(action, Action::View(..) | Action::Unview(_)) {
                prop_assert_eq!(due, None, "no view begins after its answer");
            }
            match action {
                Action::Send(text) => {
                    let message: Value = serde_json::from_str(&text).unwrap();
                    match message.as_array() {
                        Some(answers) => {
                            for answer in answers {
                                granted.extend(self.answered(answer)?);
                            }
                        }
                        None => {
                            due = self.answered(&message)?;
                            granted.extend(due);
                        }
                    }
                }
                Action::Execute(token, handover) => {
                    self.open.push(Open::Job(Job { token, handover }))
                }
                Action::Call(token, call) => self.open.push(Open::Call(token, call)),
                Action::StopRetrying(_) => {}
                Action::View(number, start) => {
                    let id = start.status.execution_id;
                    prop_assert!(self.used.insert(number), "view {} twice", number);
                    prop_assert_eq!(self.views.insert(id, number), None, "a second view");
                    prop_assert!(due.take().is_none_or(|due| due == id), "another view");
                    // The view of a notification begins without an answer.
                    let source = if granted.contains(&id) {
                        &mut granted
                    } else {
                        &mut self.unanswered
                    };
                    let index = source.iter().position(|due| *due == id);
                    prop_assert!(index.is_some(), "no request for a view of {}", id);
                    source.swap_remove(index.unwrap());
                }
                Action::Unview(number) => {
                    let before = self.views.len();
                    self.views.retain(|_, view| *view != number);
                    prop_assert_eq!(self.views.len() + 1, before, "no view {}", number);
                }
            }
        }
        prop_assert_eq!(due, None, "no view begins after its answer");
        Ok(())
    }

    /// Returns the execution whose view an answer grants.
    fn answered(&mut self, message: &Value) -> Result<Option<ExecutionId>, TestCaseError> {
        let Some(id) = message["id"].as_u64() else {
            prop_assert_eq!(&message["params"]["reason"], "rejected", "{}", message);
            self.rejections += 1;
            return Ok(None);
        };
        prop_assert!(id < self.requests.len() as u64, "{}", message);
        let is_granted = message.get("result").is_some();
        prop_assert_ne!(is_granted, message.get("error").is_some());
        prop_assert_eq!(
            self.answers.insert(id, is_granted),
            None,
            "answered twice: {}",
            message
        );
        let change = self.requests[id as usize].change;
        Ok(change
            .filter(|(_, state)| is_granted && *state == ViewState::Open)
            .map(|(id, _)| id))
    }

    /// Finishes everything that is open, and checks the end state.
    fn finish(mut self) -> Result<(), TestCaseError> {
        while !self.open.is_empty() {
            let actions = self.finish_one(0, true);
            self.take(actions)?;
        }
        prop_assert_eq!(
            self.answers.len(),
            self.requests.len(),
            "not all are answered"
        );
        prop_assert_eq!(self.machine.open_calls(), 0);
        prop_assert_eq!(self.rejections, self.refused, "a refusal is not reported");
        let mut states: HashMap<ExecutionId, ViewState> = HashMap::new();
        for (number, request) in self.requests.iter().enumerate() {
            if let Some((id, state)) = request.change
                && self.answers[&(number as u64)]
            {
                states.insert(id, state);
            }
        }
        for (id, state) in states {
            prop_assert_eq!(
                self.views.contains_key(&id),
                state == ViewState::Open,
                "{}",
                id
            );
        }
        Ok(())
    }
}

/// Returns the number of the execute that is handed over.
fn number(action: &Action) -> Option<u64> {
    match action {
        Action::Execute(_, handover) => Some(prompt(&handover.body)),
        _ => None,
    }
}

fn prompt(body: &[u8]) -> u64 {
    let body: Value = serde_json::from_slice(body).unwrap();
    body["prompt"].as_str().unwrap().parse().unwrap()
}

fn running(id: ExecutionId) -> Status {
    status(id, State::Running, (id.uuid().as_u128() & 0xff) as i64)
}

/// Returns the reply to a call that succeeds. No candidate of a [`Target::FirstLive`] is live.
fn reply_to(call: Call) -> (Result<CallReply, RpcError>, Vec<ExecutionId>) {
    let status = |id| CallReply::Status(Box::new(running(id)));
    let reply = match call {
        Call::Status(Target::One(id)) | Call::Control(_, Target::One(id)) => status(id),
        Call::List(_) => CallReply::Page(Box::new(ListPage {
            executions: Vec::new(),
            next: None,
            ..ListPage::default()
        })),
        Call::Events(events) => CallReply::Events(Box::new(EventsPart {
            id: events.execution_id,
            offset: 0,
            bytes: "{}\n".into(),
            is_all: true,
            ended: true,
        })),
        Call::Share(_) => CallReply::Share(Box::new(Share {
            share_id: Uuid::nil(),
            token: "x".to_owned(),
            role: ShareRole::View,
            expires: jiff::Timestamp::UNIX_EPOCH,
        })),
        Call::Answer { question_id, .. } => CallReply::Answered(Answered {
            question_id,
            decision: Decision::Allow,
            principal: None,
        }),
        Call::Attach(attach) => CallReply::Attach(Box::new(running(attach.execution_id)), attach),
        Call::Input { data, offset, .. } => CallReply::Input(offset + data.len() as u64),
        Call::Status(Target::FirstLive(ref ids)) | Call::Control(_, Target::FirstLive(ref ids)) => {
            let ended = ids.clone();
            return (Ok(CallReply::NothingLive(call)), ended);
        }
        Call::Detach(id) => panic!("a detach of {id} makes no call"),
    };
    (Ok(reply), Vec::new())
}

proptest! {
    #[test]
    fn every_request_is_answered_once_and_views_follow_the_order(
        steps in prop::collection::vec(step(), 0..60),
    ) {
        let mut model = Model {
            machine: machine(),
            open: Vec::new(),
            requests: Vec::new(),
            answers: HashMap::new(),
            unanswered: Vec::new(),
            refused: 0,
            rejections: 0,
            views: HashMap::new(),
            used: HashSet::new(),
        };
        for step in &steps {
            model.step(step)?;
        }
        model.finish()?;
    }
}
